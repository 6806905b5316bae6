import { seededRandom } from "../../src/kernel/index.ts";
import { Trace } from "../raft/trace.ts";
import { Checker, failedWithinMs } from "./checker.ts";
import { GossipCluster } from "./cluster.ts";
import { Nemesis } from "./nemesis.ts";
import { drawSwarm, type Swarm } from "./swarm.ts";

export type GossipRun = {
  readonly nodes: number;
  /** Seconds that passed in the simulated world. */
  readonly seconds: number;
  readonly requests: number;
  /** On streams. */
  readonly frames: number;
  readonly publications: number;
  readonly changes: number;
  readonly happened: number;
  /** How long it took after healing until all views were equal. */
  readonly healedMs: number;
};

/** Views that have become equal stay so. */
const quietMs = 5_000;
const settleMs = 15_000;

/**
 * One run: some nodes find each other, things go wrong, the world heals, and everybody must
 * believe the same, and the truth. Whatever happens follows from the seed.
 * @throws whatever promise was broken.
 */
export async function runGossipWorld({
  seed,
  print,
}: {
  readonly seed: number;
  readonly print?: (line: string) => void;
}): Promise<GossipRun> {
  const random = seededRandom(seed);
  const swarm = drawSwarm(random);
  const story: { cluster?: GossipCluster } = {};
  const trace = new Trace({
    now: () => story.cluster?.queue.now ?? 0,
    ...(print === undefined ? {} : { print }),
  });
  const note = (text: () => string) => trace.line(text);
  note(() => `seed ${seed}: ${JSON.stringify(swarm)}`);
  const watch: { checker?: Checker } = {};
  const cluster = new GossipCluster({
    ...swarm,
    random,
    note,
    onStart: (node, gossip) => watch.checker?.watch(node, gossip),
  });
  story.cluster = cluster;
  const checker = new Checker(cluster, { swarm, note });
  watch.checker = checker;
  const nemesis = new Nemesis({ cluster, checker, swarm, random, note });

  const nodes = Array.from({ length: swarm.nodes }, (_, at) => cluster.admit(`n${at}`));
  for (const node of nodes) cluster.queue.after(random.next() * 500, () => cluster.start(node));
  await cluster.passUntil(500);
  await agree(cluster, checker, {
    within: settleMs + boundMs(swarm),
    what: "after the start",
  });
  nemesis.begin();
  await cluster.passUntil(cluster.queue.now + swarm.faultsMs);
  nemesis.end();
  // What was asked in the storm is answered, or not, and may still lead to a suspicion.
  await cluster.passUntil(cluster.queue.now + inFlightMs(swarm));
  const within = boundMs(swarm);
  const healedMs = await agree(cluster, checker, { within, what: "after healing" });
  note(() => `all views are equal, ${healedMs} ms after healing`);
  await stayEqual(cluster, checker);
  const { requests, frames, publications } = cluster.network.sent;
  return {
    nodes: cluster.nodes.size,
    seconds: Math.round(cluster.queue.now / 1_000),
    requests,
    frames,
    publications,
    changes: checker.changes,
    happened: nemesis.happened,
    healedMs,
  };
}

/**
 * Redialling takes up to 15 s, then the last ones are given up. What a lost message failed to
 * bring spreads by exchanges with random members: to twice as many in each round.
 */
function boundMs(swarm: Swarm): number {
  const rounds = 3 + 2 * Math.ceil(Math.log2(swarm.nodes));
  return 15_000 + 2 * failedWithinMs(swarm) + rounds * 1.25 * swarm.timing.syncIntervalMs;
}

function inFlightMs({ timing }: Swarm): number {
  const { silenceMs, pingIntervalMs, pingTimeoutMs, indirectTimeoutMs } = timing;
  return silenceMs + 2 * pingIntervalMs + pingTimeoutMs + indirectTimeoutMs;
}

async function agree(
  cluster: GossipCluster,
  checker: Checker,
  { within, what }: { readonly within: number; readonly what: string },
): Promise<number> {
  const tookMs = await cluster.until(within, () => checker.difference() === undefined);
  if (tookMs !== undefined) return tookMs;
  throw new Error(`views differ ${within} ms ${what}: ${checker.difference()}`);
}

async function stayEqual(cluster: GossipCluster, checker: Checker): Promise<void> {
  for (let passedMs = 0; passedMs < quietMs; passedMs += 500) {
    await cluster.passUntil(cluster.queue.now + 500);
    const difference = checker.difference();
    if (difference !== undefined) throw new Error(`views differ again: ${difference}`);
  }
}
