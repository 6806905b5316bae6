import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t, { type Test } from "tap";
import { ApiClient, type EventsView } from "../../src/api/index.ts";
import { socketTransport } from "../../src/api/io/http-transport.ts";
import { startApiServer } from "../../src/api/io/server.ts";
import { type ApiBackend, type Facts, makeHandlers } from "../../src/api/server.ts";
import {
  apply,
  type ClusterState,
  type LogStatus,
  type NodeReport,
  noObservations,
} from "../../src/cluster/index.ts";
import { whatIfView, whyView } from "../../src/daemon/planning.ts";
import { Cell, CodedError, nodeId, silentLogger } from "../../src/kernel/index.ts";
import { clusterOf, serviceSpec, template } from "../builders.ts";

const { signal } = new AbortController();

let digest = `sha256:${"a".repeat(64)}`;
/** Images whose digest was looked up. */
const asked: string[] = [];

const log: LogStatus = {
  leader: nodeId("n1"),
  term: 3,
  commitIndex: 7,
  appliedIndex: 7,
  voters: [nodeId("n1")],
  learners: [],
  hasQuorum: true,
};

const report: NodeReport = {
  nodeId: nodeId("n1"),
  skeinVersion: "0.0.0",
  runtime: "memory",
  runtimeVersion: "1",
  platform: { os: "linux", arch: "amd64" },
  capacity: { cpuMillis: 2_000, memoryBytes: 2 ** 30 },
  httpPort: 80,
  routesIndex: 0,
  appliedIndex: 0,
  tasks: [],
};

const someEvents: EventsView = {
  events: [
    {
      id: "7.0",
      time: "1970-01-01T00:00:01.000Z",
      type: "Normal",
      reason: "Placed",
      object: "task/shop/web.1",
      objectId: "k3",
      namespace: "shop",
      service: "web",
      node: "n1",
      message: "Fills a free place.",
      revision: 1,
      index: 7,
      isAgreed: true,
    },
  ],
  unreachable: [],
  isCut: false,
};

/** The real server, handlers and client over a state that applies commands at once. */
async function startApi(t: Test, options: { hasQuorum?: boolean; bearer?: string } = {}) {
  const directory = mkdtempSync(join(tmpdir(), "skein-api-"));
  const state = new Cell<ClusterState>(clusterOf("n1", "n2"));
  const members = new Map([[nodeId("n1"), { status: "alive", sinceMs: 0 } as const]]);
  const facts = (): Facts => ({
    self: nodeId("n1"),
    version: "0.0.0",
    state: state.get(),
    observations: { ...noObservations, members, reports: new Map([[nodeId("n1"), report]]) },
    log,
    pending: new Map(),
  });
  const backend: ApiBackend = {
    facts,
    why: async (key) => ({ ...whyView(facts(), key, 1_000), events: [], unreachable: [] }),
    whatIf: (supposition) => whatIfView(facts(), supposition, 1_000),
    subscribe: (listener) => state.subscribe(listener),
    submit: async (command) => {
      if (options.hasQuorum === false) throw new CodedError("no_quorum", "No leader was found.");
      const { state: next, outcome } = apply(state.get(), state.get().index + 1, command);
      state.set(next);
      return outcome;
    },
    change: (command, wanted) => backend.submit(command, wanted),
    intents: {
      concerns: () => false,
      views: () => [],
      cancel: () => Promise.reject(new Error("unexpected")),
      apply: () => Promise.reject(new Error("unexpected")),
    },
    now: () => 1_000,
    pinImage: async (image) => {
      asked.push(image);
      return image.startsWith("hub/") ? `${image}@${digest}` : undefined;
    },
    catchUp: async () => {
      if (options.hasQuorum === false) throw new CodedError("no_quorum", "No leader was found.");
    },
    recovery: {
      view: () => Promise.reject(new Error("unexpected")),
      recover: () => Promise.reject(new Error("unexpected")),
    },
    doctor: () => Promise.reject(new Error("unexpected")),
    createToken: () => Promise.reject(new Error("unexpected")),
    events: async (query) => ({ ...someEvents, unreachable: [JSON.stringify(query)] }),
    async *followEvents() {
      yield someEvents;
      yield { ...someEvents, unreachable: ["n2"] };
    },
    whyThen: () => Promise.reject(new Error("unexpected")),
    async *logs() {
      yield {
        time: "1970-01-01T00:00:01.000Z",
        task: "web.1",
        node: "n1",
        stream: "stdout",
        text: "hi",
      };
    },
  };
  const socketPath = join(directory, "api.sock");
  const server = await startApiServer({
    handlers: makeHandlers(backend),
    socketPath,
    logger: silentLogger,
    ...(options.bearer === undefined ? {} : { authorize: (bearer) => bearer === options.bearer }),
  });
  t.teardown(async () => {
    await server[Symbol.asyncDispose]();
    rmSync(directory, { recursive: true });
  });
  return { client: new ApiClient(socketTransport(socketPath)), socketPath, state };
}

t.test("a service is created, shown, scaled and removed", async (t) => {
  const { client } = await startApi(t);
  const created = await client.call("applyServices", {
    body: { services: [serviceSpec()], dryRun: false },
    signal,
  });
  t.match(created.changes, [{ name: "web", action: "create" }]);
  const params = { namespace: "shop", name: "web" };
  await client.call("scaleService", { params, body: { replicas: 5 }, signal });
  t.match(await client.call("getService", { params, signal }), { desired: 5, revision: 1 });
  await client.call("removeService", { params, signal });
  t.strictSame(await client.call("listServices", { signal }), []);
});

t.test("a dry run, and the same file again, change nothing", async (t) => {
  const { client, state } = await startApi(t);
  const body = { services: [serviceSpec()], dryRun: true };
  await client.call("applyServices", { body, signal });
  t.equal(state.get().services.size, 0);
  await client.call("applyServices", { body: { ...body, dryRun: false }, signal });
  const { index } = state.get();
  const again = await client.call("applyServices", { body: { ...body, dryRun: false }, signal });
  t.match(again.changes, [{ action: "none" }]);
  t.equal(state.get().index, index);
});

t.test(
  "[B9] removing services by name, by list and by namespace removes nothing else",
  async (t) => {
    const { client, state } = await startApi(t);
    const data = { kind: "volume", source: "shop_data", target: "/data", readOnly: false } as const;
    const services = [
      serviceSpec({ name: "web" }),
      serviceSpec({ name: "db", template: template({ mounts: [data] }) }),
      serviceSpec({ name: "api" }),
      serviceSpec({ namespace: "shop2", name: "web" }),
    ];
    const query = { queue: "true" } as const;
    const put = () =>
      client.call("applyServices", { query, body: { services, dryRun: false }, signal });
    const left = () => [...state.get().services.keys()].toSorted();
    await put();
    const one = { namespace: "shop", name: "web" };
    const several = [one, { namespace: "shop", name: "db" }, { namespace: "shop", name: "gone" }];
    const removed = await client.call("removeServices", {
      query,
      body: { services: several },
      signal,
    });
    t.strictSame(removed.removed, ["shop/web", "shop/db"]);
    t.strictSame(removed.volumes, [{ volume: "shop_data", nodes: [] }]);
    t.strictSame(left(), ["shop/api", "shop2/web"]);
    await t.rejects(client.call("removeServices", { query, body: { services: several }, signal }), {
      code: "not_found",
      message: /None of these services is there/,
    });
    await put();
    await client.call("removeService", { params: one, query, signal });
    t.strictSame(left(), ["shop/api", "shop/db", "shop2/web"]);
    await client.call("removeNamespace", { params: { namespace: "shop" }, query, signal });
    t.strictSame(left(), ["shop2/web"]);
    await t.rejects(
      client.call("removeNamespace", { params: { namespace: "shop" }, query, signal }),
      { code: "not_found" },
    );
  },
);

t.test("[L3] a quota is set, shown, kept to and taken away", async (t) => {
  const { client } = await startApi(t);
  const params = { namespace: "shop" };
  const quota = { tasks: 4, services: 1 };
  t.match(await client.call("setQuota", { params, body: quota, signal }), { tasks: 0, quota });
  const query = { queue: "true" } as const;
  const body = { services: [serviceSpec()], dryRun: false };
  await client.call("applyServices", { query, body, signal });
  const web = { namespace: "shop", name: "web" };
  await t.rejects(
    client.call("scaleService", { params: web, query, body: { replicas: 5 }, signal }),
    { code: "quota_exceeded", message: /quota of namespace shop is 4 tasks; it has 3.*5 tasks/ },
  );
  t.strictSame(await client.call("listNamespaces", { signal }), [
    { namespace: "shop", services: 1, tasks: 3, cpuMillis: 0, memoryBytes: 0, quota },
  ]);
  await client.call("setQuota", { params, body: {}, signal });
  await client.call("scaleService", { params: web, query, body: { replicas: 5 }, signal });
  t.match(await client.call("listNamespaces", { signal }), [{ tasks: 5, quota: {} }]);
});

t.test("problems keep their code on the way to the client", async (t) => {
  const { client } = await startApi(t);
  const params = { namespace: "shop", name: "nope" };
  await t.rejects(client.call("getService", { params, signal }), { code: "not_found" });
  await t.rejects(client.call("scaleService", { params, body: { replicas: -1 }, signal }), {
    code: "invalid",
    message: /replicas/,
  });
  const { client: minority } = await startApi(t, { hasQuorum: false });
  await t.rejects(
    minority.call("applyServices", { body: { services: [serviceSpec()], dryRun: false }, signal }),
    { code: "no_quorum" },
  );
});

t.test("a NUL byte in what a container is given is refused, whoever sends it", async (t) => {
  const { client, state } = await startApi(t);
  const event = { scale: [], kill: [], addNodes: [] };
  const cases: readonly (readonly [Parameters<typeof template>[0], RegExp])[] = [
    [{ command: ["sleep", "\0"] }, /holds a NUL byte.*template\.command\[?\.?1/s],
    [{ user: "a\0" }, /holds a NUL byte.*template\.user/s],
    [{ environment: { A: "\0" } }, /holds a NUL byte.*template\.environment\.A/s],
    [{ labels: { "a\0": "b" } }, /holds a NUL byte.*template\.labels.*a\\+0/s],
  ];
  for (const [part, place] of cases) {
    const services = [serviceSpec({ template: template(part) })];
    const refused = { code: "invalid", message: place };
    const body = { services, dryRun: false };
    await t.rejects(client.call("applyServices", { body, signal }), refused);
    await t.rejects(client.call("whatIf", { body: { ...event, services }, signal }), refused);
  }
  const kept = { services: [serviceSpec({ extensions: { "x-a": "\0" } })], dryRun: false };
  await client.call("applyServices", { body: kept, signal });
  t.equal(state.get().services.size, 1, "what no container is given may hold any text");
});

t.test("a port that a node needs for itself is refused, with the way out", async (t) => {
  const { client, state } = await startApi(t);
  const published = (port: number) =>
    serviceSpec({
      ports: [
        { target: 80, published: port, protocol: "tcp", mode: "ingress", appProtocol: "auto" },
      ],
    });
  for (const [port, message] of [
    [80, /n1 serves host names there.*x-ingress.*--http-port/],
    [7946, /the cluster's own port of n1/],
  ] as const) {
    const body = { services: [published(port)], dryRun: true };
    await t.rejects(client.call("applyServices", { body, signal }), {
      code: "port_taken",
      message,
    });
  }
  t.equal(state.get().services.size, 0);
  const body = { services: [published(8080)], dryRun: false };
  await client.call("applyServices", { body, signal });
  t.equal(state.get().services.size, 1);
});

t.test("tokens are listed without their secrets, and revoked", async (t) => {
  const { client, state } = await startApi(t);
  const token = { role: "node", secretHash: "0".repeat(64), createdAtMs: 0 } as const;
  const tokens = [
    { ...token, id: "aa", expiresAtMs: 2_000 },
    { ...token, id: "bb", expiresAtMs: 2_000, usesLeft: 0 },
    { ...token, id: "cc", expiresAtMs: 500 },
  ];
  state.set({ ...state.get(), tokens: new Map(tokens.map((each) => [each.id, each])) });
  const listed = await client.call("listTokens", { signal });
  t.match(listed, [
    { id: "aa", status: "valid", usesLeft: null },
    { id: "bb", status: "used_up", usesLeft: 0 },
    { id: "cc", status: "expired" },
  ]);
  t.notMatch(JSON.stringify(listed), /0{64}/);
  await client.call("revokeToken", { params: { id: "aa" }, signal });
  t.notOk(state.get().tokens.has("aa"));
  await t.rejects(client.call("revokeToken", { params: { id: "aa" }, signal }), {
    code: "not_found",
  });
});

t.test("without the token nothing is told", async (t) => {
  const { client, socketPath } = await startApi(t, { bearer: "id.secret" });
  await t.rejects(client.call("status", { signal }), { code: "unauthorized" });
  const transport = socketTransport(socketPath);
  t.match(await transport.send({ method: "GET", path: "/v1/nope", body: undefined, signal }), {
    status: 401,
  });
});

t.test("nobody at the socket: says so", async (t) => {
  const client = new ApiClient(socketTransport("/tmp/skein-no-such.sock"));
  await t.rejects(client.call("status", { signal }), { code: "unreachable" });
});

t.test("a watch tells of every change until it is given up", async (t) => {
  const { client } = await startApi(t);
  const giveUp = new AbortController();
  const seen: number[] = [];
  const watch = client.stream("watchServices", { signal: giveUp.signal });
  try {
    for await (const services of watch) {
      seen.push(services.length);
      if (services.length === 1) giveUp.abort();
      else {
        const body = { services: [serviceSpec()], dryRun: false };
        await client.call("applyServices", { body, signal });
      }
    }
  } catch (error) {
    if (!giveUp.signal.aborted) throw error;
  }
  t.strictSame(seen, [0, 1]);
});

t.test("log lines come one document a line", async (t) => {
  const { client } = await startApi(t);
  await client.call("applyServices", {
    body: { services: [serviceSpec()], dryRun: false },
    signal,
  });
  const texts: string[] = [];
  const params = { namespace: "shop", name: "web" };
  for await (const entry of client.stream("logs", { params, signal })) texts.push(entry.text);
  t.strictSame(texts, ["hi"]);
});

t.test("events are asked for by object, reason, type and time, and followed", async (t) => {
  const { client } = await startApi(t);
  const query = {
    object: "web.1, node/n1",
    reason: "Unhealthy",
    type: "Warning",
    since: "2026-01-31T14:05:00+01:00",
    limit: 5,
  } as const;
  const { events, unreachable } = await client.call("listEvents", { query, signal });
  t.strictSame(events, someEvents.events);
  t.strictSame(JSON.parse(unreachable[0] ?? ""), {
    objects: ["web.1", "node/n1"],
    reasons: ["Unhealthy"],
    types: ["Warning"],
    sinceMs: Date.parse("2026-01-31T13:05:00Z"),
    limit: 5,
  });
  const parcels: EventsView[] = [];
  const all = { object: "", reason: "", limit: 1_000 };
  for await (const each of client.stream("watchEvents", { query: all, signal })) parcels.push(each);
  t.strictSame(parcels, [someEvents, { ...someEvents, unreachable: ["n2"] }]);
  for (const wrong of [{ since: "yesterday" }, { limit: 20_000 }, { type: "Bad" as "Normal" }]) {
    const asked = client.call("listEvents", { query: { ...all, ...wrong }, signal });
    await t.rejects(asked, { code: "invalid" });
  }
});

t.test("a node is labelled, drained and given work again, by name or by id", async (t) => {
  const { client, state } = await startApi(t);
  const params = { node: "n2" };
  const labels = { disk: "ssd" };
  t.match(await client.call("labelNode", { params, body: { labels }, signal }), { labels });
  const drain = { eligibility: "drain" } as const;
  t.match(await client.call("setEligibility", { params, body: drain, signal }), drain);
  const { index } = state.get();
  await client.call("setEligibility", { params, body: drain, signal });
  t.equal(state.get().index, index, "nothing is agreed twice");
  t.match(await client.call("status", { signal }), { nodes: { draining: ["n2"] } });
  const active = { eligibility: "active" } as const;
  await client.call("setEligibility", { params, body: active, signal });
  t.match(await client.call("getNode", { params, signal }), {
    name: "n2",
    eligibility: "active",
    labels,
    status: "unknown",
    disk: null,
    lastSeenAt: null,
  });
});

t.test("a node that is not there, a label that is none", async (t) => {
  const { client } = await startApi(t);
  await t.rejects(client.call("getNode", { params: { node: "n9" }, signal }), {
    code: "not_found",
    message: /skein node ls/,
  });
  for (const labels of [{ "no space": "x" }, { "": "x" }, { long: "x".repeat(256) }]) {
    const request = { params: { node: "n1" }, body: { labels }, signal };
    await t.rejects(client.call("labelNode", request), { code: "invalid" }, JSON.stringify(labels));
  }
});

t.test("status says which services are short of tasks", async (t) => {
  const { client } = await startApi(t);
  await client.call("applyServices", {
    body: { services: [serviceSpec()], dryRun: false },
    signal,
  });
  t.match((await client.call("status", { signal })).unsettled, [
    { service: "shop/web", running: 0, desired: 3, reasons: [] },
  ]);
});
t.test(
  "why and plan answer by what the planner says, history and rollback by revisions",
  async (t) => {
    const { client } = await startApi(t);
    const params = { namespace: "shop", name: "web" };
    const large = { ...serviceSpec().template, reservations: { cpuMillis: 1_500 } };
    const put = (image: string) =>
      client.call("applyServices", {
        body: { services: [serviceSpec({ template: { ...large, image } })], dryRun: false },
        signal,
      });
    await put("web:1");
    await put("web:2");
    const why = await client.call("why", { params, signal });
    t.match(why.nodes, [
      { node: "n1", fits: true, message: "0 of this service, 0 tasks, 2 CPUs and 1 GiB free" },
      { node: "n2", fits: false, message: "the node is failed" },
    ]);
    t.match(why.pending, [
      { slot: 2, wouldHelp: "freeing 1 CPUs on n1, or adding a node that fits" },
      { slot: 3 },
    ]);
    const plan = await client.call("whatIf", {
      body: {
        services: [],
        kill: [],
        scale: [{ ...params, replicas: 2 }],
        addNodes: [{ cpuMillis: 4_000, memoryBytes: 2 ** 33 }],
      },
      signal,
    });
    t.match(plan, {
      changes: [{ action: "update", details: ["replicas 3 -> 2"] }],
      services: [{ before: 0, after: 2, moves: [{ to: "new-1" }, { to: "n1" }] }],
      pending: [],
      isComplete: true,
    });
    const killed = { services: [], scale: [], addNodes: [], kill: ["nobody"] };
    await t.rejects(client.call("whatIf", { body: killed, signal }), { code: "not_found" });

    const history = () => client.call("serviceHistory", { params, signal });
    t.match(await history(), [
      { revision: 2, status: "current", image: "web:2", changes: ["image web:1 -> web:2"] },
      { revision: 1, status: "kept", image: "web:1" },
    ]);
    const back = await client.call("rollBackService", { params, body: {}, signal });
    t.match(back.changes, [{ action: "update", details: ["image web:2 -> web:1"] }]);
    t.match((await history())[0], { revision: 3, by: "rollback", image: "web:1" });
    await t.rejects(client.call("rollBackService", { params, body: { revision: 1 }, signal }), {
      code: "conflict",
    });
    await t.rejects(client.call("rollBackService", { params, body: { revision: 99 }, signal }), {
      code: "not_found",
    });
  },
);

t.test("[J7] an image is pinned to its digest when it is accepted", async (t) => {
  const { client } = await startApi(t);
  const put = async (image: string, dryRun = false) => {
    const services = [serviceSpec({ template: template({ image }) })];
    return await client.call("applyServices", { body: { services, dryRun }, signal });
  };
  const params = { namespace: "shop", name: "web" };
  const image = async () => (await client.call("getService", { params, signal })).image;

  asked.length = 0;
  await put("hub/web:1");
  const first = digest;
  t.equal(await image(), `hub/web:1@${first}`);
  digest = `sha256:${"b".repeat(64)}`;
  t.match(await put("hub/web:1"), { changes: [{ action: "none" }] }, "a moved tag changes nothing");
  t.equal(await image(), `hub/web:1@${first}`);
  await put("hub/web:2");
  t.equal(await image(), `hub/web:2@${digest}`);
  await put("local/web:3");
  t.equal(await image(), "local/web:3", "nobody knows its digest");
  await put("local/web:3");
  t.strictSame(asked, ["hub/web:1", "hub/web:2", "local/web:3"], "none is looked up twice");
  await put(`hub/web:1@${first}`);
  t.equal(await image(), `hub/web:1@${first}`, "one that is pinned stays as it is");

  const alone = template({ image: "hub/web:2" });
  const others = [{ ...alone, name: "log", role: "companion", image: "hub/log:1" } as const];
  const pod = serviceSpec({ template: { ...alone, pod: { main: "web", others } } });
  await client.call("applyServices", { body: { services: [pod], dryRun: false }, signal });
  const { spec } = await client.call("getService", { params, signal });
  t.equal(spec.template.pod?.others[0]?.image, `hub/log:1@${digest}`, "so is each of a pod");
});

t.test("[J7] a service is promoted to the digest, and is not resolved anew", async (t) => {
  const { client, state } = await startApi(t);
  const mounts = [
    { kind: "volume", source: "shop_data", target: "/data", readOnly: false } as const,
  ];
  const staged = serviceSpec({
    template: template({ image: "hub/web:1", environment: { DATABASE: "staging" }, mounts }),
  });
  await client.call("applyServices", { body: { services: [staged], dryRun: false }, signal });
  const params = { namespace: "shop", name: "web" };
  const pinned = (await client.call("getService", { params, signal })).image;
  digest = `sha256:${"c".repeat(64)}`;
  const to = { params: { namespace: "prod", name: "web" }, signal };
  const promote = (body: object) =>
    client.call("promoteService", {
      params,
      body: { to: "prod", isWhole: false, dryRun: false, ...body },
      signal,
    });

  const before = state.get();
  const shown = await promote({ dryRun: true });
  t.match(shown, { changes: [{ namespace: "prod", action: "create" }], isPinned: true });
  t.equal(state.get(), before, "a dry run changes nothing");

  await promote({ version: shown.version });
  const created = await client.call("getService", to);
  t.equal(created.image, pinned);
  t.match(created.spec.template, {
    environment: { DATABASE: "staging" },
    mounts: [{ source: "prod_data" }],
  });
  t.match(await promote({}), { changes: [{ action: "none" }] });

  // Production is given an environment, replicas and a host name of its own.
  const own = {
    ...created.spec,
    mode: { kind: "replicated", replicas: 7 } as const,
    ingress: [{ host: "shop.example.com", path: "/", port: 80 }],
    template: { ...created.spec.template, environment: { DATABASE: "prod" } },
  };
  await client.call("applyServices", { body: { services: [own], dryRun: false }, signal });
  const next = { ...staged, template: { ...staged.template, image: "hub/web:2" } };
  await client.call("applyServices", { body: { services: [next], dryRun: false }, signal });
  t.match(await promote({}), { changes: [{ action: "update", details: [/^image /] }] });
  const updated = await client.call("getService", to);
  t.equal(updated.image, (await client.call("getService", { params, signal })).image);
  t.match(updated.spec, {
    mode: { replicas: 7 },
    ingress: [{ host: "shop.example.com" }],
    template: { environment: { DATABASE: "prod" } },
  });
  await promote({ isWhole: true });
  t.match((await client.call("getService", to)).spec, {
    mode: { replicas: 7 },
    ingress: [{ host: "shop.example.com" }],
    template: { environment: { DATABASE: "staging" } },
  });

  await t.rejects(promote({ version: 1 }), { code: "conflict", message: /has changed since/ });
  await t.rejects(promote({ to: "shop" }), { code: "invalid" });
});
