import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Agents } from "./gossip-agents.ts";
import { startOurAgents } from "./gossip-ours.ts";
import { startSerfAgents } from "./gossip-serf.ts";
import { cpuSeconds, findPrograms } from "./processes.ts";
import {
  type Bench,
  type BenchOptions,
  type Case,
  describeLoad,
  median,
  toCase,
} from "./report.ts";

type Load = {
  readonly name: string;
  readonly count: number;
  /** Of our nodes; a hundred Node processes would measure the machine. */
  readonly perProcess: number;
  readonly quietSeconds: number;
};

const loads: readonly Load[] = [
  { name: "3", count: 3, perProcess: 1, quietSeconds: 0 },
  { name: "10", count: 10, perProcess: 1, quietSeconds: 60 },
  { name: "30", count: 30, perProcess: 1, quietSeconds: 60 },
  { name: "100", count: 100, perProcess: 10, quietSeconds: 0 },
];

/** How many times faster than serf news must be with the last node. */
const spreadBar = 5;
/** And a node whose process was killed known as failed by all others. */
const killBar = 2;
/** A frozen one is silent for both, and found no later. */
const freezeBar = 1;
/** Of a core, for a node in a cluster of ten that does nothing else. */
const idlePercent = 1;
const agreeMs = 240_000;
const failMs = 60_000;
const newsMs = 20_000;
const eventsInRound = 8;
const eventGapMs = 250;
const freezeMs = 1_500;
/** Kills and freezes take ten seconds each, and vary little. */
const maxFailureRounds = 3;
const settleMs = 5_000;

/**
 * Our network and gossip next to serf: the same number of processes of each on this machine, with
 * the profile of each for a LAN, both encrypted. Ours run what the daemon runs for it: identity,
 * certificates, libp2p, gossip; no log, no containers, no proxy.
 */
export const gossipBench: Bench = {
  name: "gossip",
  summary: "3, 10, 30 and 100 nodes of our gossip next to as many agents of serf",
  loads: loads.map(({ name }) => name),
  defaults: { rounds: 3, seconds: 60 },
  run: runGossipBench,
};

async function runGossipBench(options: BenchOptions): Promise<readonly Case[]> {
  const serf = findPrograms([{ program: "serf", package: "serf" }]).get("serf") ?? "serf";
  const cases: Case[] = [];
  for (const load of loads.filter(({ name }) => options.loads.includes(name))) {
    cases.push(...(await runLoad(load, { serf, options })));
  }
  return cases;
}

type Pair = { readonly ours: Agents; readonly peer: Agents };

async function runLoad(
  load: Load,
  { serf, options }: { readonly serf: string; readonly options: BenchOptions },
): Promise<readonly Case[]> {
  const { say, signal } = options;
  const { count, perProcess } = load;
  await using started = new AsyncDisposableStack();
  const directory = await mkdtemp(join(tmpdir(), "skein-bench-"));
  started.defer(() => rm(directory, { recursive: true, force: true }));
  say(`${count} nodes: ${describeLoad()}`);
  const peerFrom = performance.now();
  const peer = started.use(await startSerfAgents({ serf, count }));
  const peerMs = (await allAlive(peer, signal)) - peerFrom;
  const from = performance.now();
  const ours = started.use(await startOurAgents({ count, perProcess, directory }));
  const oursMs = (await allAlive(ours, signal)) - from;
  say(`${count} nodes agree: ours after ${oursMs.toFixed(0)} ms, serf ${peerMs.toFixed(0)} ms`);
  const agreed = toCase({
    name: `${count} nodes: from start to agreement`,
    unit: "ms",
    better: "less",
    bar: null,
    ours: [oursMs],
    peer: [peerMs],
    peerName: "serf",
  });
  await sleep(settleMs, undefined, { signal });
  const pair = { ours, peer };
  const cases = [agreed, await measureSpread(pair, load, options)];
  if (perProcess > 1) return cases;
  if (load.quietSeconds > 0) cases.push(...(await measureQuiet(pair, load, options)));
  cases.push(await measureThirdFrozen(pair, load, options));
  cases.push(await measureFailure(pair, load, { options, by: "SIGKILL" }));
  cases.push(await measureFailure(pair, load, { options, by: "SIGSTOP" }));
  return cases;
}

async function allAlive(agents: Agents, signal: AbortSignal): Promise<number> {
  const { names, beliefs } = agents;
  return await beliefs.whenAll(names, { of: names, status: "alive", withinMs: agreeMs, signal });
}

async function measureSpread(pair: Pair, { count }: Load, options: BenchOptions): Promise<Case> {
  const samples: { ours: number[]; peer: number[] } = { ours: [], peer: [] };
  for (let round = 0; round < options.rounds; round += 1) {
    samples.peer.push(await spreadMs(pair.peer, round, options.signal));
    samples.ours.push(await spreadMs(pair.ours, round, options.signal));
  }
  options.say(
    `${count} nodes: news is everywhere after ${shown(samples.ours)} ms, serf ${shown(samples.peer)}`,
  );
  return toCase({
    name: `${count} nodes: news to all`,
    unit: "ms",
    better: "less",
    bar: count <= 30 ? spreadBar : null,
    ...samples,
    peerName: "serf",
  });
}

async function spreadMs(agents: Agents, round: number, signal: AbortSignal): Promise<number> {
  const { names, beliefs } = agents;
  const times: number[] = [];
  for (let event = 0; event < eventsInRound; event += 1) {
    const from = names[(round * eventsInRound + event) % names.length] ?? "";
    const key = `event-${round}-${event}`;
    const others = names.filter((name) => name !== from);
    const sentMs = performance.now();
    agents.tell(from, key);
    times.push((await beliefs.whenHeard(others, { key, withinMs: newsMs, signal })) - sentMs);
    await sleep(eventGapMs, undefined, { signal });
  }
  return median(times);
}

async function measureQuiet(
  pair: Pair,
  { count, quietSeconds }: Load,
  { signal, say }: BenchOptions,
): Promise<readonly Case[]> {
  const before = { ours: usage(pair.ours), peer: usage(pair.peer) };
  await sleep(quietSeconds * 1_000, undefined, { signal });
  const percent = (kind: "ours" | "peer") =>
    ((usage(pair[kind]).cpu - before[kind].cpu) / quietSeconds / count) * 100;
  const [ours, peer] = [percent("ours"), percent("peer")];
  say(`${count} nodes: idle, ${ours.toFixed(2)} % of a core a node, serf ${peer.toFixed(2)} %`);
  const idle = { unit: "% of a core", better: "less" } as const;
  const limit = { peer: [idlePercent], peerName: "the limit", bar: count === 10 ? 1 : null };
  return [
    toCase({ name: `${count} nodes: idle, a node`, ...idle, ours: [ours], ...limit }),
    toCase({
      name: `${count} nodes: idle, next to serf`,
      ...idle,
      ours: [ours],
      peer: [peer],
      peerName: "serf",
      bar: null,
    }),
    noFailures(`${count} nodes: called failed in ${quietSeconds} quiet s`, {
      ours: usage(pair.ours).failures - before.ours.failures,
      peer: usage(pair.peer).failures - before.peer.failures,
    }),
  ];
}

async function measureThirdFrozen(
  pair: Pair,
  { count }: Load,
  { signal, say }: BenchOptions,
): Promise<Case> {
  const failures = { ours: 0, peer: 0 };
  for (const kind of ["ours", "peer"] as const) {
    const agents = pair[kind];
    const before = agents.beliefs.failures;
    const pids = agents.names.slice(0, Math.floor(count / 3)).map((name) => agents.pidOf(name));
    for (const pid of pids) process.kill(pid, "SIGSTOP");
    await sleep(freezeMs);
    for (const pid of pids) process.kill(pid, "SIGCONT");
    await sleep(2 * settleMs, undefined, { signal });
    failures[kind] = agents.beliefs.failures - before;
  }
  say(`${count} nodes: a third frozen for ${freezeMs} ms, called failed: ${failures.ours}`);
  return noFailures(`${count} nodes: called failed, a third frozen ${freezeMs} ms`, failures);
}

async function measureFailure(
  pair: Pair,
  { count }: Load,
  { options, by }: { readonly options: BenchOptions; readonly by: "SIGKILL" | "SIGSTOP" },
): Promise<Case> {
  const samples: { ours: number[]; peer: number[] } = { ours: [], peer: [] };
  for (let round = 0; round < Math.min(options.rounds, maxFailureRounds); round += 1) {
    samples.peer.push(await failureMs(pair.peer, { round, by, signal: options.signal }));
    samples.ours.push(await failureMs(pair.ours, { round, by, signal: options.signal }));
  }
  const what = by === "SIGKILL" ? "killed" : "frozen";
  options.say(
    `${count} nodes: ${what}, failed for all after ${shown(samples.ours)} ms, serf ${shown(samples.peer)}`,
  );
  return toCase({
    name: `${count} nodes: ${what}, to failed for all`,
    unit: "ms",
    better: "less",
    bar: by === "SIGKILL" ? killBar : freezeBar,
    ...samples,
    peerName: "serf",
  });
}

async function failureMs(
  agents: Agents,
  how: { readonly round: number; readonly by: "SIGKILL" | "SIGSTOP"; readonly signal: AbortSignal },
): Promise<number> {
  const { names, beliefs } = agents;
  const { round, by, signal } = how;
  const victim = names[names.length - 1 - (round % names.length)] ?? "";
  const others = names.filter((name) => name !== victim);
  const pid = agents.pidOf(victim);
  const sinceMs = performance.now();
  process.kill(pid, by);
  const wanted = { of: [victim], withinMs: failMs, signal };
  try {
    const atMs = await beliefs.whenAll(others, { ...wanted, status: "failed" });
    return atMs - sinceMs;
  } finally {
    if (by === "SIGSTOP") process.kill(pid, "SIGCONT");
    else await agents.start(victim);
    await beliefs.whenAll(others, { ...wanted, status: "alive" });
    await allAlive(agents, signal);
    await sleep(settleMs);
  }
}

function usage(agents: Agents): { readonly cpu: number; readonly failures: number } {
  const cpu = agents.pids().reduce((sum, pid) => sum + cpuSeconds(pid), 0);
  return { cpu, failures: agents.beliefs.failures };
}

/** Nobody may be called failed who is not: here a ratio has no meaning. */
function noFailures(name: string, { ours, peer }: { ours: number; peer: number }): Case {
  const holds = ours === 0;
  return {
    case: name,
    unit: "times",
    ours,
    peer,
    peerName: "serf",
    ratio: holds ? 1 : 0,
    spread: holds ? [1, 1] : [0, 0],
    bar: 1,
    holds,
    samples: { ours: [ours], peer: [peer] },
  };
}

function shown(values: readonly number[]): string {
  return values.map((value) => value.toFixed(0)).join(", ");
}
