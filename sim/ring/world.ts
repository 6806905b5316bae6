import type { Command } from "../../src/cluster/index.ts";
import { seededRandom } from "../../src/kernel/index.ts";
import { Trace } from "../raft/trace.ts";
import { Checker } from "./checker.ts";
import { whatIsWrong } from "./end.ts";
import type { Host } from "./host.ts";
import { Nemesis } from "./nemesis.ts";
import { Ring } from "./ring.ts";
import { drawSwarm } from "./swarm.ts";
import { Users } from "./users.ts";

export type RingRun = {
  readonly nodes: number;
  /** Seconds that passed in the simulated world. */
  readonly seconds: number;
  readonly entries: number;
  readonly containers: number;
  readonly faults: number;
  readonly acts: number;
  readonly runs: number;
  /** How long it took after healing until all was as it should be. */
  readonly healedMs: number;
};

/** A job may have several goes, each with a pause before it. */
const startMs = 240_000;
/**
 * A failed node is given up after some 15 s, a container that failed often rests for up to a
 * minute, and so does a place whose tasks failed.
 */
const healMs = 240_000;
/** After so long without a disturbance updates are looked at most closely. */
const calmMs = 22_000;
/** What has become right stays so. */
const quietMs = 5_000;
const passingMs = 2_000;
/** A task that ends leaves room for what waited for it; how often that follows is bounded. */
const maxRelapses = 3;

/**
 * One run: machines form a cluster, users want things, things go wrong, the world heals, and
 * all must be as users wanted it. Whatever happens follows from the seed.
 * @throws whatever promise was broken.
 */
export async function runRingWorld({
  seed,
  print,
}: {
  readonly seed: number;
  readonly print?: (line: string) => void;
}): Promise<RingRun> {
  const random = seededRandom(seed);
  const swarm = drawSwarm(random);
  const story: { ring?: Ring; checker?: Checker } = {};
  const now = () => story.ring?.queue.now ?? 0;
  const trace = new Trace({ now, ...(print === undefined ? {} : { print }) });
  const note = (text: () => string) => trace.line(text);
  note(() => `seed ${seed}: ${JSON.stringify(swarm)}`);
  const ring = new Ring({
    swarm,
    random,
    note,
    onDaemon: (host, daemon) => story.checker?.watch(host, daemon),
    onAsk: (_, command) => story.checker?.intents.asked(command),
    onAnswer: ({ id }, command, { kind }) => {
      if (kind === "queued") story.checker?.intents.queued(id, command);
    },
  });
  story.ring = ring;
  const checker = new Checker(ring);
  story.checker = checker;
  const users = new Users({
    ring,
    swarm,
    random,
    onCancelled: (intent) => checker.intents.cancelled(intent),
  });
  const nemesis = new Nemesis({ ring, checker, swarm, random, note });

  // Minutes begin at different times, so that schedules are due in most runs.
  await ring.passUntil(Math.round(random.next() * 60_000));
  await begin(ring, users);
  nemesis.begin();
  users.begin();
  await ring.passUntil(ring.queue.now + swarm.faultsMs);
  nemesis.end();
  users.end();
  const healedMs = await agree(ring, users);
  note(() => `all is as it should be, ${healedMs} ms after healing`);
  await stayRight(ring, checker);
  return {
    nodes: ring.hosts.length,
    seconds: Math.round(ring.queue.now / 1_000),
    entries: ring.agreed.index,
    containers: checker.started,
    faults: nemesis.happened,
    acts: users.acted,
    runs: checker.agreed.jobs.runs,
    healedMs,
  };
}

/** The first node makes a cluster, lets the others in, and gets its first services. */
async function begin(ring: Ring, users: Users): Promise<void> {
  const [first, ...others] = ring.hosts;
  if (first === undefined) return;
  first.start({ isFirst: true, seeds: [] });
  await submitted(ring, first, { kind: "bootstrap", clusterId: "sim", node: nodeOf(first) });
  const token = {
    id: "t",
    role: "node",
    secretHash: "0".repeat(64),
    expiresAtMs: Number.MAX_SAFE_INTEGER,
    createdAtMs: 0,
  } as const;
  await submitted(ring, first, { kind: "put_token", token });
  for (const host of others) {
    const nowMs = first.machine.clock.now();
    await submitted(ring, first, {
      kind: "admit_node",
      node: nodeOf(host),
      tokenId: token.id,
      nowMs,
    });
    host.start({ isFirst: false, seeds: [first.id] });
  }
  const specs = users.firstSpecs();
  const nowMs = first.machine.clock.now();
  await submitted(ring, first, { kind: "put_services", specs, nowMs });
  const tookMs = await ring.until(startMs, () => whatIsWrong(ring) === undefined, 500);
  if (tookMs === undefined) throw new Error(`after the start ${whatIsWrong(ring)}`);
}

function nodeOf({ id, machine }: Host) {
  const address = `${id}:7946`;
  const admittedAtMs = machine.clock.now();
  return { id, name: id, address, labels: {}, eligibility: "active", admittedAtMs } as const;
}

async function submitted(ring: Ring, host: Host, command: Command): Promise<void> {
  let isDone = false;
  const ask = () => {
    ring.submit(host, command, (outcome) => {
      isDone = outcome.kind === "accepted";
    });
    return false;
  };
  await ring.until(5_000, () => host.daemon !== undefined, 50);
  ask();
  const tookMs = await ring.until(10_000, () => isDone, 50);
  if (tookMs === undefined) throw new Error(`${command.kind} was not accepted`);
}

async function agree(ring: Ring, users: Users): Promise<number> {
  const fromMs = ring.queue.now;
  // A leader is there again soon, all have their answers, and what was kept has been done.
  await ring.until(60_000, () => {
    users.decide();
    const isSettled = ring.leader?.daemon?.raft.status.get().isSettled === true;
    return !ring.isAsked && isSettled && !ring.isKept;
  });
  if (ring.isKept) throw new Error("60 s after healing changes are still queued");
  // Little of what follows is excused by what happened before.
  await ring.passUntil(ring.queue.now + calmMs);
  for (const wish of users.lastWishes()) {
    const { leader } = ring;
    if (leader !== undefined) await submitted(ring, leader, wish);
  }
  const tookMs = await ring.until(healMs, () => whatIsWrong(ring) === undefined, 1_000);
  if (tookMs === undefined) throw new Error(`${healMs} ms after healing ${whatIsWrong(ring)}`);
  return ring.queue.now - fromMs;
}

async function stayRight(ring: Ring, checker: Checker): Promise<void> {
  let endMs = ring.queue.now + quietMs;
  let relapses = 0;
  while (ring.queue.now < endMs) {
    await ring.passUntil(ring.queue.now + 1_000);
    // An entry may be on its way.
    const tookMs = await ring.until(passingMs, () => whatIsWrong(ring) === undefined, 500);
    const wrong = tookMs === undefined ? whatIsWrong(ring) : checker.atEnd();
    if (wrong === undefined) continue;
    relapses += 1;
    if (tookMs !== undefined || relapses > maxRelapses) {
      throw new Error(`not right any more: ${wrong}`);
    }
    ring.context.note(() => `again there is work: ${wrong}`);
    const againMs = await ring.until(healMs, () => whatIsWrong(ring) === undefined, 1_000);
    if (againMs === undefined) throw new Error(`${healMs} ms later ${whatIsWrong(ring)}`);
    endMs = ring.queue.now + quietMs;
  }
}
