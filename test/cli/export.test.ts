import t from "tap";
import { ApiClient, type ApiTransport } from "../../src/api/index.ts";
import { exportManifest } from "../../src/cli/commands/manifest.ts";
import type { Session } from "../../src/cli/session.ts";
import type { ServiceSpec } from "../../src/spec/index.ts";
import { serviceSpec } from "../builders.ts";
import { valid } from "../spec/parse.ts";

/** A daemon that knows these services, at the far end of the real client. */
function session(services: readonly ServiceSpec[]) {
  const printed: string[] = [];
  const transport: ApiTransport = {
    async send({ path }) {
      const backup = { clusterId: "c", index: 1, takenAt: "", isConfirmed: true, services };
      const status = {
        ...{ version: "1", clusterId: "c", node: { id: "n", name: "n" }, leader: "n" },
        ...{ term: 1, commitIndex: 1, appliedIndex: 1, services: 1 },
        quorum: { hasQuorum: true, votersAlive: 1, voters: 1 },
        nodes: { total: 1, alive: 1 },
        tasks: { desired: 0, running: 0 },
      };
      const body = JSON.stringify(path.startsWith("/v1/backup") ? backup : status);
      return {
        status: 200,
        lines: (async function* () {
          yield body;
        })(),
      };
    },
  };
  const made: Session = {
    client: new ApiClient(transport),
    output: "table",
    environment: {},
    workingDirectory: "/",
    namespace: undefined,
    print: (text) => printed.push(text),
    note: () => undefined,
    setExitCode: () => undefined,
    now: () => 0,
    signal: new AbortController().signal,
  };
  return { session: made, printed };
}

const shop = [serviceSpec({ name: "web" }), serviceSpec({ name: "api" })];
const other = serviceSpec({ namespace: "blog", name: "web" });

t.test("skein export", async (t) => {
  t.test("gives back a manifest that means the same", async (t) => {
    const { session: to, printed } = session([...shop, other]);
    await exportManifest(to, "shop", {});
    const { namespace, services } = valid(printed.join(""));
    t.equal(namespace, "shop");
    t.strictSame(services, [shop[1], shop[0]]);
  });

  t.test("needs no name where there is one namespace, and prints JSON as well", async (t) => {
    const { session: to, printed } = session([other]);
    await exportManifest(to, undefined, { format: "json" });
    t.match(JSON.parse(printed.join("")), { "x-namespace": "blog", services: { web: {} } });
  });

  t.test("says what is missing", async (t) => {
    const { session: to } = session([...shop, other]);
    await t.rejects(exportManifest(to, undefined, {}), { code: "usage", message: /blog, shop/ });
    await t.rejects(exportManifest(to, "none", {}), { code: "not_found" });
    await t.rejects(exportManifest(session([]).session, undefined, {}), { code: "not_found" });
    await t.rejects(exportManifest(to, "shop", { format: "xml" }), { code: "usage" });
  });
});

t.test("What a daemon would hang up on is not sent", async (t) => {
  const { session: to } = session([]);
  const labels = { large: "x".repeat(5 * 2 ** 20) };
  const body = { services: [serviceSpec({ labels })], dryRun: true };
  const { signal } = to;
  await t.rejects(to.client.call("applyServices", { body, signal }), {
    code: "too_large",
    message: /takes at most 4194304\. Split it/,
  });
});
