import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { UnableToRun } from "./errors.ts";
import { freePorts, startProcess } from "./processes.ts";
import type { LogCluster } from "./raft-ours.ts";

const memberCount = 3;
const settleTimeoutMs = 30_000;
const pollMs = 50;

const statusSchema = z.object({
  header: z.object({ member_id: z.string(), revision: z.string() }),
  leader: z.string().default("0"),
});

/** Three members with etcd's own defaults for time, disk and snapshots. */
export async function startEtcd({
  etcd,
  directory,
  signal,
}: {
  readonly etcd: string;
  readonly directory: string;
  readonly signal: AbortSignal;
}): Promise<LogCluster> {
  const urls = (await freePorts(2 * memberCount)).map((port) => `http://127.0.0.1:${port}`);
  const clientUrls = urls.slice(0, memberCount);
  const peerUrls = urls.slice(memberCount);
  const initial = peerUrls.map((url, place) => `m${place}=${url}`).join(",");
  await using starting = new AsyncDisposableStack();
  const pids: number[] = [];
  for (const [place, clientUrl] of clientUrls.entries()) {
    const peerUrl = peerUrls[place] ?? "";
    const data = join(directory, `etcd-${place}`);
    await mkdir(data, { mode: 0o700 });
    const command = [
      etcd,
      `--name=m${place}`,
      `--data-dir=${data}`,
      `--listen-client-urls=${clientUrl}`,
      `--advertise-client-urls=${clientUrl}`,
      `--listen-peer-urls=${peerUrl}`,
      `--initial-advertise-peer-urls=${peerUrl}`,
      `--initial-cluster=${initial}`,
      "--initial-cluster-token=skein-bench",
      "--logger=zap",
      "--log-level=error",
    ];
    const logPath = `${data}.log`;
    // Not waited for one by one: a member listens when there is a majority.
    const running = starting.use(await startProcess({ command, logPath, signal }));
    pids.push(running.pid);
  }
  await untilLed(clientUrls, signal);
  const running = starting.move();
  return {
    name: "etcd",
    pids,
    leader: () => findLeader(clientUrls, signal),
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

async function untilLed(urls: readonly string[], signal: AbortSignal): Promise<void> {
  const deadline = performance.now() + settleTimeoutMs;
  for (;;) {
    try {
      await findLeader(urls, signal);
      return;
    } catch (error) {
      signal.throwIfAborted();
      if (performance.now() > deadline) {
        throw new UnableToRun(`etcd has no leader after ${settleTimeoutMs} ms: ${String(error)}`);
      }
    }
    await sleep(pollMs, undefined, { signal });
  }
}

async function findLeader(urls: readonly string[], signal: AbortSignal) {
  const all = await Promise.all(urls.map((url) => statusOf(url, signal)));
  const place = all.findIndex(({ header, leader }) => leader === header.member_id);
  const url = urls[place];
  if (url === undefined) throw new UnableToRun("The members of etcd have no leader.");
  return { url, revision: Number(all[place]?.header.revision) };
}

async function statusOf(url: string, signal: AbortSignal) {
  const answer = await fetch(`${url}/v3/maintenance/status`, {
    method: "POST",
    body: "{}",
    signal,
  });
  return statusSchema.parse(await answer.json());
}
