import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { freePorts, startProcess } from "./processes.ts";
import { type LogCluster, LogMember, memberCount, post, untilServing } from "./raft-members.ts";

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
  const members: LogMember[] = [];
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
    const launch = () => startProcess({ command, logPath, signal });
    const member = starting.use(new LogMember(clientUrl, launch));
    await member.start();
    members.push(member);
  }
  const cluster: LogCluster = {
    name: "etcd",
    members,
    leader: () => findLeader(members, signal),
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
  const running = new AsyncDisposableStack();
  await untilServing(cluster, signal);
  running.use(starting.move());
  return cluster;
}

async function findLeader(members: readonly LogMember[], signal: AbortSignal) {
  for (const member of members) {
    const status = await post(`${member.url}/v3/maintenance/status`, {}, signal);
    const { header, leader } = statusSchema.parse(status);
    if (leader === header.member_id) return { member, revision: Number(header.revision) };
  }
  throw new Error("The members of etcd have no leader.");
}
