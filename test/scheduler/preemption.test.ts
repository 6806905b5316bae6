import t from "tap";
import { templateOf } from "../../src/cluster/index.ts";
import {
  nodeId,
  randomBelow,
  type ServiceKey,
  seededRandom,
  serviceKey,
} from "../../src/kernel/index.ts";
import { explainService, whatIf } from "../../src/scheduler/index.ts";
import type { ServiceSpec } from "../../src/spec/index.ts";
import { serviceSpec, template } from "../builders.ts";
import { World } from "./world.ts";

const GiB = 2 ** 30;
const capacity = { cpuMillis: 1_000, memoryBytes: GiB };

function of(
  name: string,
  options: {
    readonly priority?: number;
    readonly replicas?: number;
    readonly cpuMillis?: number;
    readonly port?: number;
  },
): Partial<ServiceSpec> {
  const { priority, replicas = 1, cpuMillis = 500, port } = options;
  const hostPorts =
    port === undefined
      ? []
      : [
          {
            target: 80,
            published: port,
            protocol: "tcp" as const,
            mode: "host" as const,
            appProtocol: "auto" as const,
          },
        ];
  return {
    name,
    mode: { kind: "replicated", replicas },
    template: template({ reservations: { cpuMillis, memoryBytes: 1 }, hostPorts }),
    placement: { constraints: [], ...(priority === undefined ? {} : { priority }) },
  };
}

const batch = serviceKey("shop", "batch");
const web = serviceKey("shop", "web");
const other = serviceKey("shop", "other");

function stops(world: World): readonly string[] {
  return world.commands.flatMap(({ stop }) => stop.map(({ reason }) => reason));
}

function pendingText(world: World, key: ServiceKey): string {
  return (world.lastPlan.explanations.get(key) ?? []).map(({ message }) => message).join("\n");
}

t.test(
  "a higher priority takes the place of a lower one, which waits and comes back",
  async (t) => {
    const world = new World(["n1", "n2"], { capacity });
    world.put(of("batch", { replicas: 4 }));
    world.run(3_000);
    t.equal(world.serving(batch).length, 4);
    world.put(of("web", { priority: 100, replicas: 1 }));
    world.plan();
    world.plan();
    t.equal(world.running(web).length, 0, "not before the other one has stopped");
    t.match(pendingText(world, web), /shop\/web\.1 waits for room on n1/);
    world.run(6_000);
    t.equal(world.serving(web).length, 1);
    t.equal(world.serving(batch).length, 3);
    t.strictSame(stops(world), ["Preempted by shop/web.1 (priority 100 > 0)."]);
    t.match(
      pendingText(world, batch),
      /shop\/batch\.\d is pending: n1: .*CPUs needed.*Preempted by shop\/web\.1 \(priority 100 > 0\)/,
    );
    const why = explainService(
      { ...world, observations: world.observations, now: world.now },
      batch,
    );
    t.match(why?.pending[0]?.message, /Preempted by shop\/web\.1/, "the same from `skein why`");

    world.submit({ kind: "remove_services", services: [web] });
    world.run(6_000);
    t.equal(world.serving(batch).length, 4, "once there is room again");
    t.equal(world.plan(), false);
  },
);

t.test("nobody makes room for an equal or a lower one", async (t) => {
  const world = new World(["n1"], { capacity });
  world.put(of("batch", { replicas: 2, priority: 5 }));
  world.run(3_000);
  for (const priority of [5, 0, -3]) {
    world.put(of("web", { priority }));
    world.run(3_000);
    t.equal(world.running(web).length, 0, `priority ${priority}`);
  }
  t.strictSame(stops(world), []);
});

t.test("of several nodes the one that costs the fewest, and the lowest, is chosen", async (t) => {
  const world = new World(["n1", "n2", "n3"], { capacity });
  const on = (node: string, name: string, replicas: number, cpuMillis: number, priority: number) =>
    world.put({
      ...of(name, { replicas, cpuMillis }),
      placement: { constraints: [{ key: "node.id", operator: "==", value: node }], priority },
    });
  on("n1", "batch", 4, 250, 0);
  on("n2", "other", 1, 900, 20);
  on("n3", "third", 1, 900, 10);
  world.run(3_000);
  world.put(of("web", { priority: 100, cpuMillis: 800 }));
  world.run(6_000);
  t.strictSame(world.perNode(web), { n3: 1 }, "one task of priority 10, not 3 of 0, not one of 20");
});

t.test("nobody is stopped where that would not be enough", async (t) => {
  const world = new World(["n1"], { capacity });
  world.put(of("batch", { replicas: 1, cpuMillis: 300 }));
  world.put(of("other", { replicas: 1, cpuMillis: 700, priority: 100 }));
  world.run(3_000);
  world.put(of("web", { priority: 100, cpuMillis: 400 }));
  world.run(3_000);
  t.strictSame(stops(world), []);
  t.match(pendingText(world, web), /0\.4 CPUs needed, 0 of 1 free/);
});

t.test("a host port is taken over from a lower priority only", async (t) => {
  const world = new World(["n1"], { capacity });
  world.put(of("batch", { cpuMillis: 100, port: 8_080 }));
  world.put(of("other", { cpuMillis: 100, port: 9_090, priority: 100 }));
  world.run(3_000);
  world.put(of("web", { cpuMillis: 100, priority: 100, port: 9_090 }));
  world.run(3_000);
  t.strictSame(stops(world), []);
  world.put(of("web", { cpuMillis: 100, priority: 100, port: 8_080 }));
  world.run(6_000);
  t.equal(world.serving(web).length, 1);
  t.equal(world.running(batch).length, 0);
  t.equal(world.serving(other).length, 1);
});

t.test("an update waits for room, and takes none from others", async (t) => {
  const world = new World(["n1"], { capacity });
  world.put(of("web", { priority: 100 }));
  world.put(of("batch", {}));
  world.run(3_000);
  const changed = of("web", { priority: 100 });
  const image = template({ image: "web:2", reservations: { cpuMillis: 500, memoryBytes: 1 } });
  world.put({ ...changed, template: image });
  world.run(3_000);
  t.strictSame(stops(world), []);
  t.equal(world.serving(batch).length, 1);
  t.match(pendingText(world, web), /CPUs needed/);
});

t.test("what has lost its node finds a place at the cost of a lower one", async (t) => {
  const world = new World(["n1", "n2"], { capacity });
  const constraints = [{ key: "node.id", operator: "==" as const, value: "n2" }];
  world.put({ ...of("batch", { replicas: 2 }), placement: { constraints } });
  world.run(2_000);
  world.put(of("web", { priority: 1, replicas: 2 }));
  world.run(3_000);
  t.strictSame(world.perNode(web), { n1: 2 });
  world.setMember("n1", "failed");
  world.run(15_000);
  t.strictSame(world.perNode(web), { n2: 2 });
  t.equal(world.running(batch).length, 0);
});

t.test("the run of a job makes room too, and is done again, without a failure", async (t) => {
  const behaviourOf = (image: string) => (image === "job" ? "completes" : "serves");
  const world = new World(["n1"], { capacity, behaviourOf, workMs: 4_000 });
  const job = serviceKey("shop", "job");
  const amounts = { cpuMillis: 1_000, memoryBytes: 1 };
  world.put({
    name: "job",
    mode: { kind: "replicated-job", completions: 1, parallelism: 1, retries: 0 },
    template: template({ image: "job", reservations: amounts }),
  });
  world.run(3_000);
  world.put(of("web", { priority: 1 }));
  world.run(6_000);
  t.equal(world.serving(web).length, 1);
  t.equal(world.running(job).length, 0);
  world.submit({ kind: "remove_services", services: [web] });
  world.run(12_000);
  t.match(world.state.services.get(job)?.runs, [{ state: "succeeded" }]);
});

t.test("a job of a higher priority gets its room", async (t) => {
  const world = new World(["n1"], {
    capacity,
    behaviourOf: (i) => (i === "job" ? "completes" : "serves"),
  });
  world.put(of("batch", { replicas: 2 }));
  world.run(3_000);
  const amounts = { cpuMillis: 600, memoryBytes: 1 };
  world.put({
    name: "job",
    mode: { kind: "replicated-job", completions: 2, parallelism: 1, retries: 0 },
    template: template({ image: "job", reservations: amounts }),
    placement: { constraints: [], priority: 10 },
  });
  world.run(20_000);
  t.match(world.state.services.get(serviceKey("shop", "job"))?.runs, [{ state: "succeeded" }]);
  t.equal(world.serving(batch).length, 2, "and the others are back after it");
});

t.test(
  "a pod counts with what its containers need together, as one that comes and as one that goes",
  async (t) => {
    const world = new World(["n1"], { capacity });
    const amounts = { cpuMillis: 400, memoryBytes: 1 };
    const own = template({ reservations: amounts });
    const companion = {
      ...own,
      name: "helper",
      role: "companion" as const,
    };
    const pod = template({ reservations: amounts, pod: { main: "web", others: [companion] } });
    world.put({ ...of("batch", {}), template: pod });
    world.run(3_000);
    world.put({ ...of("other", { priority: 5, cpuMillis: 300 }) });
    world.run(6_000);
    t.equal(world.running(batch).length, 0, "0.8 of 1 CPU are the pod's");
    world.put({ ...of("web", { priority: 100 }), template: pod });
    world.run(6_000);
    t.equal(world.serving(web).length, 1, "0.8 CPUs do not fit beside 0.3");
    t.equal(world.running(other).length, 0);
  },
);

t.test("what-if shows who would have to go", async (t) => {
  const world = new World(["n1"], { capacity });
  world.put(of("batch", { replicas: 2 }));
  world.run(3_000);
  const specs = [serviceSpec(of("web", { priority: 100 }))];
  const { state, now } = world;
  const result = whatIf(
    { state, observations: world.observations, now },
    { commands: [{ kind: "put_services", specs, nowMs: now }], kill: [], addNodes: [] },
  );
  if (result.kind === "rejected") throw new Error(result.message);
  const waiting = [...result.explanations.values()].flat().map(({ message }) => message);
  t.match(waiting, [
    /shop\/batch\.\d is pending: .*Preempted by shop\/web\.1 \(priority 100 > 0\)/,
  ]);
});

t.test(
  "whatever the load: no equal goes, the plan comes to rest, and nobody waits in vain",
  async (t) => {
    let preempted = 0;
    for (let seed = 1; seed <= 60; seed += 1) {
      const random = seededRandom(seed);
      const nodes = Array.from({ length: 1 + randomBelow(random, 4) }, (_, i) => `n${i + 1}`);
      const world = new World(nodes, { capacity, seed });
      for (let step = 0; step < 8; step += 1) {
        const kind = randomBelow(random, 10);
        if (kind === 0) world.setMember("n1", "failed");
        else if (kind === 1) world.setMember("n1", "alive");
        else {
          const port = randomBelow(random, 6) === 0 ? { port: 8_080 } : {};
          world.put(
            of(`s${randomBelow(random, 6)}`, {
              priority: 10 * (randomBelow(random, 5) - 1),
              replicas: 1 + randomBelow(random, 4),
              cpuMillis: 100 * (1 + randomBelow(random, 7)),
              ...port,
            }),
          );
        }
        world.run(randomBelow(random, 4_000));
      }
      world.setMember("n1", "alive");
      world.run(40_000);
      t.equal(world.plan(), false, `seed ${seed}: at rest`);
      for (const reason of stops(world)) {
        const match = /^Preempted by .* \(priority (-?\d+) > (-?\d+)\)/.exec(reason);
        if (match === null) continue;
        preempted += 1;
        if (!(Number(match[1]) > Number(match[2]))) t.fail(`seed ${seed}: ${reason}`);
      }
      for (const missed of missedIn(world)) t.fail(`seed ${seed}: ${missed}`);
    }
    t.ok(preempted > 50, `${preempted} tasks had to make room`);
  },
);

/** Replicas that wait though a node would have the CPU if only those of lower priority went. */
function missedIn(world: World): readonly string[] {
  const { state } = world;
  return [...state.services].flatMap(([key, { spec }]) => {
    const wanted = spec.mode.kind === "replicated" ? spec.mode.replicas : 0;
    if (world.running(key).length >= wanted || spec.template.hostPorts.length > 0) return [];
    const priority = spec.placement.priority ?? 0;
    const needed = spec.template.reservations.cpuMillis ?? 0;
    return [...state.nodes.keys()].flatMap((node) => {
      let held = 0;
      for (const task of state.tasks.values()) {
        const its = state.services.get(task.service)?.spec.placement.priority ?? 0;
        if (task.nodeId !== node || task.desired === "stopped" || its < priority) continue;
        held += templateOf(state, task)?.reservations.cpuMillis ?? 0;
      }
      return capacity.cpuMillis - held >= needed ? [`${key} waits, ${nodeId(node)} could`] : [];
    });
  });
}
