import type { NodeId } from "../../src/kernel/index.ts";
import type { LogStorage, SnapshotMeta } from "../../src/raft/index.ts";
import type { RunnerContext } from "./context.ts";
import type { LogDisk } from "./log-disk.ts";

/** One before the newest, in case that one becomes unreadable. */
const keptFiles = 2;

export type WatchedStorageOptions = {
  readonly context: RunnerContext;
  readonly self: NodeId;
  readonly disk: LogDisk;
  readonly storage: LogStorage;
  /** How far this life of the node has applied; undefined while it starts. */
  readonly appliedIndex: () => number | undefined;
};

/** The log of one life, with a look at every snapshot that is written and what is dropped for it. */
export function watchedStorage(options: WatchedStorageOptions): LogStorage {
  const { storage, disk } = options;
  const watch = new Watch(options);
  return {
    hardState: () => storage.hardState(),
    firstIndex: () => storage.firstIndex(),
    lastIndex: () => storage.lastIndex(),
    term: (index) => storage.term(index),
    entries: (range) => storage.entries(range),
    snapshotMeta: () => storage.snapshotMeta(),
    loadSnapshot: () => storage.loadSnapshot(),
    save: async (batch) => {
      disk.begin();
      await storage.save(batch);
      disk.look(storage);
    },
    saveSnapshot: async (meta, data) => {
      watch.beforeSnapshot(meta, data);
      disk.begin();
      await storage.saveSnapshot(meta, data);
      disk.look(storage);
      await watch.afterSnapshot(meta);
    },
    compact: async (index) => {
      watch.beforeCompacting(index);
      await storage.compact(index);
    },
    [Symbol.asyncDispose]: () => storage[Symbol.asyncDispose](),
  };
}

class Watch {
  readonly #options: WatchedStorageOptions;
  #saved = 0;
  /** Of its own, where no entries were dropped for it yet. */
  #undropped: number | undefined;
  #newest: number;

  constructor(options: WatchedStorageOptions) {
    this.#options = options;
    this.#newest = options.storage.snapshotMeta()?.index ?? 0;
  }

  beforeSnapshot(meta: SnapshotMeta, data: Uint8Array): void {
    const { context, storage, self, appliedIndex } = this.#options;
    const isOwn = storage.term(meta.index) === meta.term;
    const kind = isOwn ? "its own" : "another node's";
    context.note(() => `${self} writes ${kind} snapshot ${meta.index}.${meta.term}`);
    const { checker } = context;
    const problem =
      checker.problemOf({ meta, data }) ?? checker.problemOfConfiguration({ meta, data }, storage);
    if (problem !== undefined) this.#violated(`snapshot at ${meta.index} ${problem}`);
    const applied = appliedIndex() ?? Number.POSITIVE_INFINITY;
    if (isOwn && meta.index > applied) {
      this.#violated(`snapshot at ${meta.index} is of what is not applied, only ${applied} is`);
    }
    this.#mayReplace(meta);
    if (!isOwn) return;
    const undropped = this.#undropped;
    if (undropped !== undefined) {
      this.#violated(`no entries were dropped for the snapshot at ${undropped}`);
    }
    this.#undropped = meta.index;
  }

  async afterSnapshot(meta: SnapshotMeta): Promise<void> {
    this.#mayReplace(meta);
    this.#newest = meta.index;
    this.#saved += 1;
    const files = await this.#options.disk.snapshotFiles();
    if (files !== undefined && files < Math.min(keptFiles, this.#saved)) {
      this.#violated(`only ${files} snapshots are left after the one at ${meta.index}`);
    }
  }

  beforeCompacting(index: number): void {
    const { context, storage } = this.#options;
    const { retainedEntries } = context.swarm.snapshots;
    const newest = storage.snapshotMeta()?.index ?? 0;
    this.#undropped = undefined;
    if (index > Math.max(0, newest - retainedEntries)) {
      this.#violated(`it drops the entries to ${index} for the snapshot at ${newest}`);
    }
  }

  #mayReplace({ index }: SnapshotMeta): void {
    if (index <= this.#newest) {
      this.#violated(`snapshot at ${index} replaces the one at ${this.#newest}`);
    }
  }

  #violated(text: string): void {
    const { context, self } = this.#options;
    context.violated(`${self}: ${text}`);
  }
}
