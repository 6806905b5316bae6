import t from "tap";
import {
  apply,
  type ClusterState,
  type Command,
  type NodeReport,
  type Observations,
  type Outcome,
} from "../../src/cluster/index.ts";
import { Cell, type NodeId, nodeId, seededRandom, silentLogger } from "../../src/kernel/index.ts";
import { startSchedulerLoop } from "../../src/scheduler/scheduler-loop.ts";
import { VirtualClock } from "../agent/virtual-clock.ts";
import { applyAll, clusterOf, serviceSpec } from "../builders.ts";
import { web } from "./world.ts";

class Rig implements AsyncDisposable {
  readonly clock = new VirtualClock();
  readonly isLeader = new Cell(true);
  readonly state: Cell<ClusterState>;
  readonly observations = new Cell<Observations>(observe(["n1", "n2"], ["n1", "n2"]));
  readonly submitted: Command[] = [];
  /** What answers instead of the cluster. */
  answer: (() => Promise<Outcome>) | undefined;
  readonly #open: AsyncDisposable[] = [];

  constructor() {
    const put: Command = { kind: "put_services", specs: [serviceSpec()], nowMs: 0 };
    this.state = new Cell(applyAll([put], clusterOf("n1", "n2")));
  }

  async start() {
    const loop = await startSchedulerLoop({
      isLeader: this.isLeader,
      state: this.state,
      observations: this.observations,
      submit: (command) => this.submit(command),
      clock: this.clock,
      random: seededRandom(1),
      logger: silentLogger,
    });
    this.#open.push(loop);
    await this.clock.advance(0);
    return loop;
  }

  async submit(command: Command): Promise<Outcome> {
    this.submitted.push(command);
    if (this.answer !== undefined) return await this.answer();
    const { state, outcome } = apply(this.state.get(), this.state.get().index + 1, command);
    this.state.set(state);
    return outcome;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const each of this.#open) await each[Symbol.asyncDispose]();
  }
}

function observe(alive: readonly string[], reporting: readonly string[]): Observations {
  return {
    members: new Map(alive.map((name) => [nodeId(name), { status: "alive", sinceMs: 0 }])),
    reports: new Map(
      reporting.map((name): [NodeId, NodeReport] => [
        nodeId(name),
        {
          nodeId: nodeId(name),
          skeinVersion: "0.1.0",
          runtime: "memory",
          runtimeVersion: "1",
          platform: { os: "linux", arch: "amd64" },
          capacity: { cpuMillis: 4_000, memoryBytes: 2 ** 33 },
          httpPort: 80,
          routesIndex: 0,
          appliedIndex: 0,
          tasks: [],
        },
      ]),
    ),
  };
}

t.test("the scheduler loop", async (t) => {
  t.test("plans as leader, and comes to rest", async (t) => {
    await using rig = new Rig();
    await rig.start();
    await rig.clock.advance(10_000);
    t.equal(rig.state.get().tasks.size, 3);
    t.equal(rig.submitted.length, 1);
  });

  t.test("does nothing on other nodes, and starts when it is made leader", async (t) => {
    await using rig = new Rig();
    rig.isLeader.set(false);
    await rig.start();
    await rig.clock.advance(10_000);
    t.equal(rig.submitted.length, 0);
    rig.isLeader.set(true);
    await rig.clock.advance(30);
    t.equal(rig.state.get().tasks.size, 3);
  });

  t.test("waits for the reports of its members, but not for long", async (t) => {
    await using rig = new Rig();
    rig.observations.set(observe(["n1", "n2"], ["n1"]));
    await rig.start();
    await rig.clock.advance(1_900);
    t.equal(rig.submitted.length, 0);
    await rig.clock.advance(200);
    t.equal(rig.submitted.length, 1);

    await using other = new Rig();
    other.observations.set(observe(["n1", "n2"], ["n1"]));
    await other.start();
    other.observations.set(observe(["n1", "n2"], ["n1", "n2"]));
    await other.clock.advance(30);
    t.equal(other.submitted.length, 1, "goes on as soon as they are there");
  });

  t.test("reacts to a change at once, and to a burst of changes once", async (t) => {
    await using rig = new Rig();
    await rig.start();
    const before = rig.submitted.length;
    for (const replicas of [4, 5, 6]) {
      const scale: Command = { kind: "scale_service", service: web, replicas, nowMs: 1 };
      rig.state.set(applyAll([scale], rig.state.get()));
    }
    await rig.clock.advance(30);
    t.equal(rig.submitted.length, before + 1);
    t.equal(rig.state.get().tasks.size, 6);
  });

  t.test("says why something is pending, for as long as it leads", async (t) => {
    await using rig = new Rig();
    rig.observations.set({ ...observe([], []) });
    const loop = await rig.start();
    await rig.clock.advance(3_000);
    t.match(loop.explanations.get().get(web)?.[0], { cause: "unplaceable", slot: 1 });
    rig.isLeader.set(false);
    await rig.clock.advance(30);
    t.equal(loop.explanations.get().size, 0);
  });

  t.test("plans anew, with a pause, after a refusal or a lost quorum", async (t) => {
    await using rig = new Rig();
    rig.answer = async () => ({ kind: "rejected", code: "stale", message: "Changed." });
    await rig.start();
    t.equal(rig.submitted.length, 1);
    rig.answer = () => Promise.reject(new Error("no quorum"));
    await rig.clock.advance(5_000);
    const tries = rig.submitted.length;
    t.ok(tries > 3 && tries < 10, `${tries} tries in five seconds`);
    rig.answer = undefined;
    await rig.clock.advance(6_000);
    t.equal(rig.state.get().tasks.size, 3);
  });

  t.test("replaces the tasks of a node five seconds after it failed", async (t) => {
    await using rig = new Rig();
    await rig.start();
    const failed = { status: "failed", sinceMs: rig.clock.now() } as const;
    const { members, reports } = rig.observations.get();
    rig.observations.set({ members: new Map(members).set(nodeId("n2"), failed), reports });
    const here = () =>
      [...rig.state.get().tasks.values()].filter(
        (task) => task.desired === "running" && task.nodeId === "n1",
      ).length;
    await rig.clock.advance(4_900);
    t.ok(here() < 3);
    await rig.clock.advance(200);
    t.equal(here(), 3);
  });
});
