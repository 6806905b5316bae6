import t from "tap";
import { nodeId, serviceKey } from "../../src/kernel/index.ts";
import { whatWouldHelp } from "../../src/scheduler/explain.ts";
import { compareOutcome, type Supposition, whatIf } from "../../src/scheduler/what-if.ts";
import { explainService } from "../../src/scheduler/why.ts";
import type { ServiceSpec } from "../../src/spec/index.ts";
import { serviceSpec, template } from "../builders.ts";
import { World, web } from "./world.ts";

const nothing: Supposition = { commands: [], kill: [], addNodes: [] };
const GiB = 2 ** 30;

function replicas(count: number): ServiceSpec["mode"] {
  return { kind: "replicated", replicas: count };
}

function reserving(cpuMillis: number) {
  return template({ reservations: { cpuMillis } });
}

function suppose(world: World, supposition: Partial<Supposition>) {
  const { state, observations, now } = world;
  const result = whatIf({ state, observations, now }, { ...nothing, ...supposition });
  if (result.kind === "rejected") throw new Error(result.message);
  const pending = [...result.explanations.values()].flat().map(({ message }) => message);
  return { ...result, pending, changes: compareOutcome(state, result.state) };
}

t.test("what if nothing happens: nothing changes, and the state is not touched", async (t) => {
  const world = new World(["n1", "n2"]);
  world.put({ mode: replicas(4) });
  world.run(3_000);
  const before = JSON.stringify([...world.state.tasks]);
  const { changes, isComplete } = suppose(world, {});
  t.strictSame(changes, []);
  t.ok(isComplete);
  t.equal(JSON.stringify([...world.state.tasks]), before);
});

t.test("what if a node dies: its tasks move, or wait with their reasons", async (t) => {
  const world = new World(["n1", "n2", "n3"], {
    capacity: { cpuMillis: 1_000, memoryBytes: GiB },
  });
  const mounts = [{ kind: "volume" as const, source: "db", target: "/d", readOnly: false }];
  world.put({ name: "db", mode: replicas(1), template: template({ mounts }) });
  world.put({ mode: replicas(3), template: reserving(400) });
  world.run(3_000);
  const db = serviceKey("shop", "db");
  const home = world.running(db)[0]?.nodeId ?? nodeId("");
  const { changes, pending } = suppose(world, { kill: [home] });
  const of = (key: string) => changes.find(({ service }) => service === key);
  t.match(of(web), { before: 3, after: 3, moves: [{ from: home }] });
  t.not(of(web)?.moves[0]?.to, home);
  t.equal(of(db), undefined, "the database stays where its data is");
  t.match(pending.join("\n"), `the data of volume db is on ${home} (failed)`);
});

t.test("what the supposition says is what the planner then does", async (t) => {
  const world = new World(["n1", "n2", "n3", "n4"]);
  world.put({ mode: replicas(7) });
  world.run(3_000);
  const { state } = suppose(world, { kill: [nodeId("n2")] });
  const supposed = [...state.tasks.values()]
    .filter(({ desired }) => desired === "running")
    .map((task) => `${task.slot} ${task.nodeId}`);
  world.setMember("n2", "failed");
  world.run(20_000);
  t.strictSame(
    world
      .running()
      .map((task) => `${task.slot} ${task.nodeId}`)
      .sort(),
    supposed.sort(),
  );
});

t.test("what if there were another machine: what waits is placed on it", async (t) => {
  const world = new World(["n1"], { capacity: { cpuMillis: 1_000, memoryBytes: GiB } });
  world.put({ mode: replicas(3), template: reserving(1_000) });
  world.run(3_000);
  const one = suppose(world, { addNodes: [{ cpuMillis: 1_000, memoryBytes: GiB }] });
  t.match(one.changes, [{ before: 1, after: 2, moves: [{ from: undefined, to: "new-1" }] }]);
  t.equal(one.pending.length, 1);
  const big = suppose(world, { addNodes: [{ cpuMillis: 4_000, memoryBytes: GiB }] });
  t.strictSame(big.pending, []);
});

t.test(
  "what if a service is scaled or changed: the whole roll-out is played through",
  async (t) => {
    const world = new World(["n1", "n2"], { capacity: { cpuMillis: 1_000, memoryBytes: GiB } });
    world.put({ mode: replicas(2), template: reserving(100) });
    world.run(3_000);
    const scale = { kind: "scale_service", service: web, nowMs: world.now } as const;
    const scaled = suppose(world, { commands: [{ ...scale, replicas: 30 }] });
    t.match(scaled.changes, [{ before: 2, after: 20 }]);
    t.equal(scaled.pending.length, 10);
    const spec = serviceSpec({
      mode: replicas(2),
      template: { ...reserving(100), image: "web:2" },
    });
    const rolled = suppose(world, {
      commands: [{ kind: "put_services", specs: [spec], nowMs: world.now }],
    });
    t.ok(rolled.isComplete);
    t.equal(rolled.changes[0]?.moves.length, 2);
    t.ok([...rolled.state.tasks.values()].every((task) => task.revision === 2));
    const wrong = whatIf(
      { state: world.state, observations: world.observations, now: world.now },
      { ...nothing, commands: [{ ...scale, service: serviceKey("shop", "nobody"), replicas: 1 }] },
    );
    t.match(wrong, { kind: "rejected", message: "No service shop/nobody." });
  },
);

t.test("why: what each node would say to one more, and what would help", async (t) => {
  const world = new World(["n1", "n2", "n3"], {
    capacity: { cpuMillis: 1_000, memoryBytes: GiB },
  });
  world.put({ mode: replicas(3), template: reserving(700) });
  world.run(3_000);
  world.drain("n3");
  world.scale(4);
  world.run(3_000);
  const { state, observations, now } = world;
  const explained = explainService({ state, observations, now }, web);
  t.match(explained?.nodes, [
    { nodeName: "n1", fits: false, message: "0.7 CPUs needed, 0.3 of 1 free" },
    { nodeName: "n2", fits: false, message: "0.7 CPUs needed, 0.3 of 1 free" },
    { nodeName: "n3", fits: false, message: "the node is draining" },
  ]);
  const [pending] = explained?.pending ?? [];
  t.equal(
    whatWouldHelp(pending?.nodes ?? []),
    "freeing 0.4 CPUs on n1, or adding a node that fits",
  );
  t.equal(explainService({ state, observations, now }, serviceKey("shop", "nobody")), undefined);
});

t.test(
  "why: a task keeps the arithmetic of its choice and where in the log it was made",
  async (t) => {
    const world = new World(["n1", "n2"]);
    world.put({ mode: replicas(1) });
    world.run(3_000);
    const [task] = world.running();
    t.equal(
      task?.placement,
      "n1 has 0 of this service, 0 tasks, 4 CPUs and 8 GiB free; next: n2 has 0 of this service, 0 tasks, 4 CPUs and 8 GiB free (2 fit).",
    );
    t.equal(task?.createdAtIndex, 3);
  },
);
