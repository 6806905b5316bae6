import t from "tap";
import type { ProbeResult } from "../../src/agent/health.ts";
import { nodeId, type TaskId, taskId } from "../../src/kernel/index.ts";
import { containerLabels, type MemoryMachineOptions } from "../../src/runtime/index.ts";
import type { HealthCheckSpec } from "../../src/spec/index.ts";
import { task } from "../builders.ts";
import { only, Rig } from "./rig.ts";

const healthCheck: HealthCheckSpec = {
  test: { kind: "http", port: 80, path: "/healthz" },
  intervalMs: 1_000,
  timeoutMs: 500,
  retries: 3,
  startPeriodMs: 2_000,
  startIntervalMs: 500,
};

t.test("what should run", async (t) => {
  t.test("is started and reported, with its labels and name", async (t) => {
    await using rig = new Rig();
    const agent = await rig.start();
    t.equal(rig.machine.containers[0]?.request.name, "shop-web-1-t1");
    t.match(rig.running[0]?.labels, {
      [containerLabels.taskId]: "t1",
      [containerLabels.restarts]: "0",
      [containerLabels.clusterId]: "c1",
    });
    t.match(only(agent.statuses.get()), {
      phase: "running",
      health: "none",
      restarts: 0,
      endpoints: [{ target: 80 }],
      message: "",
    });
  });

  t.test("is started when the state names it, tasks of other nodes are not", async (t) => {
    await using rig = new Rig({ tasks: [] });
    await rig.start();
    rig.setTasks(task(), task({ id: taskId("t2"), nodeId: nodeId("n2") }));
    await rig.clock.advance(0);
    t.equal(rig.running.length, 1);
  });

  t.test("survives the agent, and the next one adopts it as it is", async (t) => {
    await using rig = new Rig();
    const first = await rig.start();
    rig.crash();
    await rig.clock.advance(100);
    const [before] = rig.running;
    await first[Symbol.asyncDispose]();
    t.strictSame(rig.running, [before], "still runs");
    const second = await rig.start();
    await rig.clock.advance(20_000);
    t.strictSame(rig.running, [before]);
    t.match(only(second.statuses.get()), { containerId: before?.id, restarts: 1 });
  });

  t.test("one slow start does not delay the others", async (t) => {
    const tasks = ["t1", "t2", "t3"].map((id, i) => task({ id: taskId(id), slot: i + 1 }));
    const startDelayMs = (request: { readonly taskId: TaskId }) =>
      request.taskId === "t1" ? 60_000 : 0;
    await using rig = new Rig({ tasks, machine: { startDelayMs } });
    const agent = await rig.start();
    t.equal(rig.running.length, 2);
    t.strictSame(
      agent.statuses.get().map(({ phase }) => phase),
      ["starting", "running", "running"],
    );
    rig.machine.remove(rig.running[0]?.id ?? "");
    await rig.clock.advance(900);
    t.equal(rig.running.length, 2, "and heals them meanwhile");
    await rig.clock.advance(60_000);
    t.equal(rig.running.length, 3);
  });

  t.test("at most four are started at a time", async (t) => {
    const tasks = Array.from({ length: 20 }, (_, i) => task({ id: taskId(`t${i}`), slot: i + 1 }));
    await using rig = new Rig({ tasks, machine: { startDelayMs: 1_000 } });
    await rig.start();
    t.equal(rig.machine.containers.length, 4);
    await rig.clock.advance(5_000);
    t.equal(rig.running.length, 20);
  });

  t.test("is not started any more when it was stopped meanwhile", async (t) => {
    await using rig = new Rig({ machine: { startDelayMs: 30_000 } });
    const agent = await rig.start();
    rig.setTasks(task({ desired: "stopped", stoppedAtIndex: 3 }));
    await rig.clock.advance(100);
    t.equal(rig.machine.containers.length, 0);
    t.strictSame(agent.statuses.get(), []);
  });

  t.test("is not started any more either while the engine tells of nothing", async (t) => {
    await using rig = new Rig({ machine: { startDelayMs: 1_500 } });
    await rig.start();
    await rig.clock.advance(500);
    rig.machine.isReachable = false;
    rig.setTasks(task({ desired: "stopped", stoppedAtIndex: 3 }));
    // The pass fails, and again after pauses; the last one is longer than the outage.
    await rig.clock.advance(750);
    rig.machine.isReachable = true;
    await rig.clock.advance(300);
    t.equal(rig.machine.containers.length, 0);
  });
});

t.test("until the node has settled", async (t) => {
  t.test("containers are reported, but nothing is started or stopped", async (t) => {
    await using rig = new Rig({ isSettled: true });
    const first = await rig.start();
    await first[Symbol.asyncDispose]();
    rig.isSettled.set(false);
    rig.setTasks(task({ id: taskId("t2"), slot: 2 }));
    const agent = await rig.start();
    await rig.clock.advance(15_000);
    t.strictSame(
      agent.statuses.get().map((status) => [status.taskId, status.phase]),
      [
        ["t1", "running"],
        ["t2", "preparing"],
      ],
    );
    t.equal(rig.running.length, 1);
    rig.isSettled.set(true);
    await rig.clock.advance(100);
    t.strictSame(
      rig.running.map(({ labels }) => labels[containerLabels.taskId]),
      ["t2"],
      "then the unknown one is stopped and the wanted one started",
    );
  });
});

t.test("what ends", async (t) => {
  t.test("is started again at once, then after pauses that grow", async (t) => {
    await using rig = new Rig();
    const agent = await rig.start();
    const pauses: number[] = [];
    for (let crash = 0; crash < 4; crash += 1) {
      rig.crash();
      const crashedAt = rig.clock.now();
      while (rig.running.length === 0) await rig.clock.advance(50);
      pauses.push(rig.clock.now() - crashedAt);
      t.match(only(agent.statuses.get()), { restarts: crash + 1, phase: "running" });
    }
    const [first = 0, ...others] = pauses;
    t.ok(first <= 100);
    t.strictSame(
      others.map((ms) => Math.round(ms / 1_000)),
      [1, 2, 4],
    );
    t.equal(rig.machine.containers.length, 1, "the remains are removed");
    t.match(only(agent.statuses.get()).message, /exit code 1/);
  });

  t.test("starts its back-off anew after a calm run", async (t) => {
    await using rig = new Rig();
    await rig.start();
    for (let crash = 0; crash < 3; crash += 1) {
      rig.crash();
      await rig.clock.advance(5_000);
    }
    await rig.clock.advance(31_000);
    rig.crash();
    await rig.clock.advance(100);
    t.equal(rig.running.length, 1);
  });

  t.test("is given up after six quick failures in a row", async (t) => {
    const program: MemoryMachineOptions["program"] = (process) => process.exit(3);
    await using rig = new Rig({ machine: { program } });
    const agent = await rig.start();
    await rig.clock.advance(120_000);
    t.match(only(agent.statuses.get()), { phase: "failed", restarts: 5, exitCode: 3 });
    t.equal(rig.machine.containers.length, 1, "its last container stays for its logs");
    rig.setTasks(task({ desired: "stopped", stoppedAtIndex: 9 }));
    await rig.clock.advance(100);
    t.equal(rig.machine.containers.length, 0);
    t.equal(only(agent.statuses.get()).phase, "failed", "still told, for the leader counts it");
    rig.setTasks();
    await rig.clock.advance(100);
    t.strictSame(agent.statuses.get(), []);
  });

  t.test("[B2] and was removed or killed by hand is started again within a second", async (t) => {
    await using rig = new Rig();
    const agent = await rig.start();
    for (let i = 0; i < 8; i += 1) {
      await rig.clock.advance(1_500);
      if (i % 2 === 0) rig.machine.remove(rig.running[0]?.id ?? "");
      else rig.crash(137);
      await rig.clock.advance(500);
      t.equal(rig.running.length, 1);
    }
    t.match(only(agent.statuses.get()), { phase: "running", restarts: 8 });
  });

  t.test("with success is completed where the policy says so", async (t) => {
    for (const condition of ["on-failure", "none"] as const) {
      const restart = { condition, delayMs: 0, windowMs: 0 };
      await using rig = new Rig({ template: { restart } });
      const agent = await rig.start();
      rig.crash(0);
      await rig.clock.advance(60_000);
      t.match(only(agent.statuses.get()), { phase: "completed", restarts: 0, message: "" });
    }
  });

  t.test("for want of memory says so", async (t) => {
    await using rig = new Rig();
    const agent = await rig.start();
    rig.machine.crash(rig.running[0]?.id ?? "", 137, { isOomKilled: true });
    await rig.clock.advance(100);
    t.match(only(agent.statuses.get()).message, /more memory than its limit/);
  });

  t.test("an image that nobody has is tried again with pauses, then given up", async (t) => {
    await using rig = new Rig({ template: { image: "nowhere:1" } });
    rig.machine.missingImages.add("nowhere:1");
    const agent = await rig.start();
    t.match(only(agent.statuses.get()), { phase: "preparing", message: /nowhere:1/ });
    await rig.clock.advance(120_000);
    t.match(only(agent.statuses.get()), { phase: "failed", message: /nowhere:1/ });
  });

  t.test("an engine that does not answer is nobody's failure", async (t) => {
    const test: HealthCheckSpec["test"] = { kind: "command", argv: ["true"] };
    const eager = { ...healthCheck, test, intervalMs: 20_000, retries: 1 };
    await using rig = new Rig({ template: { healthCheck: eager } });
    const agent = await rig.start();
    const [before] = rig.running;
    rig.machine.isReachable = false;
    // Two probes fall into the outage; the agent is back before the next one.
    await rig.clock.advance(50_000);
    t.equal(only(agent.statuses.get()).phase, "running");
    rig.machine.isReachable = true;
    await rig.clock.advance(10_000);
    t.strictSame(rig.running, [before]);
    t.match(only(agent.statuses.get()), { phase: "running", restarts: 0 });
  });

  t.test("nothing is known of the containers until the engine has told of them", async (t) => {
    await using rig = new Rig();
    const first = await rig.start();
    await first[Symbol.asyncDispose]();
    rig.machine.isReachable = false;
    const agent = await rig.start();
    await rig.clock.advance(20_000);
    t.equal(agent.hasLooked.get(), false);
    rig.machine.isReachable = true;
    await rig.clock.advance(10_000);
    t.equal(agent.hasLooked.get(), true);
    t.match(only(agent.statuses.get()), { phase: "running", restarts: 0 });
  });

  t.test("an engine that goes away during a start is tried again as if nothing was", async (t) => {
    await using rig = new Rig({ machine: { startDelayMs: 2_000 } });
    const agent = await rig.start();
    t.equal(only(agent.statuses.get()).phase, "starting");
    const phases = new Set<string>();
    agent.statuses.subscribe(() => phases.add(only(agent.statuses.get()).phase));
    rig.machine.isReachable = false;
    await rig.clock.advance(20_000);
    rig.machine.isReachable = true;
    await rig.clock.advance(20_000);
    t.match(only(agent.statuses.get()), { phase: "running", restarts: 0, message: "" });
    t.strictSame([...phases], ["running"], "and what was reported did not go back");
  });

  t.test("a report never goes back", async (t) => {
    const order = ["preparing", "starting", "running", "stopping", "completed"];
    let crashes = 0;
    const program: MemoryMachineOptions["program"] = (process) => {
      crashes += 1;
      if (crashes < 4) process.exit(1);
    };
    await using rig = new Rig({ machine: { program, startDelayMs: 300 } });
    const agent = await rig.start();
    const seen: number[] = [];
    agent.statuses.subscribe(() => {
      for (const { restarts, phase } of agent.statuses.get()) {
        seen.push(restarts * 10 + order.indexOf(phase));
      }
    });
    await rig.clock.advance(20_000);
    rig.setTasks(task({ desired: "stopped", stoppedAtIndex: 4 }));
    await rig.clock.advance(20_000);
    t.strictSame(
      seen,
      seen.toSorted((a, b) => a - b),
    );
    t.ok(seen.includes(32) && seen.includes(33));
  });
});

t.test("what should stop", async (t) => {
  const stopped = task({ desired: "stopped", stoppedAtIndex: 3 });

  t.test("runs on until it is drained", async (t) => {
    await using rig = new Rig();
    const agent = await rig.start();
    rig.setTasks(stopped);
    await rig.clock.advance(5_000);
    t.equal(rig.running.length, 1);
    t.match(only(agent.statuses.get()), { phase: "stopping", endpoints: [{ target: 80 }] });
    rig.drained.set(new Set([stopped.id]));
    await rig.clock.advance(100);
    t.equal(rig.machine.containers.length, 0);
    t.strictSame(agent.statuses.get(), []);
  });

  t.test("is stopped after ten seconds at the latest", async (t) => {
    await using rig = new Rig();
    await rig.start();
    rig.setTasks(stopped);
    await rig.clock.advance(9_900);
    t.equal(rig.running.length, 1);
    await rig.clock.advance(200);
    t.equal(rig.machine.containers.length, 0);
  });

  t.test("gets its stop signal and its grace, then it is killed", async (t) => {
    const signals: string[] = [];
    const program: MemoryMachineOptions["program"] = (process) =>
      process.onSignal((signal) => signals.push(signal));
    const timing = { stopSignal: "SIGQUIT", stopGracePeriodMs: 4_000 };
    await using rig = new Rig({ machine: { program }, template: timing });
    await rig.start();
    rig.drained.set(new Set([stopped.id]));
    rig.setTasks(stopped);
    await rig.clock.advance(3_900);
    t.strictSame(signals, ["SIGQUIT"]);
    t.equal(rig.running.length, 1);
    await rig.clock.advance(200);
    t.equal(rig.machine.containers.length, 0);
  });

  t.test("delays no other, however slow it is", async (t) => {
    const program: MemoryMachineOptions["program"] = (process) => process.onSignal(() => undefined);
    await using rig = new Rig({ machine: { program }, template: { stopGracePeriodMs: 60_000 } });
    await rig.start();
    rig.drained.set(new Set([stopped.id]));
    rig.setTasks(stopped, task({ id: taskId("t2"), slot: 2 }));
    await rig.clock.advance(100);
    t.equal(rig.running.length, 2);
  });

  t.test("though its task is unknown is stopped at once", async (t) => {
    await using rig = new Rig();
    await rig.start();
    rig.setTasks();
    await rig.clock.advance(100);
    t.equal(rig.machine.containers.length, 0);
  });
});

t.test("a task that another node may run by now", async (t) => {
  t.test("is stopped at once, says why, and starts again when this node may", async (t) => {
    await using rig = new Rig();
    const agent = await rig.start();
    await rig.clock.advance(1_000);
    t.match(agent.statuses.get(), [{ phase: "running", restarts: 0 }]);
    rig.fencedOff.set(new Set([taskId("t1")]));
    await rig.clock.advance(1_000);
    t.equal(rig.running.length, 0);
    await rig.clock.advance(60_000);
    t.equal(rig.running.length, 0, "it stays so");
    t.match(agent.statuses.get(), [
      { phase: "preparing", restarts: 1, endpoints: [], message: /no majority/ },
    ]);
    rig.fencedOff.set(new Set());
    await rig.clock.advance(1_000);
    t.match(agent.statuses.get(), [{ phase: "running", restarts: 1 }]);
    t.equal(rig.running.length, 1);
  });

  t.test("is not started at all", async (t) => {
    await using rig = new Rig();
    rig.fencedOff.set(new Set([taskId("t1")]));
    const agent = await rig.start();
    await rig.clock.advance(30_000);
    t.equal(rig.running.length, 0);
    t.match(agent.statuses.get(), [{ phase: "preparing", restarts: 0, message: "" }]);
    rig.fencedOff.set(new Set());
    await rig.clock.advance(1_000);
    t.match(agent.statuses.get(), [{ phase: "running", restarts: 0 }]);
  });

  t.test("is not waited for until its requests have ended", async (t) => {
    await using rig = new Rig();
    await rig.start();
    rig.setTasks(task({ desired: "stopped", stoppedAtIndex: 9 }));
    await rig.clock.advance(500);
    t.equal(rig.running.length, 1, "it drains");
    rig.fencedOff.set(new Set([taskId("t1")]));
    await rig.clock.advance(500);
    t.equal(rig.running.length, 0);
  });
});

t.test("health", async (t) => {
  const failing: ProbeResult = {
    kind: "failed",
    message: "GET /healthz answered with status 500.",
  };

  t.test("[G4] is starting until the first pass, then healthy", async (t) => {
    await using rig = new Rig({ template: { healthCheck } });
    rig.probeResult = failing;
    const agent = await rig.start();
    await rig.clock.advance(1_000);
    t.match(only(agent.statuses.get()), { phase: "running", health: "starting" });
    rig.probeResult = { kind: "passed" };
    await rig.clock.advance(500);
    t.match(only(agent.statuses.get()), { phase: "running", health: "healthy", restarts: 0 });
  });

  t.test("a container with a check serves since its first pass, not since its start", async (t) => {
    await using rig = new Rig({ template: { healthCheck } });
    rig.probeResult = { kind: "failed", message: "503" };
    const agent = await rig.start();
    await rig.clock.advance(3_000);
    const startedAtMs = only(agent.statuses.get()).sinceMs;
    rig.probeResult = { kind: "passed" };
    await rig.clock.advance(10_000);
    const { health, sinceMs } = only(agent.statuses.get());
    t.equal(health, "healthy");
    t.ok(sinceMs >= startedAtMs + 3_000, "the time of `monitor` begins there");
    t.ok(sinceMs < rig.clock.now() - 3_000, "and stays while it is healthy");
  });

  t.test("[G2] an unhealthy container is reported, restarted and healthy again", async (t) => {
    const program: MemoryMachineOptions["program"] = (process) => process.onSignal(() => undefined);
    const slow = { healthCheck, stopGracePeriodMs: 1_000 };
    await using rig = new Rig({ template: slow, machine: { program } });
    const agent = await rig.start();
    await rig.clock.advance(40_000);
    const [before] = rig.running;
    rig.probeResult = failing;
    await rig.clock.advance(3_100);
    t.match(only(agent.statuses.get()), {
      phase: "running",
      health: "unhealthy",
      restarts: 0,
      message: /status 500/,
    });
    rig.probeResult = { kind: "passed" };
    await rig.clock.advance(1_500);
    t.not(rig.running[0]?.id, before?.id);
    t.match(only(agent.statuses.get()), { phase: "running", health: "healthy", restarts: 1 });
  });

  t.test(
    "with keep-unhealthy an unhealthy container stays as it is, and may recover",
    async (t) => {
      await using rig = new Rig({
        template: { healthCheck: { ...healthCheck, keepUnhealthy: true } },
      });
      const agent = await rig.start();
      await rig.clock.advance(3_000);
      const [before] = rig.running;
      rig.probeResult = { kind: "failed", message: "status 500" };
      await rig.clock.advance(120_000);
      t.match(agent.statuses.get(), [
        { phase: "running", health: "unhealthy", restarts: 0, message: "status 500" },
      ]);
      t.equal(rig.running[0]?.id, before?.id, "the same container");
      rig.probeResult = { kind: "passed" };
      await rig.clock.advance(3_000);
      t.match(agent.statuses.get(), [{ phase: "running", health: "healthy", restarts: 0 }]);
    },
  );

  t.test("[B6] one that never passes is given up in the end", async (t) => {
    await using rig = new Rig({ template: { healthCheck } });
    rig.probeResult = failing;
    const agent = await rig.start();
    await rig.clock.advance(200_000);
    t.match(only(agent.statuses.get()), { phase: "failed", message: /unhealthy.*status 500/ });
    t.equal(rig.running.length, 0);
  });

  t.test("[G1] a command is run inside the container", async (t) => {
    const asked: (readonly string[])[] = [];
    const exec: MemoryMachineOptions["exec"] = (_request, argv) => {
      asked.push(argv);
      return { exitCode: 0, output: "" };
    };
    const test: HealthCheckSpec["test"] = { kind: "command", argv: ["pg_isready"] };
    await using rig = new Rig({
      machine: { exec },
      template: { healthCheck: { ...healthCheck, test } },
    });
    const agent = await rig.start();
    t.strictSame(asked[0], ["pg_isready"]);
    t.equal(only(agent.statuses.get()).health, "healthy");
  });
});

t.test("an engine that has not answered for long is told of until it does", async (t) => {
  await using rig = new Rig();
  const agent = await rig.start();
  await rig.clock.advance(60_000);
  t.equal(agent.isEngineSilent.get(), false);
  rig.machine.isReachable = false;
  await rig.clock.advance(10_000);
  t.equal(agent.isEngineSilent.get(), false, "one that is restarted is away for some seconds");
  await rig.clock.advance(60_000);
  t.equal(agent.isEngineSilent.get(), true);
  rig.machine.isReachable = true;
  await rig.clock.advance(10_000);
  t.equal(agent.isEngineSilent.get(), false);
});
