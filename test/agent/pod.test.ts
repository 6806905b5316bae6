import t from "tap";
import { type Container, containerLabels, type MemoryProcess } from "../../src/runtime/index.ts";
import type { HealthCheckSpec, PodContainer, TaskTemplate } from "../../src/spec/index.ts";
import { task, template } from "../builders.ts";
import { only, Rig } from "./rig.ts";

const { pod: _, ...container } = template({ exposedPorts: [], image: "tool:1" });

function other(name: string, part: Partial<PodContainer> = {}): PodContainer {
  return { ...container, role: "companion", name, ...part };
}

function pod(...others: readonly PodContainer[]): Partial<TaskTemplate> {
  return { pod: { main: "web", others: [...others] } };
}

const commandCheck: HealthCheckSpec = {
  test: { kind: "command", argv: ["check"] },
  intervalMs: 1_000,
  timeoutMs: 500,
  retries: 3,
  startPeriodMs: 0,
  startIntervalMs: 500,
};

const nameOf = ({ labels }: { readonly labels: Container["labels"] }) =>
  labels[containerLabels.container];
const names = (rig: Rig) => rig.running.map(nameOf);
const restartsOf = (rig: Rig) =>
  rig.running.map(({ labels }) => Number(labels[containerLabels.restarts]));

function idOf(rig: Rig, name: string): string {
  const found = rig.running.find((each) => nameOf(each) === name);
  if (found === undefined) throw new Error(`${name} does not run`);
  return found.id;
}

/** Ends what the image `setup` runs with an exit code, after some time. */
function setup(exitCode: number, afterMs = 0) {
  return (rig: () => Rig) => (self: MemoryProcess) => {
    if (!self.request.template.image.startsWith("setup")) return;
    const { clock } = rig();
    const { signal } = new AbortController();
    clock.sleep(afterMs, { signal }).then(
      () => self.exit(exitCode),
      () => undefined,
    );
  };
}

t.test("the containers of a pod", async (t) => {
  t.test("share a network and mounts, and are reported as one", async (t) => {
    const log = { kind: "volume", target: "/log", readOnly: false } as const;
    const volumesFrom = [{ container: "web", readOnly: true }];
    await using rig = new Rig({
      template: { ...pod(other("sidecar", { volumesFrom })), mounts: [log] },
    });
    const agent = await rig.start();
    t.strictSame(names(rig), ["web", "sidecar"]);
    const [web, sidecar] = rig.machine.containers;
    t.equal(web?.request.networkOf, undefined);
    t.equal(sidecar?.request.networkOf, web?.id);
    t.strictSame(sidecar?.request.volumesFrom, [{ containerId: web?.id, readOnly: true }]);
    t.equal(sidecar?.request.name, "shop-web-1-t1-sidecar");
    t.match(only(agent.statuses.get()), {
      phase: "running",
      containerId: web?.id,
      endpoints: [{ target: 80 }],
      containers: [
        { name: "web", role: "main", state: "running" },
        { name: "sidecar", role: "companion", state: "running", containerId: sidecar?.id },
      ],
    });
  });

  t.test("start after those that run before them, one by one", async (t) => {
    const program = setup(0, 1_000)(() => rig);
    const first = other("first", { role: "init", image: "setup:1" });
    const second = other("second", { role: "init", image: "setup:2" });
    await using rig = new Rig({
      template: pod(other("sidecar"), first, second),
      machine: { program },
    });
    const agent = await rig.start();
    t.strictSame(names(rig), ["first"]);
    t.match(only(agent.statuses.get()), { phase: "starting", endpoints: [] });
    await rig.clock.advance(1_000);
    t.strictSame(names(rig), ["second"]);
    t.match(only(agent.statuses.get()).containers, [
      { name: "first", role: "init", state: "succeeded", exitCode: 0 },
      { name: "second", state: "running" },
      { name: "web", state: "waiting" },
      { name: "sidecar", state: "waiting" },
    ]);
    await rig.clock.advance(1_000);
    t.strictSame(names(rig), ["web", "sidecar"]);
    t.equal(only(agent.statuses.get()).phase, "running");
    t.equal(rig.machine.containers.length, 4, "what ran before is kept for its output");
  });

  t.test("do not start when one that runs before them fails; it is tried again", async (t) => {
    let exitCode = 3;
    const program = (self: MemoryProcess) => {
      if (self.request.template.image === "setup:1") self.exit(exitCode);
    };
    const init = other("migrate", { role: "init", image: "setup:1" });
    await using rig = new Rig({ template: pod(init), machine: { program } });
    const agent = await rig.start();
    await rig.clock.advance(500);
    t.strictSame(names(rig), []);
    t.match(only(agent.statuses.get()), {
      message: "The container migrate exited (exit code 3).",
      exitCode: 3,
    });
    exitCode = 0;
    await rig.clock.advance(5_000);
    t.strictSame(names(rig), ["web"]);
    t.ok(only(agent.statuses.get()).restarts > 0);
  });

  t.test("fail for good together, and are stopped", async (t) => {
    const restart = { condition: "none", delayMs: 0, windowMs: 0 } as const;
    await using rig = new Rig({ template: { ...pod(other("sidecar")), restart } });
    const agent = await rig.start();
    rig.machine.crash(idOf(rig, "sidecar"), 1);
    await rig.clock.advance(0);
    t.strictSame(names(rig), []);
    t.match(only(agent.statuses.get()), {
      phase: "failed",
      message: "The container sidecar exited (exit code 1).",
    });
  });

  for (const dying of ["web", "sidecar"]) {
    t.test(`start again together when ${dying} ends`, async (t) => {
      await using rig = new Rig({ template: pod(other("sidecar")) });
      const agent = await rig.start();
      await rig.clock.advance(2_000);
      const before = idOf(rig, "web");
      rig.machine.crash(idOf(rig, dying), 1);
      await rig.clock.advance(0);
      t.strictSame(names(rig), ["web", "sidecar"]);
      t.strictSame(restartsOf(rig), [1, 1]);
      t.not(idOf(rig, "web"), before, "nothing joins the network of what has ended");
      t.equal(rig.machine.containers.length, 2, "nothing is left of those before");
      t.match(only(agent.statuses.get()), { phase: "running", restarts: 1 });
    });

    t.test(`start again together when ${dying} is removed from outside`, async (t) => {
      const others = [other("sidecar"), other("last")];
      await using rig = new Rig({ template: pod(...others) });
      await rig.start();
      await rig.clock.advance(2_000);
      rig.machine.remove(idOf(rig, dying));
      await rig.clock.advance(0);
      t.strictSame(names(rig), ["web", "sidecar", "last"]);
      t.strictSame(restartsOf(rig), [1, 1, 1]);
    });
  }

  t.test("go on without a companion that has done its work", async (t) => {
    const restart = { condition: "on-failure", delayMs: 0, windowMs: 0 } as const;
    await using rig = new Rig({ template: pod(other("warm-up", { restart }), other("sidecar")) });
    const agent = await rig.start();
    rig.machine.crash(idOf(rig, "warm-up"), 0);
    await rig.clock.advance(1_000);
    t.strictSame(names(rig), ["web", "sidecar"]);
    t.match(only(agent.statuses.get()), {
      phase: "running",
      restarts: 0,
      containers: [{}, { name: "warm-up", state: "succeeded" }, {}],
    });
  });

  t.test("are over when the main one has done its work", async (t) => {
    const restart = { condition: "on-failure", delayMs: 0, windowMs: 0 } as const;
    await using rig = new Rig({ template: { ...pod(other("sidecar")), restart } });
    const agent = await rig.start();
    rig.machine.crash(idOf(rig, "web"), 0);
    await rig.clock.advance(0);
    t.strictSame(names(rig), []);
    t.equal(only(agent.statuses.get()).phase, "completed");
  });

  t.test("are over though the cluster has noted the result already", async (t) => {
    const restart = { condition: "none", delayMs: 0, windowMs: 0 } as const;
    const program = (self: MemoryProcess) => self.onSignal(() => undefined);
    const slow = { ...pod(other("sidecar", { stopGracePeriodMs: 3_000 })), restart };
    await using rig = new Rig({ template: slow, machine: { program } });
    const first = await rig.start();
    rig.machine.crash(idOf(rig, "web"), 0);
    await first[Symbol.asyncDispose]();
    rig.setTasks(task({ result: { outcome: "succeeded", message: "", atMs: 0 } }));
    await rig.start();
    await rig.clock.advance(4_000);
    t.strictSame(names(rig), []);
  });

  t.test("are stopped together, that with the network last", async (t) => {
    const stopped: (string | undefined)[] = [];
    const program = (self: MemoryProcess) =>
      self.onSignal(() => {
        stopped.push(self.request.labels[containerLabels.container]);
        self.exit(0);
      });
    await using rig = new Rig({ template: pod(other("a"), other("b")), machine: { program } });
    await rig.start();
    rig.setTasks(task({ desired: "stopped", stoppedAtIndex: 9 }));
    await rig.clock.advance(11_000);
    t.strictSame(stopped, ["a", "b", "web"]);
    t.equal(rig.machine.containers.length, 0);
  });

  t.test("are healthy when all are that have a check", async (t) => {
    let isHealthy = false;
    const exec = () => ({ exitCode: isHealthy ? 0 : 1, output: "not yet" });
    const sidecar = other("sidecar", { healthCheck: { ...commandCheck, startPeriodMs: 9_000 } });
    await using rig = new Rig({ template: pod(sidecar), machine: { exec } });
    const agent = await rig.start();
    await rig.clock.advance(1_000);
    t.match(only(agent.statuses.get()), { phase: "running", health: "starting" });
    isHealthy = true;
    await rig.clock.advance(1_000);
    t.equal(only(agent.statuses.get()).health, "healthy");
    isHealthy = false;
    await rig.clock.advance(10_000);
    t.ok(
      restartsOf(rig).every((restarts) => restarts > 0),
      "an unhealthy one restarts all",
    );
  });

  t.test("are probed on the ports of the pod", async (t) => {
    const healthCheck = { ...commandCheck, test: { kind: "tcp", port: 80 } } as const;
    await using rig = new Rig({ template: pod(other("sidecar", { healthCheck })) });
    const agent = await rig.start();
    await rig.clock.advance(1_000);
    t.equal(only(agent.statuses.get()).health, "healthy");
  });

  t.test("wait for each other's health where they are told to", async (t) => {
    let isHealthy = false;
    const exec = () => ({ exitCode: isHealthy ? 0 : 1, output: "" });
    const template = {
      ...pod(other("client", { startsAfterHealthy: ["web"] })),
      healthCheck: { ...commandCheck, startPeriodMs: 60_000 },
    };
    await using rig = new Rig({ template, machine: { exec } });
    await rig.start();
    await rig.clock.advance(3_000);
    t.strictSame(names(rig), ["web"]);
    isHealthy = true;
    await rig.clock.advance(1_000);
    t.strictSame(names(rig), ["web", "client"]);
  });

  t.test("wait for all their images before the first one starts", async (t) => {
    await using rig = new Rig({ template: pod(other("sidecar", { image: "nowhere:1" })) });
    rig.machine.missingImages.add("nowhere:1");
    const agent = await rig.start();
    t.strictSame(names(rig), []);
    t.match(only(agent.statuses.get()).message, /nowhere:1 is not on this machine/);
    rig.machine.missingImages.clear();
    await rig.clock.advance(5_000);
    t.strictSame(names(rig), ["web", "sidecar"]);
  });
});

t.test("a daemon that starts anew", async (t) => {
  t.test("adopts a pod as it is", async (t) => {
    await using rig = new Rig({ template: pod(other("sidecar")) });
    const first = await rig.start();
    const ids = rig.running.map(({ id }) => id);
    await first[Symbol.asyncDispose]();
    const second = await rig.start();
    t.strictSame(
      rig.running.map(({ id }) => id),
      ids,
    );
    t.match(only(second.statuses.get()), { phase: "running", restarts: 0 });
  });

  t.test("goes on where the start of a pod was", async (t) => {
    const program = setup(0, 5_000)(() => rig);
    const init = other("migrate", { role: "init", image: "setup:1" });
    await using rig = new Rig({ template: pod(init, other("sidecar")), machine: { program } });
    const first = await rig.start();
    const migrating = idOf(rig, "migrate");
    await first[Symbol.asyncDispose]();
    await rig.clock.advance(2_000);
    await rig.start();
    t.equal(idOf(rig, "migrate"), migrating, "what runs before the others is not run twice");
    await rig.clock.advance(4_000);
    t.strictSame(names(rig), ["web", "sidecar"]);
    t.strictSame(restartsOf(rig), [0, 0]);
  });
});
