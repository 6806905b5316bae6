import t from "tap";
import { apply, type ClusterState, type Command, type Quota } from "../../src/cluster/index.ts";
import { decodeState, encodeState } from "../../src/cluster/snapshot.ts";
import { serviceKey, taskId } from "../../src/kernel/index.ts";
import type { ServiceSpec } from "../../src/spec/index.ts";
import { applyAll, clusterOf, serviceSpec, task, template } from "../builders.ts";

const nowMs = 1_000;
const GiB = 2 ** 30;

function put(...specs: readonly Partial<ServiceSpec>[]): Command {
  return { kind: "put_services", specs: specs.map((each) => serviceSpec(each)), nowMs };
}

function quota(amounts: Quota, namespace = "shop"): Command {
  return { kind: "set_quota", namespace, quota: amounts };
}

function scale(replicas: number): Command {
  return { kind: "scale_service", service: serviceKey("shop", "web"), replicas, nowMs };
}

function reserving(cpuMillis: number, memoryBytes = GiB): Partial<ServiceSpec> {
  return { template: template({ reservations: { cpuMillis, memoryBytes } }) };
}

function outcome(state: ClusterState, command: Command): string {
  const { outcome: result } = apply(state, state.index + 1, command);
  return result.kind === "accepted" ? "accepted" : `${result.code}: ${result.message}`;
}

const three = clusterOf("n1", "n2", "n3");
/** Three tasks of one CPU and 1 GiB each. */
const web = reserving(1_000);

for (const [what, before, command, result] of [
  ["as much as allowed", [quota({ cpuMillis: 3_000 })], put(web), "accepted"],
  [
    "more CPUs",
    [quota({ cpuMillis: 2_500 })],
    put(web),
    /^quota_exceeded: The quota of namespace shop is 2\.5 CPUs; it has 0 CPUs, and would have 3 CPUs/,
  ],
  ["more memory", [quota({ memoryBytes: GiB })], put(web), /quota_exceeded: .*1024 MiB.*3072 MiB/],
  ["more tasks", [quota({ tasks: 3 }), put(web)], scale(4), /is 3 tasks; it has 3.*have 4 tasks/],
  [
    "more services",
    [quota({ services: 1 }), put(web)],
    put({ name: "db" }),
    /is 1 services; it has 1.*have 2/,
  ],
  [
    "fewer than before, though still too many",
    [put(web), quota({ tasks: 1 })],
    scale(2),
    "accepted",
  ],
  ["as many as before, though too many", [put(web), quota({ tasks: 1 })], scale(3), "accepted"],
  ["more in another namespace", [quota({ tasks: 0 })], put({ namespace: "other" }), "accepted"],
  [
    "one on every node",
    [quota({ tasks: 2 })],
    put({ mode: { kind: "global" } }),
    /would have 3 tasks/,
  ],
  [
    "something that does not say how much it needs",
    [quota({ memoryBytes: GiB })],
    put({}),
    /^quota_exceeded: .*shop\/web has to say how much it needs: add `deploy\.resources\.reservations\.memory`/,
  ],
  [
    "what has only a limit, which counts then",
    [quota({ memoryBytes: 3 * GiB })],
    put({ template: template({ limits: { memoryBytes: GiB } }) }),
    "accepted",
  ],
  [
    "going back to what took more",
    [put(web), put(reserving(500)), quota({ cpuMillis: 2_000 })],
    { kind: "roll_back_service", service: serviceKey("shop", "web"), nowMs },
    /quota_exceeded: .*is 2 CPUs; it has 1\.5 CPUs, and would have 3 CPUs/,
  ],
  ["more without a quota any more", [quota({ tasks: 0 }), quota({})], put(web), "accepted"],
] as const satisfies readonly (readonly [string, readonly Command[], Command, string | RegExp])[]) {
  t.test(`[L3] under a quota: ${what}`, async (t) => {
    t.match(outcome(applyAll(before, three), command), result);
  });
}

t.test("[L2] a removed namespace takes all that is in it along, and no other", async (t) => {
  const state = applyAll(
    [
      put({}, { name: "db" }, { namespace: "shop2" }),
      quota({ tasks: 50 }),
      {
        kind: "update_tasks",
        basedOn: {},
        create: [task(), task({ id: taskId("t2"), service: serviceKey("shop2", "web") })],
        stop: [],
        forget: [],
        rollouts: [],
      },
      { kind: "remove_namespace", namespace: "shop" },
    ],
    three,
  );
  t.strictSame([...state.services.keys()], ["shop2/web"]);
  t.equal(state.quotas.size, 0);
  t.match(state.tasks.get(taskId("t1")), { desired: "stopped" });
  t.match(state.tasks.get(taskId("t2")), { desired: "running" });
  const again: Command = { kind: "remove_namespace", namespace: "shop" };
  t.match(outcome(state, again), /^not_found/);
});

t.test("a namespace with a service that nobody had seen is not removed", async (t) => {
  const state = applyAll([put({}), put({ name: "db" })], three);
  const version = state.services.get(serviceKey("shop", "web"))?.version ?? 0;
  const seen: Command = {
    kind: "remove_namespace",
    namespace: "shop",
    expected: { "shop/web": [version] },
  };
  t.match(outcome(state, seen), /^conflict: shop\/db was changed since/);
});

t.test("quotas are in the snapshot; one from before there were any has none", async (t) => {
  const state = applyAll([quota({ cpuMillis: 500 })], three);
  t.strictSame(decodeState(encodeState(state)).state.quotas, state.quotas);
  t.equal(decodeState(encodeState(three)).state.quotas.size, 0);
});
