import { close, constants, open, write } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Entry } from "../../src/raft/index.ts";
import { openFileLogStorage } from "../../src/raft/io/file-log-storage.ts";
import { type Case, toCase } from "./report.ts";

/** Of the raw rate. */
const bar = 0.9;
/** Short turns, many of them: what disturbs the disk for a while disturbs both. */
const appendsPerTurn = 10;
const turnsPerRound = 100;
const valueBytes = 200;
/** What an entry of {@link valueBytes} takes on disk in a frame of its own. */
const frameBytes = 24 + 24 + valueBytes;
const rawFileBytes = 16 * 2 ** 20;

const openFile = promisify(open);
const closeFile = promisify(close);

/**
 * Durable appends, one at a time, by the log's own store and by bare writes of as many octets
 * to a file of the same directory that is filled with zeros, opened with `O_DSYNC`.
 */
export async function measureStore({
  directory,
  rounds,
  signal,
  say,
}: {
  readonly directory: string;
  readonly rounds: number;
  readonly signal: AbortSignal;
  readonly say: (line: string) => void;
}): Promise<readonly Case[]> {
  await using store = await startStore(join(directory, "store"));
  await using raw = await startRaw(join(directory, "raw"));
  const round = async () => {
    const tookMs = { ours: 0, peer: 0 };
    for (let turn = 0; turn < turnsPerRound; turn += 1) {
      signal.throwIfAborted();
      // In turns also of who goes first.
      tookMs.peer += await msOf(raw);
      tookMs.ours += await msOf(store);
      tookMs.ours += await msOf(store);
      tookMs.peer += await msOf(raw);
    }
    const rate = (ms: number) => (2_000 * turnsPerRound * appendsPerTurn) / ms;
    return { ours: rate(tookMs.ours), peer: rate(tookMs.peer) };
  };
  // What was measured while code and disk were cold does not count.
  await round();
  const samples: { ours: number[]; peer: number[] } = { ours: [], peer: [] };
  for (let number = 1; number <= rounds; number += 1) {
    const { ours, peer } = await round();
    samples.ours.push(ours);
    samples.peer.push(peer);
    say(`store, round ${number}: raw ${Math.round(peer)}/s, ours ${Math.round(ours)}/s`);
  }
  const name = "store: one append at a time";
  return [toCase({ name, unit: "/s", better: "more", bar, peerName: "raw O_DSYNC", ...samples })];
}

type Writer = AsyncDisposable & {
  /** One durable write. */
  append(): Promise<void>;
};

async function startStore(directory: string): Promise<Writer> {
  const storage = await openFileLogStorage({ directory });
  let index = 0;
  const data = new Uint8Array(valueBytes).fill(120);
  return {
    append: () => {
      index += 1;
      const entry: Entry = { index, term: 1, kind: "normal", data };
      return storage.save({ entries: [entry] });
    },
    [Symbol.asyncDispose]: () => storage[Symbol.asyncDispose](),
  };
}

async function startRaw(path: string): Promise<Writer> {
  const flags = constants.O_RDWR | constants.O_CREAT | constants.O_DSYNC;
  const descriptor = await openFile(path, flags, 0o600);
  await writeAt(descriptor, Buffer.alloc(rawFileBytes), 0);
  const data = Buffer.alloc(frameBytes, 120);
  let offset = 0;
  return {
    append: async () => {
      if (offset + frameBytes > rawFileBytes) offset = 0;
      await writeAt(descriptor, data, offset);
      offset += frameBytes;
    },
    [Symbol.asyncDispose]: () => closeFile(descriptor),
  };
}

function writeAt(descriptor: number, data: Buffer, offset: number): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  write(descriptor, data, 0, data.byteLength, offset, (error) => {
    if (error === null) resolve();
    else reject(error);
  });
  return promise;
}

/** How long one turn takes, in milliseconds. */
async function msOf(writer: Writer): Promise<number> {
  const startMs = performance.now();
  for (let count = 0; count < appendsPerTurn; count += 1) await writer.append();
  return performance.now() - startMs;
}
