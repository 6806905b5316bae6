import { close, constants, open, write } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Entry } from "../../src/raft/index.ts";
import { openFileLogStorage } from "../../src/raft/io/file-log-storage.ts";
import { type Case, toCase } from "./report.ts";

/** Of the raw rate. */
const bar = 0.9;
/** Short turns, many of them: what disturbs the disk for a while disturbs both. */
const turnMs = 50;
const turnsPerRound = 10;
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
  const both = async () => {
    signal.throwIfAborted();
    // In turns also of who goes first.
    const rawFirst = await raw.rate();
    const own = (await store.rate()) + (await store.rate());
    return { ours: own / 2, peer: (rawFirst + (await raw.rate())) / 2 };
  };
  for (let turn = 0; turn < 4; turn += 1) await both();
  const samples: { ours: number[]; peer: number[] } = { ours: [], peer: [] };
  for (let round = 1; round <= rounds; round += 1) {
    const turns: { readonly ours: number; readonly peer: number }[] = [];
    for (let turn = 0; turn < turnsPerRound; turn += 1) turns.push(await both());
    const own = mean(turns.map(({ ours }) => ours));
    const peer = mean(turns.map((turn) => turn.peer));
    samples.ours.push(own);
    samples.peer.push(peer);
    say(`store, round ${round}: raw ${Math.round(peer)}/s, ours ${Math.round(own)}/s`);
  }
  const name = "store: one append at a time";
  return [toCase({ name, unit: "/s", better: "more", bar, peerName: "raw O_DSYNC", ...samples })];
}

type Writer = AsyncDisposable & {
  /** Durable writes a second, over one turn. */
  rate(): Promise<number>;
};

async function startStore(directory: string): Promise<Writer> {
  const storage = await openFileLogStorage({ directory });
  let index = 0;
  const data = new Uint8Array(valueBytes).fill(120);
  return {
    rate: () =>
      rateOf(async () => {
        index += 1;
        const entry: Entry = { index, term: 1, kind: "normal", data };
        await storage.save({ entries: [entry] });
      }),
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
    rate: () =>
      rateOf(async () => {
        if (offset + frameBytes > rawFileBytes) offset = 0;
        await writeAt(descriptor, data, offset);
        offset += frameBytes;
      }),
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

async function rateOf(append: () => Promise<void>): Promise<number> {
  const startMs = performance.now();
  let count = 0;
  let tookMs = 0;
  while (tookMs < turnMs) {
    await append();
    count += 1;
    tookMs = performance.now() - startMs;
  }
  return (count / tookMs) * 1_000;
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
