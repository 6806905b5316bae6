import t from "tap";
import { nodeId, randomBelow, seededRandom, serviceKey } from "../../src/kernel/index.ts";
import { parseManifest, type ServiceSpec } from "../../src/spec/index.ts";
import { template } from "../builders.ts";
import { World, web } from "./world.ts";

const GiB = 2 ** 30;

function replicas(count: number): ServiceSpec["mode"] {
  return { kind: "replicated", replicas: count };
}

function reserving(cpuMillis: number, memoryBytes = 1) {
  return template({ reservations: { cpuMillis, memoryBytes } });
}

function placementOf(text: string): ServiceSpec["placement"] {
  const parsed = parseManifest({ files: [{ name: "c.yaml", text }], environment: {} });
  if (parsed.kind === "invalid") throw new Error(JSON.stringify(parsed.problems));
  return parsed.manifest.services[0]?.placement ?? { constraints: [] };
}

function pendingText(world: World, key = web): string {
  return (world.lastPlan.explanations.get(key) ?? []).map(({ message }) => message).join("\n");
}

t.test("[C1] with one CPU free on each node 1.5 CPUs wait and 0.9 are placed", async (t) => {
  const world = new World(["n1", "n2"], { capacity: { cpuMillis: 1_000, memoryBytes: GiB } });
  world.put({ name: "large", mode: replicas(1), template: reserving(1_500) });
  world.put({ mode: replicas(1), template: reserving(900) });
  world.run(2_000);
  t.equal(world.running(serviceKey("shop", "large")).length, 0);
  t.equal(world.serving().length, 1);
});

t.test("where the engine does not answer nothing is placed until it does again", (t) => {
  const world = new World(["n1", "n2"]);
  world.put({ mode: replicas(1) });
  world.silenceEngine("n1");
  world.run(2_000);
  t.strictSame(world.perNode(), { n2: 1 });
  world.silenceEngine("n2");
  world.put({ mode: replicas(2) });
  world.run(2_000);
  t.match(pendingText(world), /n1: its container engine does not answer/);
  world.silenceEngine("n1", false);
  world.run(2_000);
  t.strictSame(world.perNode(), { n1: 1, n2: 1 });
  t.end();
});

t.test("[C2] six equal tasks on three equal nodes are two on each", async (t) => {
  const world = new World(["n1", "n2", "n3"]);
  world.put({ mode: replicas(6) });
  world.run(2_000);
  t.strictSame(world.perNode(), { n1: 2, n2: 2, n3: 2 });
});

t.test("[C2] a node that is half full gets fewer of a service that has nothing yet", async (t) => {
  const world = new World(["n1", "n2", "n3"]);
  const onFirst = { constraints: [{ key: "node.id", operator: "==" as const, value: "n1" }] };
  world.put({ name: "busy", mode: replicas(4), placement: onFirst });
  world.put({ mode: replicas(4) });
  world.run(2_000);
  t.strictSame(world.perNode(), { n1: 1, n2: 2, n3: 1 });
});

t.test("[C3] pack fills the fewest nodes and begins another only when one is full", async (t) => {
  const world = new World(["n1", "n2", "n3"], {
    capacity: { cpuMillis: 1_000, memoryBytes: GiB },
  });
  const packed = { constraints: [], strategy: "pack" as const };
  world.put({ mode: replicas(5), template: reserving(250), placement: packed });
  world.run(2_000);
  t.strictSame(world.perNode(), { n1: 4, n2: 1 });
});

for (const strategy of ["pack", undefined] as const) {
  t.test(`[C3] ${strategy ?? "spread"} never gives a node more than it has`, async (t) => {
    const random = seededRandom(11);
    for (let round = 0; round < 40; round += 1) {
      const nodes = Array.from({ length: 1 + randomBelow(random, 6) }, (_, i) => `n${i}`);
      const world = new World(nodes);
      const sizes = new Map(nodes.map((name) => [name, 500 + randomBelow(random, 4_000)]));
      for (const [name, cpuMillis] of sizes) {
        world.setCapacity(name, { cpuMillis, memoryBytes: GiB });
      }
      const needs = new Map<string, number>();
      for (let i = 0; i < 8; i += 1) {
        const cpuMillis = 50 + randomBelow(random, 1_500);
        needs.set(`shop/s${i}`, cpuMillis);
        world.put({
          name: `s${i}`,
          mode: replicas(1 + randomBelow(random, 5)),
          template: reserving(cpuMillis),
          placement: { constraints: [], ...(strategy === undefined ? {} : { strategy }) },
        });
      }
      world.run(1_500);
      for (const [name, cpuMillis] of sizes) {
        let used = 0;
        for (const task of world.state.tasks.values()) {
          if (task.nodeId === nodeId(name)) used += needs.get(task.service) ?? 0;
        }
        if (used > cpuMillis) t.fail(`${name} has ${cpuMillis}, ${used} are reserved`);
      }
    }
  });
}

t.test("[C4] what waits is placed once there is room, whatever made the room", async (t) => {
  const makers: readonly { readonly name: string; readonly make: (world: World) => void }[] = [
    { name: "another service was removed", make: (world) => removeBlocker(world) },
    { name: "another service was scaled down", make: (world) => scaleBlocker(world) },
    { name: "a node joined", make: (world) => world.join("n2") },
    {
      name: "the machine was given more",
      make: (world) => world.setCapacity("n1", { cpuMillis: 9_000, memoryBytes: GiB }),
    },
    {
      name: "it asks for less",
      make: (world) => world.put({ mode: replicas(1), template: reserving(10) }),
    },
  ];
  for (const { name, make } of makers) {
    t.test(name, async (t) => {
      const world = new World(["n1"]);
      world.put({ name: "blocker", mode: replicas(1), template: reserving(3_900) });
      world.run(2_000);
      world.put({ mode: replicas(1), template: reserving(1_000) });
      world.run(2_000);
      t.match(pendingText(world), "n1: 1 CPUs needed, 0.1 of 4 free");
      make(world);
      world.run(4_000);
      t.equal(world.serving().length, 1);
      t.equal(pendingText(world), "");
    });
  }
});

function removeBlocker(world: World): void {
  world.submit({ kind: "remove_services", services: [serviceKey("shop", "blocker")] });
}

function scaleBlocker(world: World): void {
  const service = serviceKey("shop", "blocker");
  world.submit({ kind: "scale_service", service, replicas: 0, nowMs: world.now });
}

t.test(
  "[C6] a platform keeps tasks from nodes of another one, and says which that is",
  async (t) => {
    const world = new World(["n1"]);
    world.setPlatform("n1", { os: "linux", arch: "arm64" });
    const placement = placementOf("services: {web: {image: web, platform: linux/amd64}}");
    world.put({ mode: replicas(2), placement });
    world.plan();
    t.match(
      pendingText(world),
      "n1: constraint node.platform.arch == amd64 is not met (it is arm64)",
    );
    world.join("n2");
    world.run(2_000);
    t.strictSame(world.perNode(), { n2: 2 });
  },
);

t.test("[F2] a static host port that is taken everywhere is named with its holders", async (t) => {
  const world = new World(["n1", "n2"]);
  const port = { target: 80, published: 8888, protocol: "tcp", mode: "host", appProtocol: "auto" };
  world.put({ mode: replicas(3), template: template({ hostPorts: [port as never] }) });
  world.run(2_000);
  t.strictSame(world.perNode(), { n1: 1, n2: 1 });
  t.equal(
    pendingText(world),
    "shop/web.3 is pending: n1: host port 8888/tcp is in use by shop/web.1; n2: host port 8888/tcp is in use by shop/web.2.",
  );
});

t.test("preferences spread over the values of a label before they spread over nodes", async (t) => {
  const zones = { a1: "a", a2: "a", a3: "a", b1: "b", c1: undefined };
  const world = new World([]);
  for (const [name, zone] of Object.entries(zones)) {
    world.join(name, zone === undefined ? {} : { zone });
  }
  const text =
    "services: {web: {image: web, deploy: {placement: {preferences: [{spread: node.labels.zone}]}}}}";
  world.put({ mode: replicas(6), placement: placementOf(text) });
  world.run(2_000);
  const { a1 = 0, a2 = 0, a3 = 0, b1, c1 } = world.perNode();
  t.strictSame({ a: a1 + a2 + a3, b1, c1 }, { a: 2, b1: 2, c1: 2 });
  t.ok(Math.max(a1, a2, a3) === 1, "within a value over the nodes");
});

t.test("a constraint that holds no longer moves the task", async (t) => {
  const world = new World([]);
  world.join("n1", { disk: "ssd" });
  world.join("n2", { disk: "ssd" });
  const constraint = { key: "node.labels.disk", operator: "==" as const, value: "ssd" };
  world.put({ mode: replicas(2), placement: { constraints: [constraint] } });
  world.run(2_000);
  t.strictSame(world.perNode(), { n1: 1, n2: 1 });
  world.join("n1", { disk: "hdd" });
  world.run(5_000);
  t.strictSame(world.perNode(), { n2: 2 });
});

t.test("[K2] a task follows its volume", async (t) => {
  const withVolume = template({
    mounts: [{ kind: "volume", source: "shop_data", target: "/data", readOnly: false }],
  });
  const update = { order: "stop-first" as const };

  t.test("and waits for the node that has the data, saying so", async (t) => {
    const world = new World(["n1", "n2"]);
    world.put({ mode: replicas(1), template: withVolume });
    world.run(2_000);
    const [home] = Object.keys(world.perNode());
    world.setMember(home ?? "", "failed");
    world.run(20_000);
    t.strictSame(world.perNode(), { [home ?? ""]: 1 }, "it runs nowhere else");
    t.match(pendingText(world), `the data of volume shop_data is on ${home} (failed)`);
    world.setMember(home ?? "", "alive");
    world.run(2_000);
    t.equal(world.serving().length, 1);
    t.equal(pendingText(world), "");
  });

  t.test("through an update, and after it was removed and submitted again", async (t) => {
    const world = new World(["n1", "n2", "n3"]);
    world.put({ mode: replicas(1), template: withVolume });
    world.run(2_000);
    const before = world.perNode();
    const base = world.state.services.get(web)?.spec.update;
    if (base === undefined) throw new Error("no service");
    const next = { ...withVolume, image: "web:2" };
    world.put({ mode: replicas(1), template: next, update: { ...base, ...update } });
    world.run(20_000);
    t.strictSame(world.perNode(), before);
    world.submit({ kind: "remove_services", services: [web] });
    world.run(5_000);
    // The other nodes are now the emptier ones.
    world.put({ name: "filler", mode: replicas(1) });
    world.run(2_000);
    world.put({ mode: replicas(1), template: withVolume });
    world.run(2_000);
    t.strictSame(world.perNode(), before);
  });

  t.test("with others that mount it, while each replica has its own", async (t) => {
    const world = new World(["n1", "n2", "n3"]);
    world.put({ mode: replicas(3), template: withVolume });
    world.run(2_000);
    t.strictSame(world.perNode(), { n1: 1, n2: 1, n3: 1 });
    world.put({ name: "backup", mode: replicas(1), template: withVolume });
    world.run(2_000);
    const [first] = world.running();
    const [backup] = world.running(serviceKey("shop", "backup"));
    t.equal(backup?.nodeId, first?.nodeId);
  });

  t.test("and is free again when the node was removed with its data", async (t) => {
    const world = new World(["n1", "n2"]);
    world.put({ mode: replicas(1), template: withVolume });
    world.run(2_000);
    const [home = ""] = Object.keys(world.perNode());
    world.setMember(home, "failed");
    world.submit({ kind: "remove_node", nodeId: nodeId(home) });
    world.run(2_000);
    t.equal(world.serving().length, 1);
  });
});
