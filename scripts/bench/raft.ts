import { mkdtemp, rm, statfs, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { UnableToRun } from "./errors.ts";
import { cpuSeconds, findPrograms } from "./processes.ts";
import { startEtcd } from "./raft-etcd.ts";
import { type LogCluster, startOurCluster } from "./raft-ours.ts";
import { type Bench, type BenchOptions, type Case, describeLoad, toCase } from "./report.ts";
import { measureLoad } from "./wrk.ts";

const needed = [
  { program: "etcd", package: "etcd-server" },
  { program: "wrk", package: "wrk" },
] as const;

type RaftLoad = { readonly name: string; readonly connections: number };

const loads: readonly RaftLoad[] = [
  { name: "sequential", connections: 1 },
  { name: "concurrent", connections: 64 },
];

/**
 * Of acknowledged puts a second: not behind etcd, less the 30 % by which two runs on one
 * machine were seen to differ.
 */
const putsBar = 0.7;

/**
 * Three members of our log next to three of etcd, each a process with a durable log on the
 * same disk, over loopback. Both take the same puts over HTTP, at their leader.
 */
export const raftBench: Bench = {
  name: "raft",
  summary: "three members of our log next to three of etcd, durable puts over HTTP",
  loads: loads.map(({ name }) => name),
  run: runRaftBench,
};

/** 10,000 keys in turn, 201 octets of value. Digits and letters in groups of four are base64. */
const putScript = `
local count = 0
local value = string.rep("eHh4", 67)
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
request = function()
  count = count + 1
  local body = string.format('{"key":"%012d","value":"%s"}', count % 10000, value)
  return wrk.format(nil, nil, nil, body)
end
`;

/** Long enough for compilers to have seen the code. */
const warmUpSeconds = 2;

async function runRaftBench(options: BenchOptions): Promise<readonly Case[]> {
  const programs = findPrograms(needed);
  const { signal, say, rounds, seconds } = options;
  await using started = new AsyncDisposableStack();
  const directory = await mkdtemp(join(tmpdir(), "skein-bench-"));
  started.defer(() => rm(directory, { recursive: true, force: true }));
  await refuseMemoryDisk(directory);
  const script = join(directory, "put.lua");
  await writeFile(script, putScript);
  const peer = started.use(
    await startEtcd({ etcd: programs.get("etcd") ?? "etcd", directory, signal }),
  );
  const ours = started.use(await startOurCluster({ directory, signal }));
  const wrk = programs.get("wrk") ?? "wrk";

  say(`${describeLoad()}; ${rounds} rounds of ${seconds} s`);
  const cases: Case[] = [];
  for (const load of loads.filter(({ name }) => options.loads.includes(name))) {
    const measure = (cluster: LogCluster, forSeconds: number) =>
      measurePuts(cluster, load, { wrk, script, seconds: forSeconds, signal });
    await measure(peer, warmUpSeconds);
    await measure(ours, warmUpSeconds);
    const samples: { ours: PutSample[]; peer: PutSample[] } = { ours: [], peer: [] };
    for (let round = 1; round <= rounds; round += 1) {
      const theirs = await measure(peer, seconds);
      const own = await measure(ours, seconds);
      samples.peer.push(theirs);
      samples.ours.push(own);
      const shown = `etcd ${Math.round(theirs.perSecond)}/s, ours ${Math.round(own.perSecond)}/s`;
      say(`${load.name}, round ${round}: ${shown}`);
    }
    cases.push(...casesOf(load, samples));
  }
  return cases;
}

/** What `statfs` says of tmpfs. */
const tmpfsType = 0x01021994;

async function refuseMemoryDisk(directory: string): Promise<void> {
  const { type } = await statfs(directory);
  if (type !== tmpfsType) return;
  throw new UnableToRun(
    `${tmpdir()} is in memory, where a durable write costs nothing. Name a directory on a disk with TMPDIR.`,
  );
}

type PutSample = {
  readonly perSecond: number;
  readonly perCpuSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
};

async function measurePuts(
  cluster: LogCluster,
  { connections }: RaftLoad,
  how: {
    readonly wrk: string;
    readonly script: string;
    readonly seconds: number;
    readonly signal: AbortSignal;
  },
): Promise<PutSample> {
  const { url, revision } = await cluster.leader();
  const cpuBefore = totalCpuSeconds(cluster);
  const load = await measureLoad({ ...how, url: `${url}/v3/kv/put`, connections });
  const cpu = totalCpuSeconds(cluster) - cpuBefore;
  const after = await cluster.leader();
  const applied = after.revision - revision;
  if (applied < load.requests) {
    throw new UnableToRun(
      `${cluster.name} acknowledged ${load.requests} puts and has applied ${applied}.`,
    );
  }
  const { perSecond, p50Ms, p99Ms } = load;
  return { perSecond, perCpuSecond: load.requests / cpu, p50Ms, p99Ms };
}

function totalCpuSeconds({ pids }: LogCluster): number {
  return pids.reduce((sum, pid) => sum + cpuSeconds(pid), 0);
}

function casesOf(
  { name }: RaftLoad,
  samples: { readonly ours: readonly PutSample[]; readonly peer: readonly PutSample[] },
): readonly Case[] {
  const measured = (pick: (sample: PutSample) => number) => ({
    ours: samples.ours.map(pick),
    peer: samples.peer.map(pick),
    peerName: "etcd",
  });
  return [
    toCase({
      name: `${name}: puts`,
      unit: "puts/s",
      better: "more",
      bar: putsBar,
      ...measured(({ perSecond }) => perSecond),
    }),
    toCase({
      name: `${name}: puts per CPU second`,
      unit: "puts/CPU-s",
      better: "more",
      bar: null,
      ...measured(({ perCpuSecond }) => perCpuSecond),
    }),
    toCase({
      name: `${name}: p50`,
      unit: "ms",
      better: "less",
      bar: null,
      ...measured(({ p50Ms }) => p50Ms),
    }),
    toCase({
      name: `${name}: p99`,
      unit: "ms",
      better: "less",
      bar: null,
      ...measured(({ p99Ms }) => p99Ms),
    }),
  ];
}
