import { setTimeout as sleep } from "node:timers/promises";
import { UnableToRun } from "./errors.ts";
import { fillKeys, type RaftRig } from "./raft-loads.ts";
import { get, type LogCluster, put, untilDone, untilServing } from "./raft-members.ts";
import { type Case, toCase } from "./report.ts";

const failovers = 5;
const restarts = 5;
const restartKeys = 100_000;
/** Not slower than etcd. */
const bar = 1;
/** For heartbeats to have settled, and so that kills do not fall into one phase of them. */
const settleMs = 1_000;
const jitterMs = 200;

/** From `kill -9` of the leader to the next put that is acknowledged at a survivor. */
export async function measureFailover(rig: RaftRig): Promise<readonly Case[]> {
  const samples: { ours: number[]; peer: number[] } = { ours: [], peer: [] };
  for (let round = 1; round <= failovers; round += 1) {
    const theirs = await failOver(rig.peer, rig.signal);
    const own = await failOver(rig.ours, rig.signal);
    samples.peer.push(theirs);
    samples.ours.push(own);
    rig.say(`failover, round ${round}: etcd ${Math.round(theirs)} ms, ours ${Math.round(own)} ms`);
  }
  const name = "failover: leader killed to next put";
  return [toCase({ name, unit: "ms", better: "less", bar, peerName: "etcd", ...samples })];
}

async function failOver(cluster: LogCluster, signal: AbortSignal): Promise<number> {
  await untilServing(cluster, signal);
  await sleep(settleMs + Math.random() * jitterMs, undefined, { signal });
  const { member: leader } = await cluster.leader();
  const survivors = cluster.members.filter((member) => member !== leader);
  const startMs = performance.now();
  const dying = leader.kill();
  // All survivors are tried side by side: the client does not know who will lead.
  const tries = new AbortController();
  const either = AbortSignal.any([signal, tries.signal]);
  const record = { key: "failover", value: String(startMs) };
  const what = `${cluster.name} without its leader`;
  const trying = survivors.map(({ url }) =>
    untilDone((options) => put(url, record, options), { what, signal: either }),
  );
  await Promise.any(trying);
  const tookMs = performance.now() - startMs;
  tries.abort();
  await Promise.allSettled([dying, ...trying]);
  await leader.start();
  await untilServing(cluster, signal);
  return tookMs;
}

/**
 * From the start of a follower that was killed to its first linearizable read, of a key that
 * was written while it was away: it has then loaded what it holds, and caught up.
 */
export async function measureRestart(rig: RaftRig): Promise<readonly Case[]> {
  const samples: { ours: number[]; peer: number[] } = { ours: [], peer: [] };
  for (const cluster of [rig.peer, rig.ours]) await fillKeys(rig, cluster, restartKeys);
  for (let round = 1; round <= restarts; round += 1) {
    const theirs = await restart(rig.peer, rig.signal);
    const own = await restart(rig.ours, rig.signal);
    samples.peer.push(theirs);
    samples.ours.push(own);
    rig.say(`restart, round ${round}: etcd ${Math.round(theirs)} ms, ours ${Math.round(own)} ms`);
  }
  const name = `restart: follower with ${restartKeys} entries to its first read`;
  return [toCase({ name, unit: "ms", better: "less", bar, peerName: "etcd", ...samples })];
}

async function restart(cluster: LogCluster, signal: AbortSignal): Promise<number> {
  await untilServing(cluster, signal);
  await sleep(settleMs, undefined, { signal });
  const { member: leader } = await cluster.leader();
  const follower = cluster.members.find((member) => member !== leader);
  if (follower === undefined) throw new UnableToRun(`${cluster.name} has no follower.`);
  await follower.kill();
  const value = `written at ${performance.now()}`;
  await put(leader.url, { key: "away", value }, { signal });
  const startMs = performance.now();
  await follower.start();
  const read = await untilDone((options) => get(follower.url, "away", options), {
    what: `${cluster.name} after a restart`,
    signal,
  });
  const tookMs = performance.now() - startMs;
  if (read !== value) throw new UnableToRun(`${cluster.name} gave a read of the past: ${read}`);
  return tookMs;
}
