import { mkdtemp, rm, statfs } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { UnableToRun } from "./errors.ts";
import { findPrograms } from "./processes.ts";
import { startEtcd } from "./raft-etcd.ts";
import { measureFailover, measureRestart } from "./raft-faults.ts";
import { measurePuts, measureReads, type RaftRig } from "./raft-loads.ts";
import { startOurCluster } from "./raft-ours.ts";
import { measureStore } from "./raft-store.ts";
import { type Bench, type BenchOptions, type Case, describeLoad } from "./report.ts";

const needed = [
  { program: "etcd", package: "etcd-server" },
  { program: "wrk", package: "wrk" },
] as const;

/** Run in this order: a restart fills the logs. */
const clusterParts: Readonly<Record<string, (rig: RaftRig) => Promise<readonly Case[]>>> = {
  puts: measurePuts,
  reads: measureReads,
  failover: measureFailover,
  restart: measureRestart,
};
const storePart = "store";

/**
 * Three members of our log next to three of etcd, each a process with a durable log on the
 * same disk, over loopback, asked by the same HTTP client. And the log's store by itself, next
 * to bare durable writes.
 */
export const raftBench: Bench = {
  name: "raft",
  summary: "three members of our log next to three of etcd, durable, over HTTP; our store alone",
  loads: [storePart, ...Object.keys(clusterParts)],
  defaults: { rounds: 5, seconds: 2 },
  run: runRaftBench,
};

async function runRaftBench(options: BenchOptions): Promise<readonly Case[]> {
  const { signal, say, rounds, seconds, loads } = options;
  await using started = new AsyncDisposableStack();
  const directory = await mkdtemp(join(tmpdir(), "skein-bench-"));
  started.defer(() => rm(directory, { recursive: true, force: true }));
  await refuseMemoryDisk(directory);
  say(describeLoad());
  const cases: Case[] = [];
  if (loads.includes(storePart)) {
    cases.push(...(await measureStore({ directory, rounds, signal, say })));
  }
  const parts = Object.entries(clusterParts).filter(([name]) => loads.includes(name));
  if (parts.length === 0) return cases;
  const programs = findPrograms(needed);
  const etcd = programs.get("etcd") ?? "etcd";
  const peer = started.use(await startEtcd({ etcd, directory, signal }));
  const ours = started.use(await startOurCluster({ directory, signal }));
  const wrk = programs.get("wrk") ?? "wrk";
  for (const [, measure] of parts) {
    cases.push(...(await measure({ ours, peer, wrk, directory, rounds, seconds, signal, say })));
  }
  say(describeLoad());
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
