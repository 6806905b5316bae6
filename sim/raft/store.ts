import type { LogStorage, SnapshotMeta } from "../../src/raft/log-storage.ts";
import type { SaveBatch } from "../../src/raft/memory-log-storage.ts";
import type { RaftOptions } from "../../src/raft/raft.ts";
import type { Snapshot } from "../../src/raft/raft-log.ts";

export type OpenedLog = {
  readonly storage: RaftOptions["storage"];
  readonly snapshot: Snapshot | undefined;
};

/** A log's work, done one after the other. */
export type StoreTask =
  | { readonly kind: "save"; readonly batch: SaveBatch }
  | {
      readonly kind: "snapshot";
      readonly meta: SnapshotMeta;
      readonly data: Uint8Array;
      /** Entries up to here are dropped; undefined of a snapshot that came from another node. */
      readonly compactTo: number | undefined;
    };

/** The disk of one machine with the log on it, in virtual time. */
export interface SimStore {
  /** The process starts. `first` is saved where there was never anything. */
  open(first: SaveBatch | undefined, done: (log: OpenedLog) => void): void;
  /** Never done when the process dies first. */
  write(tasks: readonly StoreTask[], done: () => void): void;
  loadSnapshot(done: (snapshot: Snapshot | undefined) => void): void;
  /** The process dies; what was being written is there wholly, in part, or not. */
  crash(options: { readonly losesPower: boolean }): void;
}

/** Whether the node was never started here. */
export function isNew(storage: Pick<LogStorage, "lastIndex" | "hardState" | "snapshotMeta">) {
  const isEmpty = storage.lastIndex() === 0 && storage.snapshotMeta() === undefined;
  return isEmpty && storage.hardState().term === 0;
}

/** A snapshot of this node's own state is out of date when a newer one came meanwhile. */
export function isOutdated(
  storage: Pick<LogStorage, "snapshotMeta">,
  { meta, compactTo }: Extract<StoreTask, { readonly kind: "snapshot" }>,
): boolean {
  return compactTo !== undefined && (storage.snapshotMeta()?.index ?? 0) >= meta.index;
}
