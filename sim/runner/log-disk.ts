import { type Random, randomBelow } from "../../src/kernel/index.ts";
import type { EntryId, HardState, LogStorage } from "../../src/raft/index.ts";
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

type Seen = {
  readonly hardState: HardState;
  readonly snapshotIndex: number;
  readonly last: EntryId;
};

/** The disk of one machine with its log: in memory, or the production files on a simulated disk. */
export class LogDisk {
  readonly #options: LogDiskOptions;
  readonly #memory: MemoryDisk;
  readonly #files: SimDisk;
  #machine: Machine | undefined;
  /** What was durable when it was looked at last: it must never be missed. */
  #seen: Seen | undefined;
  #isWriting = false;

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

  /** Something is about to be written: whether a crash meanwhile leaves it there is open. */
  begin(): void {
    this.#isWriting = true;
  }

  /** It is durable. */
  look(log: LogStorage): void {
    this.#isWriting = false;
    this.#seen = seenIn(log);
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
    const old = this.#seen;
    if (old === undefined) return;
    const now = seenIn(log);
    const { term, vote, commitIndex } = old.hardState;
    const hasVote = now.hardState.term > term || vote === undefined || now.hardState.vote === vote;
    const isThere =
      now.hardState.term >= term &&
      hasVote &&
      now.hardState.commitIndex >= commitIndex &&
      now.snapshotIndex >= old.snapshotIndex;
    const isSame = now.last.index === old.last.index && now.last.term === old.last.term;
    if (!isThere || !(isSame || this.#isWriting)) {
      throw new Error(`the disk held ${JSON.stringify(old)}, and now ${JSON.stringify(now)}`);
    }
    this.#isWriting = false;
    this.#seen = now;
  }
}

function seenIn(log: LogStorage): Seen {
  const index = log.lastIndex();
  return {
    hardState: log.hardState(),
    snapshotIndex: log.snapshotMeta()?.index ?? 0,
    last: { index, term: log.term(index) ?? 0 },
  };
}
