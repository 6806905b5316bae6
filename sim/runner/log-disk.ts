import { type Random, randomBelow } from "../../src/kernel/index.ts";
import type { HardState, LogStorage } from "../../src/raft/index.ts";
import { openFileLogStorage } from "../../src/raft/io/file-log-storage.ts";
import type { EventQueue } from "../event-queue.ts";
import type { Machine } from "../gossip/machine.ts";
import { MemoryDisk } from "../memory-disk.ts";
import { SimDisk } from "../raft/sim-disk.ts";

const directory = "/raft";

export type LogDiskOptions = {
  readonly queue: EventQueue;
  readonly random: Random;
  readonly store: "memory" | "file";
  readonly segmentBytes: number;
  readonly maxWriteMs: number;
};

/** The disk of one machine with its log: in memory, or the production files on a simulated disk. */
export class LogDisk {
  readonly #options: LogDiskOptions;
  readonly #memory: MemoryDisk;
  readonly #files: SimDisk;
  #machine: Machine | undefined;
  /** What was durable when it was looked at last: it must never be missed. */
  #seen: { readonly hardState: HardState; readonly snapshotIndex: number } | undefined;

  constructor(options: LogDiskOptions) {
    this.#options = options;
    const { random, queue } = options;
    this.#memory = new MemoryDisk(random);
    this.#files = new SimDisk({
      random,
      afterDelay: (run) => {
        const ms = 1 + randomBelow(random, this.#memory.maxWriteMs);
        queue.after(ms, () => this.#machine?.act(run));
      },
      onSettled: () => undefined,
    });
    this.maxWriteMs = options.maxWriteMs;
  }

  set maxWriteMs(ms: number) {
    this.#memory.maxWriteMs = ms;
  }

  /** The log for one life. @throws when it is not as it was left. */
  async open(machine: Machine): Promise<LogStorage> {
    this.#machine = machine;
    const { store, segmentBytes } = this.#options;
    const log =
      store === "memory"
        ? this.#memory.open(machine)
        : await openFileLogStorage({ directory, disk: this.#files, segmentBytes });
    this.#compare(log);
    return log;
  }

  /** Something became durable. */
  look(log: LogStorage): void {
    this.#seen = { hardState: log.hardState(), snapshotIndex: log.snapshotMeta()?.index ?? 0 };
  }

  crash({ losesPower }: { readonly losesPower: boolean }): void {
    this.#machine = undefined;
    this.#files.crash({ losesPower });
  }

  /** How many snapshots there are, where they are files. */
  async snapshotFiles(): Promise<number | undefined> {
    if (this.#options.store === "memory") return undefined;
    const names = await this.#files.names(directory);
    return names.filter((name) => name.endsWith(".snapshot")).length;
  }

  #compare(log: LogStorage): void {
    if (this.#seen === undefined) return;
    const { hardState: old, snapshotIndex } = this.#seen;
    const now = log.hardState();
    const hasVote = now.term > old.term || old.vote === undefined || now.vote === old.vote;
    if (now.term < old.term || !hasVote || now.commitIndex < old.commitIndex) {
      const [before, after] = [JSON.stringify(old), JSON.stringify(now)];
      throw new Error(`the disk held ${before}, and now ${after}`);
    }
    const found = log.snapshotMeta()?.index ?? 0;
    if (found < snapshotIndex) {
      throw new Error(`the disk held a snapshot at ${snapshotIndex}, and now at ${found}`);
    }
  }
}
