import { MemoryLogStorage, type SaveBatch } from "../../src/raft/memory-log-storage.ts";
import type { Snapshot } from "../../src/raft/raft-log.ts";
import type { Context } from "./context.ts";
import { isNew, isOutdated, type OpenedLog, type SimStore, type StoreTask } from "./store.ts";

export type AfterDelay = (run: () => void) => void;

type Write = { readonly tasks: readonly StoreTask[]; readonly done: () => void };

/**
 * The fast store: the memory log, of which a write in progress is there wholly, in part (up to
 * one of its tasks, which are what is atomic on disk) or not at all after a crash.
 */
export class MemoryStore implements SimStore {
  readonly #context: Context;
  readonly #afterDelay: AfterDelay;
  readonly #storage = new MemoryLogStorage();
  #queue: Write[] = [];
  #life = 0;

  constructor(context: Context, afterDelay: AfterDelay) {
    this.#context = context;
    this.#afterDelay = afterDelay;
  }

  open(first: SaveBatch | undefined, done: (log: OpenedLog) => void): void {
    if (first !== undefined && isNew(this.#storage)) this.#storage.saveNow(first);
    done({ storage: this.#storage, snapshot: this.#storage.snapshotNow() });
  }

  write(tasks: readonly StoreTask[], done: () => void): void {
    this.#queue.push({ tasks, done });
    if (this.#queue.length === 1) this.#startNext();
  }

  loadSnapshot(done: (snapshot: Snapshot | undefined) => void): void {
    done(this.#storage.snapshotNow());
  }

  crash(): void {
    this.#life += 1;
    const tasks = this.#queue[0]?.tasks ?? [];
    for (const task of tasks.slice(0, this.#context.below(tasks.length + 1))) this.#perform(task);
    this.#queue = [];
  }

  #startNext(): void {
    const life = this.#life;
    this.#afterDelay(() => {
      if (life !== this.#life) return;
      const write = this.#queue.shift();
      for (const task of write?.tasks ?? []) this.#perform(task);
      if (this.#queue.length > 0) this.#startNext();
      write?.done();
    });
  }

  #perform(task: StoreTask): void {
    if (task.kind === "save") {
      this.#storage.saveNow(task.batch);
      return;
    }
    if (isOutdated(this.#storage, task)) return;
    this.#storage.saveSnapshotNow(task.meta, task.data);
    if (task.compactTo !== undefined) this.#storage.compactNow(task.compactTo);
  }
}
