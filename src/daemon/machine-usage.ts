import { statfs } from "node:fs/promises";
import { cpus, freemem, totalmem } from "node:os";
import type { MachineUsage } from "../cluster/index.ts";
import { Cell, type Clock, type Logger, messageOf, type ReadableCell } from "../kernel/index.ts";

/** The first figure comes soon, for whoever looks at a node that has just started. */
const firstMs = 1_000;
const intervalMs = 5_000;
/** Smaller changes, as shares of the whole, are not worth a message to everybody. */
const noticeable = { cpu: 0.05, memory: 0.02, disk: 0.01 };

type Meter = { read(): Promise<MachineUsage> };

/** What is in use of this machine since the call before, and of the disk that holds `directory`. */
export function machineMeter(directory: string): Meter {
  let before = cpuTimes();
  return {
    read: async () => {
      const now = cpuTimes();
      const totalMs = now.totalMs - before.totalMs;
      const busyShare = totalMs > 0 ? 1 - (now.idleMs - before.idleMs) / totalMs : 0;
      before = now;
      const { blocks, bfree, bsize } = await statfs(directory);
      return {
        cpuMillis: Math.round(Math.min(1, Math.max(0, busyShare)) * now.count * 1_000),
        memoryBytes: totalmem() - freemem(),
        diskBytes: (blocks - bfree) * bsize,
        diskCapacityBytes: blocks * bsize,
      };
    },
  };
}

function cpuTimes(): { readonly totalMs: number; readonly idleMs: number; readonly count: number } {
  const all = cpus();
  let totalMs = 0;
  let idleMs = 0;
  for (const { times } of all) {
    idleMs += times.idle;
    totalMs += times.user + times.nice + times.sys + times.idle + times.irq;
  }
  return { totalMs, idleMs, count: all.length };
}

/** Measures from time to time; the cell changes only when the figures have changed noticeably. */
export function watchUsage(options: {
  readonly meter: Meter;
  /** What the shares are of. */
  readonly capacity: { readonly cpuMillis: number; readonly memoryBytes: number };
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}): ReadableCell<MachineUsage | undefined> {
  const { meter, capacity, clock, logger, signal } = options;
  const usage = new Cell<MachineUsage | undefined>(undefined);

  async function measure(): Promise<void> {
    try {
      const next = await meter.read();
      if (hasChanged(usage.get(), next, capacity)) usage.set(next);
    } catch (error) {
      logger.debug({ error: messageOf(error) }, "machine not measured");
    }
  }

  async function run(): Promise<void> {
    for (let waitMs = firstMs; !signal.aborted; waitMs = intervalMs) {
      await clock.sleep(waitMs, { signal });
      await measure();
    }
  }

  // Ends with the signal's reason, which is no news.
  run().catch(() => undefined);
  return usage;
}

function hasChanged(
  before: MachineUsage | undefined,
  next: MachineUsage,
  { cpuMillis, memoryBytes }: { readonly cpuMillis: number; readonly memoryBytes: number },
): boolean {
  if (before === undefined || before.diskCapacityBytes !== next.diskCapacityBytes) return true;
  const isOver = (a: number, b: number, whole: number, share: number) =>
    Math.abs(a - b) > whole * share;
  return (
    isOver(before.cpuMillis, next.cpuMillis, cpuMillis, noticeable.cpu) ||
    isOver(before.memoryBytes, next.memoryBytes, memoryBytes, noticeable.memory) ||
    isOver(before.diskBytes, next.diskBytes, next.diskCapacityBytes, noticeable.disk)
  );
}
