import { once } from "node:events";
import { createServer } from "node:net";
import t from "tap";
import { enterCluster } from "../../src/daemon/enter-cluster.ts";
import { formatAddress, readSettings } from "../../src/daemon/settings.ts";
import { seededRandom, silentLogger } from "../../src/kernel/index.ts";
import { systemClock } from "../../src/kernel/io/system.ts";
import { loadCredentials } from "../../src/network/io/credentials.ts";
import { loadOrCreateIdentity } from "../../src/network/io/identity.ts";

t.test("who cannot have its port enters no cluster, and takes no use of a token", async (t) => {
  const dataDir = t.testdir();
  const identity = await loadOrCreateIdentity(dataDir);
  const other = createServer().listen(0, "127.0.0.1");
  t.teardown(() => other.close());
  await once(other, "listening");
  const address = other.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  const listen = formatAddress({ host: "127.0.0.1", port: address.port });
  const enter = (flags: Readonly<Record<string, string>>) =>
    enterCluster({
      settings: readSettings({ name: "n1", dataDir, listen, ...flags }, {}, () => ""),
      identity,
      clock: systemClock,
      random: seededRandom(1),
      logger: silentLogger,
      signal: AbortSignal.timeout(10_000),
    });
  const isTaken = { code: "usage", message: /is taken by another process/ };
  await t.rejects(enter({ join: "127.0.0.1:1", token: "none" }), isTaken);
  await t.rejects(enter({}), isTaken);
  t.equal(loadCredentials(dataDir), undefined);
  other.close();
  t.match(await enter({}), { kind: "created", isFounder: true });
  t.match(await enter({}), { kind: "resumed", isFounder: true }, "however far the first start got");
});
