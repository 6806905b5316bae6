import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { UnableToRun } from "./errors.ts";
import { type LogCluster, totalCpuSeconds } from "./raft-members.ts";
import { type Case, toCase } from "./report.ts";
import { measureLoad } from "./wrk.ts";

/** What the parts of the benchmark work with. */
export type RaftRig = {
  readonly ours: LogCluster;
  readonly peer: LogCluster;
  readonly wrk: string;
  /** On the disk that is measured. */
  readonly directory: string;
  readonly rounds: number;
  readonly seconds: number;
  readonly signal: AbortSignal;
  readonly say: (line: string) => void;
};

type Sample = {
  readonly requests: number;
  readonly perSecond: number;
  readonly perCpuSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
};

type Load = {
  readonly name: string;
  readonly kind: "put" | "range";
  readonly at: "leader" | "follower";
  readonly connections: number;
};

const one = 1;
/** Clients at a time, of the loads that ask for rates. */
const many = 64;

const putLoads: readonly Load[] = [
  { name: "puts, one client", kind: "put", at: "leader", connections: one },
  { name: `puts, ${many} clients`, kind: "put", at: "leader", connections: many },
];

const readLoads: readonly Load[] = (["leader", "follower"] as const).flatMap((at) => [
  { name: `reads, one client, ${at}`, kind: "range", at, connections: one },
  { name: `reads, ${many} clients, ${at}`, kind: "range", at, connections: many },
]);

/** Not behind etcd. */
const bar = 1;
/**
 * With many clients, also before one is measured: what a compiler does after some thousand
 * calls is done in the first minutes of a member's life, and not what is measured here.
 */
const warmUpSeconds = 6;
/** Written in turn by the loads of puts; reads ask for the first of them. */
const putKeys = 10_000;
const readKeys = 500;

/** 200 octets of value. Digits and letters in groups of four are base64. */
function scriptOf(kind: Load["kind"], { first, keys }: KeyRange): string {
  const body =
    kind === "put"
      ? `string.format('{"key":"%012d","value":"%s"}', key, value)`
      : `string.format('{"key":"%012d"}', key)`;
  return `
local count = 0
local value = string.rep("eHh4", 66) .. "eHg="
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
request = function()
  local key = ${first} + count % ${keys}
  count = count + 1
  return wrk.format(nil, nil, nil, ${body})
end
`;
}

export type KeyRange = { readonly first: number; readonly keys: number };

export async function measurePuts(rig: RaftRig): Promise<readonly Case[]> {
  return await measureLoads(rig, putLoads);
}

/** Every read sees all that was acknowledged before it, at whichever member it is made. */
export async function measureReads(rig: RaftRig): Promise<readonly Case[]> {
  const fill: Load = { name: "fill", kind: "put", at: "leader", connections: many };
  for (const cluster of [rig.peer, rig.ours]) {
    const { requests } = await measure(rig, cluster, { load: fill, seconds: 1 });
    if (requests < readKeys) throw new UnableToRun(`${cluster.name} took only ${requests} puts.`);
  }
  return await measureLoads(rig, readLoads);
}

/** Puts until so many keys are written, each by an entry of its own. */
export async function fillKeys(rig: RaftRig, cluster: LogCluster, keys: number): Promise<void> {
  const load: Load = { name: "fill", kind: "put", at: "leader", connections: fillConnections };
  for (let first = 0; first < keys; ) {
    const range = { first, keys };
    const { requests } = await measure(rig, cluster, { load, seconds: fillSeconds, range });
    first += requests;
    rig.say(`${cluster.name}: ${Math.min(first, keys)} keys of ${keys}`);
  }
}

/** Not measured: only to be done soon. */
const fillConnections = 256;
const fillSeconds = 4;

async function measureLoads(rig: RaftRig, loads: readonly Load[]): Promise<readonly Case[]> {
  const { ours, peer, rounds, seconds } = rig;
  const cases: Case[] = [];
  for (const load of loads) {
    const warmUp = { ...load, connections: many };
    await measure(rig, peer, { load: warmUp, seconds: warmUpSeconds });
    await measure(rig, ours, { load: warmUp, seconds: warmUpSeconds });
    const samples: { ours: Sample[]; peer: Sample[] } = { ours: [], peer: [] };
    for (let round = 1; round <= rounds; round += 1) {
      const theirs = await measure(rig, peer, { load, seconds });
      const own = await measure(rig, ours, { load, seconds });
      samples.peer.push(theirs);
      samples.ours.push(own);
      const shown = `etcd ${Math.round(theirs.perSecond)}/s, ours ${Math.round(own.perSecond)}/s`;
      rig.say(`${load.name}, round ${round}: ${shown}`);
    }
    cases.push(...casesOf(load, samples));
  }
  return cases;
}

async function measure(
  { wrk, directory, signal }: RaftRig,
  cluster: LogCluster,
  {
    load: { kind, at, connections },
    seconds,
    range = { first: 0, keys: kind === "put" ? putKeys : readKeys },
  }: { readonly load: Load; readonly seconds: number; readonly range?: KeyRange },
): Promise<Sample> {
  const { member: leader, revision } = await cluster.leader();
  const target = cluster.members.find((member) => (member === leader) === (at === "leader"));
  if (target === undefined) throw new UnableToRun(`${cluster.name} has no ${at}.`);
  const script = join(directory, `${kind}.lua`);
  await writeFile(script, scriptOf(kind, range));
  const cpuBefore = totalCpuSeconds(cluster);
  const url = `${target.url}/v3/kv/${kind}`;
  const load = await measureLoad({ wrk, url, connections, seconds, script, signal });
  const cpu = totalCpuSeconds(cluster) - cpuBefore;
  if (kind === "put") {
    const applied = (await cluster.leader()).revision - revision;
    if (applied < load.requests) {
      const text = `${cluster.name} acknowledged ${load.requests} puts and has applied ${applied}.`;
      throw new UnableToRun(text);
    }
  }
  const { requests, perSecond, p50Ms, p99Ms } = load;
  return { requests, perSecond, perCpuSecond: requests / cpu, p50Ms, p99Ms };
}

/** With one client the latency is what counts, with many the rate; the rest informs. */
function casesOf(
  { name, connections }: Load,
  samples: { readonly ours: readonly Sample[]; readonly peer: readonly Sample[] },
): readonly Case[] {
  const measured = (pick: (sample: Sample) => number) => ({
    ours: samples.ours.map(pick),
    peer: samples.peer.map(pick),
    peerName: "etcd",
  });
  const rate = { unit: "/s", better: "more" as const };
  const time = { unit: "ms", better: "less" as const };
  const isOne = connections === one;
  return [
    toCase({
      name: `${name}: rate`,
      ...rate,
      bar: isOne ? null : bar,
      ...measured(({ perSecond }) => perSecond),
    }),
    toCase({
      name: `${name}: per CPU second`,
      ...rate,
      bar: null,
      ...measured(({ perCpuSecond }) => perCpuSecond),
    }),
    toCase({
      name: `${name}: p50`,
      ...time,
      bar: isOne ? bar : null,
      ...measured(({ p50Ms }) => p50Ms),
    }),
    toCase({ name: `${name}: p99`, ...time, bar: null, ...measured(({ p99Ms }) => p99Ms) }),
  ];
}
