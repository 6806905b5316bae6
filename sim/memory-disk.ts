import { type Random, randomBelow } from "../src/kernel/index.ts";
import { type LogStorage, MemoryLogStorage } from "../src/raft/index.ts";
import type { Machine } from "./gossip/machine.ts";

/** What a machine keeps while it is without power. */
export class MemoryDisk {
  incarnation = 0;
  /** Changes that wait for a quorum, as they are stored. */
  intents: Uint8Array | undefined;
  /** Of a write, in ms; more where the disk is slow. */
  maxWriteMs = 3;
  readonly #log = new MemoryLogStorage();
  readonly #random: Random;

  constructor(random: Random) {
    this.#random = random;
  }

  /**
   * The log for one life of the daemon: what is not durable when that life ends was never
   * written.
   */
  open(machine: Machine): LogStorage {
    const log = this.#log;
    const never = new AbortController().signal;
    const write = async (perform: () => void) => {
      const ms = 1 + randomBelow(this.#random, this.maxWriteMs);
      await machine.clock.sleep(ms, { signal: never });
      perform();
    };
    return {
      hardState: () => log.hardState(),
      firstIndex: () => log.firstIndex(),
      lastIndex: () => log.lastIndex(),
      term: (index) => log.term(index),
      entries: (range) => log.entries(range),
      snapshotMeta: () => log.snapshotMeta(),
      save: (batch) => write(() => log.saveNow(batch)),
      saveSnapshot: (meta, data) => write(() => log.saveSnapshotNow(meta, data)),
      loadSnapshot: () => log.loadSnapshot(),
      compact: (index) => write(() => log.compactNow(index)),
      [Symbol.asyncDispose]: async () => undefined,
    };
  }
}
