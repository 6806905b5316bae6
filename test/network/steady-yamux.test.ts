import t, { type Test } from "tap";
import { createHost } from "../../src/network/io/host.ts";
import { newIdentity } from "./real-nodes.ts";

async function newHost(t: Test) {
  const host = await createHost({
    identity: await newIdentity(t),
    listen: { host: "127.0.0.1", port: 0 },
    isAdmitted: () => true,
  });
  t.teardown(() => host.stop());
  return host;
}

t.test(
  "a connection that breaks in the tick that opens a stream does not end the process",
  async (t) => {
    const [from, to] = [await newHost(t), await newHost(t)];
    await to.handle("/test/1", () => undefined);
    const connection = await from.dial(to.getMultiaddrs());
    // A connection that has carried something: on a fresh one the fault does not show.
    await from.services.ping.ping(to.peerId);
    // What yamux throws in its microtask is an uncaught exception: it fails this test's file.
    const opening = connection.newStream("/test/1");
    connection.abort(new Error("silent for too long"));
    await t.rejects(opening);
  },
);
