import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  createCluster,
  issue,
  newTlsKey,
  saveCredentials,
} from "../../src/network/io/credentials.ts";
import { loadOrCreateIdentity } from "../../src/network/io/identity.ts";
import { bundle } from "../bundle.ts";
import { UnableToRun } from "./errors.ts";
import { freePorts, startProcess } from "./processes.ts";
import {
  type LogCluster,
  LogMember,
  memberCount,
  untilDone,
  untilServing,
} from "./raft-members.ts";
import type { RaftNodeOrders, RaftNodeStatus } from "./raft-node.ts";

const nodeScript = fileURLToPath(new URL("./raft-node.ts", import.meta.url));

/** Three members with the daemon's defaults for time, disk and snapshots. */
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
  const nodes = await makeMembers(directories, ports.slice(0, memberCount));
  const httpPorts = ports.slice(memberCount);
  // As the published package is.
  const programs = join(directory, "programs");
  await bundle({ programs: { node: nodeScript }, directory: programs });
  await using starting = new AsyncDisposableStack();
  const members: LogMember[] = [];
  // The first one last: it takes the others in, who must be there to agree.
  for (const [place, own] of [...directories.entries()].reverse()) {
    const httpPort = httpPorts[place] ?? 0;
    const orders: RaftNodeOrders = { directory: own, place, members: nodes, httpPort };
    const command = [process.execPath, join(programs, "node.mjs"), JSON.stringify(orders)];
    const logPath = `${own}.log`;
    // The daemon keeps compiled code between its starts, too.
    const environment = { NODE_COMPILE_CACHE: join(directory, "compiled") };
    const launch = () => startProcess({ command, logPath, environment, hasChannel: true, signal });
    const member = starting.use(new LogMember(`http://127.0.0.1:${httpPort}`, launch));
    await member.start();
    const what = "A member of ours does not start";
    await untilDone((options) => statusOf(member, options.signal), { what, signal });
    members.push(member);
  }
  const cluster: LogCluster = {
    name: "ours",
    members,
    leader: () => findLeader(members, signal),
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
  const running = new AsyncDisposableStack();
  await untilDone(() => assertComplete(members, signal), { what: "Our members", signal });
  await untilServing(cluster, signal);
  running.use(starting.move());
  return cluster;
}

/** Identities and certificates, as joining would have left them in the data directories. */
export async function makeMembers(
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

async function assertComplete(members: readonly LogMember[], signal: AbortSignal): Promise<void> {
  for (const member of members) {
    const { voters } = await statusOf(member, signal);
    if (voters !== memberCount) throw new Error(`${member.url} knows ${voters} voters`);
  }
}

async function findLeader(members: readonly LogMember[], signal: AbortSignal) {
  for (const member of members) {
    const { leader, self, revision } = await statusOf(member, signal);
    if (leader === self) return { member, revision };
  }
  throw new Error("Our members have no leader.");
}

async function statusOf({ url }: LogMember, signal: AbortSignal): Promise<RaftNodeStatus> {
  return (await (await fetch(url, { signal })).json()) as RaftNodeStatus;
}
