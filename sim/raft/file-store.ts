import { openFileLogStorage } from "../../src/raft/io/file-log-storage.ts";
import type { LogStorage } from "../../src/raft/log-storage.ts";
import type { SaveBatch } from "../../src/raft/memory-log-storage.ts";
import type { Snapshot } from "../../src/raft/raft-log.ts";
import type { Context } from "./context.ts";
import type { AfterDelay } from "./memory-store.ts";
import { SimDisk } from "./sim-disk.ts";
import { isNew, isOutdated, type OpenedLog, type SimStore, type StoreTask } from "./store.ts";

/** The production store of segments and snapshot files, over a disk that forgets. */
export class FileStore implements SimStore {
  readonly #context: Context;
  readonly #disk: SimDisk;
  #storage: LogStorage | undefined;
  #writes: Promise<void> = Promise.resolve();
  #life = 0;

  constructor(context: Context, afterDelay: AfterDelay) {
    this.#context = context;
    this.#disk = new SimDisk({
      random: context.random,
      afterDelay,
      onSettled: () => {
        context.isSettling = true;
      },
    });
  }

  open(first: SaveBatch | undefined, done: (log: OpenedLog) => void): void {
    const life = this.#life;
    const { bug, swarm } = this.#context;
    const disk = bug?.disk?.(this.#disk) ?? this.#disk;
    const open = async () => {
      const { segmentBytes } = swarm;
      const storage = await openFileLogStorage({ directory: "/raft", disk, segmentBytes });
      if (first !== undefined && isNew(storage)) await storage.save(first);
      const snapshot = await storage.loadSnapshot();
      if (life !== this.#life) return;
      this.#storage = storage;
      done({ storage, snapshot });
    };
    this.#context.watch(open());
  }

  write(tasks: readonly StoreTask[], done: () => void): void {
    this.#enqueue(async (storage) => {
      for (const task of tasks) await perform(storage, task);
      return done;
    });
  }

  loadSnapshot(done: (snapshot: Snapshot | undefined) => void): void {
    this.#enqueue(async (storage) => {
      const snapshot = await storage.loadSnapshot();
      return () => done(snapshot);
    });
  }

  crash(options: { readonly losesPower: boolean }): void {
    this.#life += 1;
    this.#storage = undefined;
    this.#writes = Promise.resolve();
    this.#disk.crash(options);
  }

  #enqueue(work: (storage: LogStorage) => Promise<() => void>): void {
    const life = this.#life;
    const storage = this.#storage;
    if (storage === undefined) return;
    this.#writes = this.#writes.then(async () => {
      const done = await work(storage);
      if (life === this.#life) done();
    });
    this.#context.watch(this.#writes);
  }
}

async function perform(storage: LogStorage, task: StoreTask): Promise<void> {
  if (task.kind === "save") {
    await storage.save(task.batch);
    return;
  }
  if (isOutdated(storage, task)) return;
  await storage.saveSnapshot(task.meta, task.data);
  if (task.compactTo !== undefined) await storage.compact(Math.max(0, task.compactTo));
}
