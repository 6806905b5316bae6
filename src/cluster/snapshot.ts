import { Packr } from "msgpackr";
import type { NodeId, ServiceKey } from "../kernel/index.ts";
import type { ClusterState, Service } from "./cluster-state.ts";
import type { StoredDigest } from "./state-digest.ts";

const packr = new Packr({ useRecords: false });

/** Raised when the stored form changes in a way that an older daemon cannot read. */
const formatVersion = 1;

type Entries<M> =
  M extends ReadonlyMap<infer Key, infer Value> ? readonly (readonly [Key, Value])[] : never;

/** Maps travel as lists of entries: plain maps of msgpack have text keys only. */
type StoredService = Omit<Service, "templates"> & {
  readonly templates: Entries<Service["templates"]>;
};

type Stored = {
  readonly formatVersion: number;
  readonly index: number;
  readonly clusterId: string;
  readonly nodes: Entries<ClusterState["nodes"]>;
  readonly services: readonly (readonly [ServiceKey, StoredService])[];
  readonly tasks: Entries<ClusterState["tasks"]>;
  readonly tokens: Entries<ClusterState["tokens"]>;
  /** Absent in snapshots from before nodes could be removed. */
  readonly removedNodes?: readonly NodeId[];
  readonly maxVoters?: number;
  /** Absent in snapshots from before volumes were followed. */
  readonly volumeHomes?: Entries<ClusterState["volumeHomes"]>;
  /** Absent where no namespace has one. */
  readonly quotas?: Entries<ClusterState["quotas"]>;
  /** Absent in what is digested itself, and in snapshots from before there were digests. */
  readonly digest?: StoredDigest;
};

/** The whole agreed state as bytes. */
export function encodeState(state: ClusterState, digest?: StoredDigest): Uint8Array {
  const stored: Stored = {
    formatVersion,
    index: state.index,
    clusterId: state.clusterId,
    nodes: [...state.nodes],
    services: [...state.services].map(([key, service]) => [
      key,
      { ...service, templates: [...service.templates] },
    ]),
    tasks: [...state.tasks],
    tokens: [...state.tokens],
    removedNodes: [...state.removedNodes],
    ...(state.maxVoters === undefined ? {} : { maxVoters: state.maxVoters }),
    volumeHomes: [...state.volumeHomes],
    ...(state.quotas.size === 0 ? {} : { quotas: [...state.quotas] }),
    ...(digest === undefined ? {} : { digest }),
  };
  return packr.pack(stored);
}

/**
 * Reads back what {@link encodeState} wrote. The bytes come from this node's own disk or
 * from the leader, checked by checksum or by the authenticated channel.
 * @throws Error when a newer daemon wrote them.
 */
export function decodeState(bytes: Uint8Array): {
  readonly state: ClusterState;
  readonly digest: StoredDigest | undefined;
} {
  const stored = packr.unpack(bytes) as Stored;
  if (stored.formatVersion !== formatVersion) {
    throw new Error(
      `The snapshot has format ${stored.formatVersion}, this daemon reads ${formatVersion}. Upgrade it.`,
    );
  }
  const state = {
    index: stored.index,
    clusterId: stored.clusterId,
    nodes: new Map(stored.nodes),
    services: new Map(
      stored.services.map(([key, service]) => [
        key,
        { ...service, templates: new Map(service.templates) },
      ]),
    ),
    tasks: new Map(stored.tasks),
    tokens: new Map(stored.tokens),
    removedNodes: new Set(stored.removedNodes ?? []),
    ...(stored.maxVoters === undefined ? {} : { maxVoters: stored.maxVoters }),
    volumeHomes: new Map(stored.volumeHomes ?? []),
    quotas: new Map(stored.quotas ?? []),
  };
  return { state, digest: stored.digest };
}
