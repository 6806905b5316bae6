import t from "tap";
import { nodeId, serviceKey, taskId } from "../../src/kernel/index.ts";
import { plan } from "../../src/scheduler/plan.ts";
import type { PortSpec, ServiceSpec } from "../../src/spec/index.ts";
import { serviceSpec, template } from "../builders.ts";
import { World, web } from "./world.ts";

const GiB = 2 ** 30;

function replicas(count: number): ServiceSpec["mode"] {
  return { kind: "replicated", replicas: count };
}

function hostPort(published: number): PortSpec {
  return { target: 80, published, protocol: "tcp", mode: "host", appProtocol: "auto" };
}

function reserving(cpuMillis: number, memoryBytes?: number) {
  return template({
    reservations: { cpuMillis, ...(memoryBytes === undefined ? {} : { memoryBytes }) },
  });
}

t.test("placement", async (t) => {
  t.test("spreads six tasks over three nodes 2/2/2", async (t) => {
    const world = new World(["n1", "n2", "n3"]);
    world.put({ mode: replicas(6) });
    world.plan();
    t.strictSame(world.perNode(), { n1: 2, n2: 2, n3: 2 });
    t.strictSame(
      world.running().map((task) => task.slot),
      [1, 2, 3, 4, 5, 6],
    );
  });

  t.test("a busy node gets fewer of the next service", async (t) => {
    const world = new World(["n1", "n2", "n3"]);
    world.put({ name: "busy", mode: replicas(3), placement: on("node.id", "==", "n1") });
    world.put({ mode: replicas(2) });
    world.run(2_000);
    t.strictSame(world.perNode(), { n2: 1, n3: 1 });
  });

  t.test("the same facts in another order give the same plan", async (t) => {
    const one = new World(["n1", "n2", "n3"]);
    const other = new World(["n3", "n2", "n1"]);
    for (const world of [one, other]) {
      world.put({ mode: replicas(4) });
      world.plan();
    }
    t.strictSame(one.lastPlan.command?.create, other.lastPlan.command?.create);
  });

  t.test("says with numbers why no node fits, and places once there is room", async (t) => {
    const world = new World(["n1", "n2"], { capacity: { cpuMillis: 1_000, memoryBytes: GiB } });
    world.put({ mode: replicas(1), template: reserving(1_500) });
    world.plan();
    t.equal(world.running().length, 0);
    const pending = world.lastPlan.explanations.get(web)?.[0];
    t.match(pending, { cause: "unplaceable", slot: 1 });
    t.equal(
      pending?.message,
      "shop/web.1 is pending: n1: 1.5 CPUs needed, 1 of 1 free; n2: 1.5 CPUs needed, 1 of 1 free.",
    );
    world.setCapacity("n2", { cpuMillis: 2_000, memoryBytes: GiB });
    world.plan();
    t.strictSame(world.perNode(), { n2: 1 });
    t.equal(world.lastPlan.explanations.size, 0);
  });

  const refusals: readonly {
    readonly name: string;
    readonly spec: Partial<ServiceSpec>;
    readonly prepare?: (world: World) => void;
    readonly codes: readonly string[];
  }[] = [
    {
      name: "memory that is reserved by others does not count as free",
      spec: { mode: replicas(3), template: reserving(1, 3 * GiB) },
      prepare: (world) => {
        for (const node of ["n1", "n2"])
          world.setCapacity(node, { cpuMillis: 9, memoryBytes: 4 * GiB });
      },
      codes: ["insufficient_memory", "insufficient_memory"],
    },
    {
      name: "a second replica with the same static host port goes to another node, a third waits",
      spec: { mode: replicas(3), template: template({ hostPorts: [hostPort(8888)] }) },
      codes: ["host_port_in_use", "host_port_in_use"],
    },
    {
      name: "a node takes at most maxReplicasPerNode",
      spec: { mode: replicas(3), placement: { constraints: [], maxReplicasPerNode: 1 } },
      codes: ["max_replicas_per_node", "max_replicas_per_node"],
    },
    {
      name: "constraints name node attributes and labels",
      spec: { mode: replicas(1), placement: on("node.labels.disk", "==", "ssd") },
      codes: ["constraint", "constraint"],
    },
    {
      name: "of several machines, none of which is here, none is found",
      spec: { mode: replicas(1), placement: on("node.hostname", "in", "n3,n4") },
      codes: ["constraint", "constraint"],
    },
    {
      name: "a machine that is not among several is refused",
      spec: {
        mode: replicas(2),
        placement: { ...on("node.hostname", "in", "n2,n3"), maxReplicasPerNode: 1 },
      },
      codes: ["constraint", "max_replicas_per_node"],
    },
    {
      name: "a platform that no node has is refused",
      spec: { mode: replicas(1), placement: on("node.platform.arch", "==", "arm64") },
      codes: ["constraint", "constraint"],
    },
    {
      name: "draining and suspect nodes get no new task",
      spec: { mode: replicas(1) },
      prepare: (world) => {
        world.submit({ kind: "set_eligibility", nodeId: nodeId("n1"), eligibility: "drain" });
        world.setMember("n2", "suspect");
      },
      codes: ["draining", "not_alive"],
    },
  ];
  for (const { name, spec, prepare, codes } of refusals) {
    t.test(name, async (t) => {
      const world = new World(["n1", "n2"]);
      prepare?.(world);
      world.put(spec);
      world.plan();
      const pending = world.lastPlan.explanations.get(web) ?? [];
      t.equal(pending.length, 1, "one replica is pending");
      t.strictSame(
        pending[0]?.nodes.map(({ code }) => code),
        codes,
      );
    });
  }

  t.test("a taken host port is explained with the task that holds it", async (t) => {
    const world = new World(["n1"]);
    world.put({ mode: replicas(2), template: template({ hostPorts: [hostPort(8888)] }) });
    world.plan();
    t.equal(
      world.lastPlan.explanations.get(web)?.[0]?.message,
      "shop/web.2 is pending: n1: host port 8888/tcp is in use by shop/web.1.",
    );
  });
});

function on(key: string, operator: "==" | "!=" | "in", value: string): ServiceSpec["placement"] {
  return { constraints: [{ key, operator, value }] };
}

t.test("scaling", async (t) => {
  t.test("[B4] 3 to 5 keeps the three and adds two in the free slots", async (t) => {
    const world = new World(["n1", "n2", "n3"]);
    world.put();
    world.run(3_000);
    const before = world.running();
    world.scale(5);
    world.run(3_000);
    t.strictSame(world.running().slice(0, 3), before);
    t.strictSame(
      world.running().map((task) => task.slot),
      [1, 2, 3, 4, 5],
    );
  });

  t.test("[B5] 5 to 2 stops the unhealthy one first, then the newest", async (t) => {
    const world = new World(["n1", "n2", "n3"]);
    world.put();
    world.run(3_000);
    world.scale(5);
    world.run(3_000);
    const sick = world.running().find((task) => task.slot === 1);
    world.setStatus(sick?.id ?? taskId(""), { health: "unhealthy" });
    world.scale(2);
    world.plan();
    t.strictSame(
      world.commands.at(-1)?.stop.map(({ id }) => world.state.tasks.get(id)?.slot),
      [1, 5, 4],
    );
    t.strictSame(
      world.running().map((task) => task.slot),
      [2, 3],
    );
  });

  t.test("[B5] among equals the most crowded node gives one up", async (t) => {
    const world = new World(["n1", "n2"]);
    world.put({ mode: replicas(3) });
    world.run(3_000);
    world.scale(2);
    world.plan();
    t.strictSame(world.perNode(), { n1: 1, n2: 1 });
  });

  t.test(
    "amid an update, what would be replaced anyway goes before what was replaced",
    async (t) => {
      const world = new World(["n1", "n2", "n3"]);
      const spec = {
        mode: replicas(6),
        update: { ...serviceSpec().update, order: "stop-first", monitorMs: 2_000 },
      } as const;
      world.put(spec);
      world.run(10_000);
      world.put({ ...spec, template: { ...serviceSpec().template, image: "web:2" } });
      const updated = () => world.serving().filter(({ revision }) => revision === 2);
      for (let waitedMs = 0; updated().length < 3 && waitedMs < 60_000; waitedMs += 100)
        world.run(100);
      const kept = updated().slice(0, 2);
      t.ok(world.serving().some(({ revision }) => revision === 1));
      world.scale(2);
      world.run(10_000);
      t.strictSame(world.running(), kept);
    },
  );

  t.test("to nothing stops all and forgets them once they are gone", async (t) => {
    const world = new World(["n1"]);
    world.put();
    world.run(3_000);
    world.scale(0);
    world.run(5_000);
    t.equal(world.state.tasks.size, 0);
  });
});

t.test("nodes that go and come", async (t) => {
  t.test("a failed node's tasks are replaced after five seconds, not before", async (t) => {
    const world = new World(["n1", "n2", "n3"]);
    world.put();
    world.run(3_000);
    world.setMember("n2", "failed");
    t.notOk(world.plan());
    t.equal(world.lastPlan.nextWakeMs, world.now + 5_000);
    world.now += 5_000;
    t.ok(world.plan());
    t.equal(world.running().length, 3);
    t.equal(world.perNode()["n2"], undefined);
  });

  t.test("when it returns, exactly the wanted number runs and the rest is forgotten", async (t) => {
    const world = new World(["n1", "n2", "n3"]);
    world.put();
    world.run(3_000);
    world.setMember("n2", "failed");
    world.run(8_000);
    const replaced = world.running();
    world.setMember("n2", "alive");
    world.run(6_000);
    t.strictSame(world.running(), replaced, "nothing moves back");
    t.equal(world.serving().length, 3);
    t.equal(world.state.tasks.size, 3);
  });

  t.test("a suspect node keeps its tasks", async (t) => {
    const world = new World(["n1", "n2"]);
    world.put();
    world.run(3_000);
    const before = world.running();
    world.setMember("n2", "suspect");
    world.run(20_000);
    t.strictSame(world.running(), before);
  });

  t.test("a task that nobody else can take stays with its failed node", async (t) => {
    const world = new World(["n1", "n2"]);
    world.put({ mode: replicas(1), placement: on("node.id", "==", "n2") });
    world.run(3_000);
    const before = world.running();
    world.setMember("n2", "failed");
    world.run(8_000);
    t.strictSame(world.running(), before);
    t.match(world.lastPlan.explanations.get(web)?.[0]?.message, /n2: the node is failed/);
  });

  t.test("a node that was never heard of counts as gone only after a while", async (t) => {
    const world = new World(["n1", "n2"]);
    world.put({ mode: replicas(2) });
    world.run(3_000);
    const { members, reports } = world.observations;
    const known = new Map([...members].filter(([id]) => id === "n1"));
    const planAfter = (ms: number) =>
      plan({
        state: world.state,
        observations: { members: known, reports },
        now: world.now + ms,
        newTaskId: () => taskId("new"),
        leaderSinceMs: world.now,
      });
    t.equal(planAfter(14_000).command, undefined);
    t.match(planAfter(15_000).command?.create, [{ nodeId: "n1" }]);
  });

  t.test("a drained node is left start-first, also where updates stop first", async (t) => {
    for (const order of ["start-first", "stop-first"] as const) {
      const world = new World(["n1", "n2", "n3"]);
      world.put({ update: { ...serviceSpec().update, order } });
      world.run(3_000);
      world.submit({ kind: "set_eligibility", nodeId: nodeId("n1"), eligibility: "drain" });
      world.run(10_000, () => t.ok(world.serving().length >= 3, `${order}: three serve`));
      t.equal(world.perNode()["n1"], undefined);
      t.equal(world.state.tasks.size, 3);
    }
  });

  t.test("a removed node's tasks are filled elsewhere", async (t) => {
    const world = new World(["n1", "n2", "n3"]);
    world.put();
    world.run(3_000);
    world.submit({ kind: "remove_node", nodeId: nodeId("n3") });
    world.run(3_000);
    t.strictSame(world.perNode(), { n1: 2, n2: 1 });
  });
});

t.test("global services", async (t) => {
  t.test("run once on every node, on one that joins, and leave one that drains", async (t) => {
    const world = new World(["n1", "n2", "n3"]);
    world.put({ mode: { kind: "global" } });
    world.run(3_000);
    t.strictSame(world.perNode(), { n1: 1, n2: 1, n3: 1 });
    world.join("n4");
    world.run(3_000);
    t.strictSame(world.perNode(), { n1: 1, n2: 1, n3: 1, n4: 1 });
    world.submit({ kind: "set_eligibility", nodeId: nodeId("n2"), eligibility: "drain" });
    world.run(3_000);
    t.strictSame(world.perNode(), { n1: 1, n3: 1, n4: 1 });
  });

  t.test("keep their task while their node is away", async (t) => {
    const world = new World(["n1", "n2"]);
    world.put({ mode: { kind: "global" } });
    world.run(3_000);
    const before = world.running();
    world.setMember("n2", "failed");
    world.run(10_000);
    t.strictSame(world.running(), before);
  });

  t.test("with a static host port are updated, although that has to stop first", async (t) => {
    const world = new World(["n1", "n2"]);
    const spec = { mode: { kind: "global" } } as const;
    world.put({ ...spec, template: template({ hostPorts: [hostPort(9100)] }) });
    world.run(3_000);
    world.put({ ...spec, template: template({ image: "web:2", hostPorts: [hostPort(9100)] }) });
    let fewest = 2;
    world.run(20_000, () => {
      fewest = Math.min(fewest, world.serving().length);
    });
    t.equal(fewest, 1, "one at a time");
    t.strictSame(
      world.running().map((task) => task.revision),
      [2, 2],
    );
  });
});

t.test("tasks that fail", async (t) => {
  t.test("are replaced on another node, with pauses that grow", async (t) => {
    const world = new World(["n1", "n2"], {
      behaviourOf: () => "fails",
      startMs: { min: 0, max: 1 },
    });
    world.put({ mode: replicas(1) });
    const creations: number[] = [];
    world.run(120_000, () => undefined, 100);
    for (const { create } of world.commands) {
      for (const task of create) creations.push(task.createdAtMs);
    }
    const pauses = creations.slice(1).map((at, i) => at - (creations[i] ?? 0));
    t.ok(pauses.length >= 5 && pauses.length <= 8, `${pauses.length} replacements in two minutes`);
    t.strictSame(
      pauses,
      pauses.toSorted((a, b) => a - b),
    );
    const first = world.commands.slice(0, 3).flatMap(({ create }) => create);
    t.not(first[0]?.nodeId, first[1]?.nodeId);
    t.ok(world.state.tasks.size <= 8, "few are remembered");
  });

  t.test("while they back off, the explanation says when they are tried again", async (t) => {
    const world = new World(["n1"]);
    world.put({ mode: replicas(1) });
    world.run(3_000);
    world.fail(world.running()[0]?.id ?? taskId(""));
    world.plan();
    t.match(world.lastPlan.explanations.get(web)?.[0], {
      cause: "backing_off",
      message: "shop/web.1 failed once; it is tried again in 1 s.",
      retryAtMs: world.now + 1_000,
    });
    t.equal(world.lastPlan.nextWakeMs, world.now + 1_000);
    world.run(3_000);
    t.equal(world.serving().length, 1);
    world.run(65_000);
    t.equal(world.state.tasks.size, 1, "after a quiet minute the failure is forgotten");
  });

  t.test("that completed, or may not be restarted, are left alone", async (t) => {
    const world = new World(["n1"]);
    const restart = { condition: "none", delayMs: 0, windowMs: 0 } as const;
    world.put({ mode: replicas(1), template: template({ restart }) });
    world.run(3_000);
    const [task] = world.running();
    world.fail(task?.id ?? taskId(""));
    world.run(3_000);
    t.strictSame(world.running(), [task]);
  });
});

t.test("a report from before the stop is no sign that the task has ended", async (t) => {
  const world = new World(["n1"]);
  world.put({ mode: replicas(1) });
  world.plan();
  world.scale(0);
  world.plan();
  t.notOk(world.plan(), "its node may be starting it just now");
  t.equal(world.state.tasks.size, 1);
  world.pass(100);
  t.ok(world.plan());
  t.equal(world.state.tasks.size, 0);
});

t.test("removed services leave no tasks behind", async (t) => {
  const world = new World(["n1"]);
  world.put();
  world.run(3_000);
  world.submit({ kind: "remove_services", services: [serviceKey("shop", "web")] });
  world.run(5_000);
  t.equal(world.state.tasks.size, 0);
});
