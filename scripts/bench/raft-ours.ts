import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import {
  createCluster,
  issue,
  newTlsKey,
  saveCredentials,
} from "../../src/network/io/credentials.ts";
import { loadOrCreateIdentity } from "../../src/network/io/identity.ts";
import { UnableToRun } from "./errors.ts";
import { freePorts, type Running, startProcess } from "./processes.ts";
import type { RaftNodeOrders, RaftNodeStatus } from "./raft-node.ts";

/** A replicated log that takes puts as etcd's JSON gateway does. */
export type LogCluster = AsyncDisposable & {
  readonly name: string;
  readonly pids: readonly number[];
  /** Where the leader takes puts, and how many it has applied. */
  leader(): Promise<{ readonly url: string; readonly revision: number }>;
};

const memberCount = 3;
const settleTimeoutMs = 30_000;
const pollMs = 50;
const nodeScript = fileURLToPath(new URL("./raft-node.ts", import.meta.url));

export async function startOurCluster({
  directory,
  signal,
}: {
  readonly directory: string;
  readonly signal: AbortSignal;
}): Promise<LogCluster> {
  const ports = await freePorts(2 * memberCount);
  const directories = Array.from({ length: memberCount }, (_, place) =>
    join(directory, `ours-${place}`),
  );
  const members = await makeMembers(directories, ports.slice(0, memberCount));
  const httpPorts = ports.slice(memberCount);
  await using starting = new AsyncDisposableStack();
  const nodes: Running[] = [];
  // The first one last: it takes the others in, who must be there to agree.
  for (const [place, own] of [...directories.entries()].reverse()) {
    const orders: RaftNodeOrders = {
      directory: own,
      place,
      members,
      httpPort: httpPorts[place] ?? 0,
    };
    const command = [process.execPath, nodeScript, JSON.stringify(orders)];
    const logPath = `${own}.log`;
    const port = orders.httpPort;
    nodes.push(
      starting.use(await startProcess({ command, logPath, port, hasChannel: true, signal })),
    );
  }
  const urls = httpPorts.map((port) => `http://127.0.0.1:${port}`);
  await untilSettled(urls, signal);
  const running = starting.move();
  return {
    name: "ours",
    pids: nodes.map(({ pid }) => pid),
    leader: () => findLeader(urls, signal),
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

/** Identities and certificates, as joining would have left them in the data directories. */
async function makeMembers(
  directories: readonly string[],
  ports: readonly number[],
): Promise<RaftNodeOrders["members"]> {
  const identities = [];
  for (const directory of directories) {
    await mkdir(directory);
    identities.push(await loadOrCreateIdentity(directory));
  }
  const [first] = identities;
  if (first === undefined) throw new UnableToRun("A cluster needs a member.");
  const nowMs = Date.now();
  const cluster = await createCluster({ clusterId: "bench", self: first.nodeId, nowMs });
  for (const [place, directory] of directories.entries()) {
    const { nodeId } = identities[place] ?? first;
    const { publicKeyPem, privateKeyPem } = newTlsKey();
    const issued = await issue(cluster, { nodeId, publicKeyPem, nowMs });
    saveCredentials(directory, { ...cluster, ...issued, tlsKeyPem: privateKeyPem });
  }
  return identities.map(({ nodeId }, place) => ({ nodeId, port: ports[place] ?? 0 }));
}

async function untilSettled(urls: readonly string[], signal: AbortSignal): Promise<void> {
  const deadline = performance.now() + settleTimeoutMs;
  for (;;) {
    const all = await statuses(urls, signal);
    if (all.every(({ leader, voters }) => leader !== null && voters === memberCount)) return;
    if (performance.now() > deadline) {
      throw new UnableToRun(`Our members do not agree on a leader: ${JSON.stringify(all)}`);
    }
    await sleep(pollMs, undefined, { signal });
  }
}

async function findLeader(urls: readonly string[], signal: AbortSignal) {
  const all = await statuses(urls, signal);
  const place = all.findIndex(({ leader, self }) => leader === self);
  const url = urls[place];
  if (url === undefined) throw new UnableToRun("Our members have lost their leader.");
  return { url, revision: all[place]?.revision ?? 0 };
}

async function statuses(
  urls: readonly string[],
  signal: AbortSignal,
): Promise<readonly RaftNodeStatus[]> {
  return await Promise.all(
    urls.map(async (url) => (await (await fetch(url, { signal })).json()) as RaftNodeStatus),
  );
}
