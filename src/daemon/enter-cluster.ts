import { once } from "node:events";
import { createServer } from "node:net";
import { networkInterfaces } from "node:os";
import type { ClusterState } from "../cluster/index.ts";
import {
  type Clock,
  codeOf,
  type Logger,
  type NodeId,
  nodeId,
  type Random,
  randomName,
} from "../kernel/index.ts";
import { decodeToken } from "../network/index.ts";
import { type ClusterKey, loadClusterKey, saveClusterKey } from "../network/io/cluster-key.ts";
import {
  type Credentials,
  createCluster,
  loadCredentials,
  saveCredentials,
} from "../network/io/credentials.ts";
import type { Identity } from "../network/io/identity.ts";
import { joinCluster } from "../network/io/join.ts";
import { formatAddress, type Settings, SettingsError } from "./settings.ts";

/** How this daemon came to its cluster. */
export type Entered = {
  readonly kind: "created" | "joined" | "resumed";
  /**
   * Whether the cluster began with this node. Its first entries are the founder's to write, at a
   * later start where the first one was cut short.
   */
  readonly isFounder: boolean;
  readonly credentials: Credentials;
  /** What admits machines, where this node holds it: as a voter. */
  readonly clusterKey: ClusterKey | undefined;
  /** Where others reach this node, as far as it knows now. */
  readonly address: string;
};

type EnterOptions = {
  readonly settings: Settings;
  readonly identity: Identity;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly signal: AbortSignal;
};

/**
 * Resumes where the data directory has state, joins where peers are named, and starts a new
 * cluster otherwise.
 * @throws NetworkError, SettingsError
 */
export async function enterCluster(options: EnterOptions): Promise<Entered> {
  const { settings, logger } = options;
  const saved = loadCredentials(settings.dataDirectory);
  const address = settings.advertise ?? ownAddress(settings);
  if (saved !== undefined) {
    if (settings.join.length > 0) {
      refuseOtherCluster(settings, saved);
      logger.info({ clusterId: saved.clusterId }, "already a member, --join is ignored");
    }
    const clusterKey = loadClusterKey(settings.dataDirectory);
    // It may have stood in the file of the credentials, which is written without it from now on.
    if (clusterKey !== undefined) saveClusterKey(settings.dataDirectory, clusterKey);
    saveCredentials(settings.dataDirectory, saved);
    // Whoever joined was told of others who are there.
    const isFounder = saved.seeds.length === 0;
    return { kind: "resumed", isFounder, credentials: saved, clusterKey, address };
  }
  // First, for what cannot be reached must not take a place in the cluster, nor a use of a token.
  await refuseTakenPort(settings);
  const entered = settings.join.length > 0 ? await join(options) : await create(options, address);
  if (entered.clusterKey !== undefined) {
    saveClusterKey(settings.dataDirectory, entered.clusterKey);
  }
  saveCredentials(settings.dataDirectory, entered.credentials);
  return entered;
}

/** To go on in the old cluster would be the opposite of what was asked for. */
function refuseOtherCluster({ token, dataDirectory }: Settings, saved: Credentials): void {
  if (token === undefined || token === "") return;
  const { clusterId } = decodeToken(token);
  if (clusterId === saved.clusterId) return;
  throw new SettingsError(
    "usage",
    `${dataDirectory} holds a member of cluster ${saved.clusterId}, the token is for cluster ${clusterId}. To join that one, move the directory away first.`,
  );
}

/** @throws SettingsError where another process has the port. */
async function refuseTakenPort({ listen: { host, port } }: Settings): Promise<void> {
  const probe = createServer();
  try {
    probe.listen({ host, port });
    await once(probe, "listening");
  } catch (error) {
    if (codeOf(error) !== "EADDRINUSE") return;
    throw new SettingsError(
      "usage",
      `Port ${port} on ${host}, where the cluster is to reach this machine, is taken by another process. Stop that process, or choose another port with --listen.`,
    );
  } finally {
    probe.close();
  }
}

async function create(
  { settings, identity, clock, random }: EnterOptions,
  address: string,
): Promise<Entered> {
  const { clusterKeyPem, caKeyPem, ...credentials } = await createCluster({
    clusterId: randomName(random, 12),
    self: identity.nodeId,
    nowMs: clock.now(),
    lifetimeMs: settings.certificateLifetimeMs,
  });
  const clusterKey = { clusterKeyPem, caKeyPem };
  return { kind: "created", isFounder: true, credentials, clusterKey, address };
}

async function join({ settings, identity, signal }: EnterOptions): Promise<Entered> {
  if (settings.token === undefined || settings.token === "") {
    throw new SettingsError(
      "usage",
      "To join, a token is needed: --token, --token-file or SKEIN_TOKEN. Make one on a member with: skein token create",
    );
  }
  const { credentials, address } = await joinCluster({
    identity,
    seeds: settings.join,
    token: settings.token,
    name: settings.name,
    advertise: settings.advertise ?? specificListenAddress(settings),
    port: settings.listen.port,
    labels: settings.labels,
    signal,
  });
  return { kind: "joined", isFounder: false, credentials, clusterKey: undefined, address };
}

const wildcards = new Set(["0.0.0.0", "::"]);

function specificListenAddress({ listen }: Settings): string | undefined {
  return wildcards.has(listen.host) ? undefined : formatAddress(listen);
}

/** The listen address where it names one machine; else this machine's first address. */
function ownAddress(settings: Settings): string {
  const specific = specificListenAddress(settings);
  if (specific !== undefined) return specific;
  const addresses = Object.entries(networkInterfaces())
    // An engine's bridge is no way to this machine.
    .filter(([name]) => !/^(docker|br-|veth|virbr)/.test(name))
    .flatMap(([, list]) => list ?? [])
    .filter(({ internal, scopeid }) => !internal && !scopeid);
  const best = addresses.find(({ family }) => family === "IPv4") ?? addresses[0];
  return formatAddress({ host: best?.address ?? "127.0.0.1", port: settings.listen.port });
}

/** Where members are: what was agreed, else what was heard at the join. */
export function addressBook(
  credentials: Credentials,
  state: () => ClusterState,
): (node: NodeId) => string | undefined {
  const seeds = new Map(credentials.seeds.map((seed) => [nodeId(seed.nodeId), seed.address]));
  return (node) => state().nodes.get(node)?.address ?? seeds.get(node);
}
