import t from "tap";
import { getsTraffic, rolloutOf } from "../../src/cluster/index.ts";
import { nodeId, type Random, randomBelow, seededRandom } from "../../src/kernel/index.ts";
import type { RolloutSpec, ServiceSpec } from "../../src/spec/index.ts";
import { serviceSpec, template } from "../builders.ts";
import { World, web } from "./world.ts";

/** Updates, roll-backs and misfortunes at random, with every way to roll out and to fail over. */

const names = ["n1", "n2", "n3", "n4"];
const wanted = 4;

const base: RolloutSpec = { ...serviceSpec().update, failureAction: "rollback", monitorMs: 2_000 };
const fence = { afterMs: 30_000, isFenced: true } as const;
const share = { kind: "percent", percent: 30 } as const;
const canary = { kind: "canary", share, bakeMs: 8_000 } as const;

const ways: Readonly<Record<string, Pick<ServiceSpec, "update" | "failover" | "rollback">>> = {
  "batch by batch": { update: { ...base, parallelism: 2 } },
  "stop-first": { update: { ...base, order: "stop-first" } },
  rollback_config: {
    update: base,
    rollback: { ...base, parallelism: 0, failureAction: "continue" },
  },
  "blue-green": { update: { ...base, strategy: { kind: "blue-green", keepMs: 20_000 } } },
  "blue-green, kept original": {
    update: { ...base, strategy: { kind: "blue-green", keepMs: 5_000 } },
    failover: { afterMs: 2_000, reconnect: "keep-original" },
  },
  canary: { update: { ...base, strategy: { ...canary, pauses: false } } },
  "canary that pauses": { update: { ...base, strategy: { ...canary, pauses: true } } },
  fenced: { update: { ...base, order: "stop-first" }, failover: fence },
  "kept original": { update: base, failover: { afterMs: 2_000, reconnect: "keep-original" } },
};

function disturb(world: World, random: Random, put: (image: string) => void): void {
  const name = names[1 + randomBelow(random, names.length - 1)] ?? "n2";
  const running = world.running();
  const victim = running[randomBelow(random, running.length)];
  const status = (["alive", "alive", "suspect", "failed"] as const)[randomBelow(random, 4)];
  switch (randomBelow(random, 7)) {
    case 0:
    case 1:
      world.setMember(name, status ?? "alive");
      break;
    case 2:
      if (victim !== undefined) world.fail(victim.id);
      break;
    case 3:
      world.submit({
        kind: "set_eligibility",
        nodeId: nodeId(name),
        eligibility: randomBelow(random, 3) === 0 ? "drain" : "active",
      });
      break;
    case 4:
      if (!tryTo(world, "roll_back_service")) put("web:1");
      break;
    case 5:
      world.changeLeader();
      break;
    default:
      put(`web:${1 + randomBelow(random, 4)}`);
  }
}

/** What a person may do at any time, and what may be refused. */
function tryTo(world: World, kind: "roll_back_service" | "resume" | "pause"): boolean {
  try {
    world.submit(
      kind === "roll_back_service"
        ? { kind, service: web, nowMs: world.now }
        : { kind: "steer_rollout", service: web, action: kind, nowMs: world.now },
    );
    return true;
  } catch {
    return false;
  }
}

for (const [way, how] of Object.entries(ways)) {
  t.test(`${way}: ends as it should after any misfortunes`, async (t) => {
    for (const seed of [1, 2, 3, 4]) {
      const random = seededRandom(seed);
      // One image is bad, so that some updates fail by themselves.
      const behaviourOf = (image: string) => (image === "web:4" ? "crashes" : "serves");
      const world = new World(names, { seed, behaviourOf });
      const put = (image: string) =>
        world.put({
          ...how,
          mode: { kind: "replicated", replicas: wanted },
          template: template({ image }),
        });
      put("web:1");
      world.run(10_000);
      const isMixing = rolloutOf(serviceOf(world)).strategy?.kind !== "blue-green";
      for (let round = 0; round < 25; round += 1) {
        disturb(world, random, put);
        world.run(randomBelow(random, 12_000), () => {
          const service = serviceOf(world);
          const receiving = world
            .running()
            .filter(({ revision }) => getsTraffic(service, revision));
          const images = new Set(
            receiving.map(({ revision }) => service.templates.get(revision)?.image),
          );
          if (!isMixing && images.size > 1) t.fail(`seed ${seed}: traffic to ${[...images]}`);
        });
      }
      for (const name of names) world.setMember(name, "alive");
      for (const id of world.state.nodes.keys()) {
        world.submit({ kind: "set_eligibility", nodeId: id, eligibility: "active" });
      }
      put("web:2");
      for (let again = 0; again < 4; again += 1) {
        world.run(100_000);
        tryTo(world, "resume");
      }
      const service = serviceOf(world);
      const hint = `seed ${seed}, ${service.rollout}`;
      t.equal(world.running().length, wanted, hint);
      t.equal(world.serving().length, wanted, hint);
      t.equal(new Set(world.running().map(({ slot }) => slot)).size, wanted, hint);
      t.equal(world.state.tasks.size, wanted, `${hint}: nothing is remembered for ever`);
      for (const { revision } of world.running()) {
        t.equal(service.templates.get(revision)?.image, "web:2", hint);
        t.ok(getsTraffic(service, revision), hint);
      }
    }
  });
}

function serviceOf(world: World) {
  const service = world.state.services.get(web);
  if (service === undefined) throw new Error("The service is missing.");
  return service;
}
