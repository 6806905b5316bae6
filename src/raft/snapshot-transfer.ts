import { type Clock, type Logger, messageOf, type NodeId } from "../kernel/index.ts";
import { withDeadline } from "./deadline.ts";
import type { EntryId } from "./log-storage.ts";
import type { SnapshotOffer } from "./message.ts";
import { decodeLeaderAnswer, encodeExchange, type LeaderAnswer } from "./proposal.ts";
import { RaftError } from "./raft-error.ts";
import type { Snapshot } from "./raft-log.ts";
import type { RaftTransport } from "./transport.ts";

/** Of one answer; a request and its answer take at most 1 MiB. */
export const snapshotChunkBytes = 512 * 2 ** 10;
/** A snapshot is held in memory while it is taken in, so a larger one is refused. */
export const maxSnapshotBytes = 512 * 2 ** 20;
/** So that a snapshot on its way does not hold up the log's own messages. */
const bytesPerSecond = 64 * 2 ** 20;
const firstBackoffMs = 50;
const maxBackoffMs = 2_000;
/** So many failures in a row end a transfer; the leader's next offer goes on from there. */
const maxFailures = 10;
/** A snapshot that nobody asked for so long is let go of. */
const keptMs = 10_000;

/**
 * The sender's end: serves a snapshot piece by piece, and reads it only once for many. What
 * somebody fetches stays on offer although there is a newer one, as long as the log goes on from
 * it: else whoever fetches more slowly than snapshots are made would never come to an end.
 */
export class SnapshotSource {
  readonly #load: () => Promise<Snapshot | undefined>;
  readonly #clock: Clock;
  #held: Promise<Snapshot | undefined> | undefined;
  #usedAtMs = 0;
  #fetched: { readonly index: number; readonly atMs: number } | undefined;

  constructor({
    load,
    clock,
  }: {
    readonly load: () => Promise<Snapshot | undefined>;
    readonly clock: Clock;
  }) {
    this.#load = load;
    this.#clock = clock;
  }

  /** The index of the snapshot that somebody is fetching. */
  get fetchedIndex(): number | undefined {
    const { index, atMs } = this.#fetched ?? { index: undefined, atMs: 0 };
    return this.#clock.monotonic() - atMs > keptMs ? undefined : index;
  }

  /** What somebody is offered who needs what stands before `firstIndex`; the newest, as a rule. */
  async offered(log: {
    readonly newest: EntryId | undefined;
    readonly firstIndex: number;
  }): Promise<Snapshot | undefined> {
    this.#usedAtMs = this.#clock.monotonic();
    const pending = this.#held;
    const index = (await pending)?.meta.index;
    const isFetched = index !== undefined && index === this.fetchedIndex;
    if (isFetched && index >= log.firstIndex) return await pending;
    if (index === log.newest?.index) return await pending;
    // Another asker may have begun to read it meanwhile.
    return await (this.#held === pending ? this.#newest() : this.offered(log));
  }

  /** Refused when what is asked for is no longer on offer: another offer will follow. */
  async chunk(id: EntryId, offset: number): Promise<LeaderAnswer> {
    this.#usedAtMs = this.#clock.monotonic();
    // Nothing is read again for what somebody asks for: others may be fetching what is held.
    const snapshot = await (this.#held ?? this.#newest());
    if (snapshot?.meta.index !== id.index || snapshot.meta.term !== id.term) {
      return { kind: "refused" };
    }
    this.#noteFetched(snapshot);
    return { kind: "chunk", data: snapshot.data.subarray(offset, offset + snapshotChunkBytes) };
  }

  tick(): void {
    if (this.#clock.monotonic() - this.#usedAtMs > keptMs) this.#held = undefined;
  }

  #newest(): Promise<Snapshot | undefined> {
    this.#held = this.#load().then((snapshot) => {
      // Somebody asked for it, and will fetch it.
      if (snapshot !== undefined) this.#noteFetched(snapshot);
      return snapshot;
    });
    return this.#held;
  }

  #noteFetched({ meta }: Snapshot): void {
    this.#fetched = { index: meta.index, atMs: this.#clock.monotonic() };
  }
}

type Transfer = {
  readonly from: NodeId;
  readonly offer: SnapshotOffer;
  readonly data: Uint8Array;
  receivedBytes: number;
};

export type SnapshotReceiverOptions = {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  readonly attemptMs: number;
  readonly request: RaftTransport["request"];
  /** Throws when the data is no state that this node can take over. */
  readonly check?: (data: Uint8Array) => void;
  readonly onSnapshot: (from: NodeId, term: number, snapshot: Snapshot) => void;
  /** An offer was refused, or its transfer given up. */
  readonly onFailed?: (error: unknown) => void;
};

/**
 * The receiver's end: fetches an offered snapshot in chunks, one after the other, not faster
 * than a fixed rate. A transfer that broke goes on where it was when the same node offers the
 * same snapshot again; any other offer takes its place.
 */
export class SnapshotReceiver {
  readonly #options: SnapshotReceiverOptions;
  #transfer: Transfer | undefined;
  #running = new AbortController();
  #isRunning = false;

  constructor(options: SnapshotReceiverOptions) {
    this.#options = options;
  }

  /** Takes in an offer. Never waits, and never rejects. */
  offer(from: NodeId, offer: SnapshotOffer): void {
    const { logger, signal, onFailed } = this.#options;
    if (offer.bytes > maxSnapshotBytes) {
      logger.error(
        { from, bytes: offer.bytes, maxSnapshotBytes },
        "snapshot is too large to take in, this node cannot catch up",
      );
      onFailed?.(new RaftError("too_large", `${from} has a snapshot of ${offer.bytes} bytes.`));
      return;
    }
    const present = this.#transfer;
    const isSame =
      present?.from === from &&
      present.offer.meta.index === offer.meta.index &&
      present.offer.meta.term === offer.meta.term &&
      present.offer.bytes === offer.bytes;
    if (isSame && this.#isRunning) return;
    this.#running.abort(new RaftError("stopped", "Another snapshot was offered."));
    this.#running = new AbortController();
    const transfer: Transfer = isSame
      ? { ...present, offer }
      : { from, offer, data: new Uint8Array(offer.bytes), receivedBytes: 0 };
    this.#transfer = transfer;
    this.#isRunning = true;
    void this.#run(transfer, AbortSignal.any([signal, this.#running.signal]));
  }

  async #run(transfer: Transfer, signal: AbortSignal): Promise<void> {
    const { logger, check, onSnapshot, onFailed } = this.#options;
    const { from, offer, data } = transfer;
    const { index } = offer.meta;
    logger.info({ from, index, bytes: data.byteLength }, "fetching a snapshot");
    try {
      while (transfer.receivedBytes < data.byteLength) await this.#fetchNext(transfer, signal);
    } catch (error) {
      if (signal.aborted) return;
      logger.warn({ from, index, error: messageOf(error) }, "snapshot not fetched");
      this.#isRunning = false;
      onFailed?.(error);
      return;
    }
    if (signal.aborted) return;
    this.#isRunning = false;
    this.#transfer = undefined;
    try {
      // What is on disk has to be read at every start, so nothing gets there that cannot be.
      check?.(data);
    } catch (error) {
      const text = "snapshot is unreadable here and not taken in; is this node's version too old?";
      logger.error({ from, index, error: messageOf(error) }, text);
      onFailed?.(error);
      return;
    }
    onSnapshot(from, offer.term, { meta: offer.meta, data });
  }

  /** One chunk, tried again with growing pauses. */
  async #fetchNext(transfer: Transfer, signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    for (let failures = 0; ; failures += 1) {
      try {
        const chunk = await this.#ask(transfer, signal);
        transfer.data.set(chunk, transfer.receivedBytes);
        transfer.receivedBytes += chunk.byteLength;
        await clock.sleep((chunk.byteLength / bytesPerSecond) * 1_000, { signal });
        return;
      } catch (error) {
        const isFinal = error instanceof RaftError && error.code === "not_leader";
        if (signal.aborted || isFinal || failures >= maxFailures) throw error;
        await clock.sleep(Math.min(firstBackoffMs * 2 ** failures, maxBackoffMs), { signal });
      }
    }
  }

  async #ask({ from, offer, data, receivedBytes }: Transfer, signal: AbortSignal) {
    const { clock, request, attemptMs } = this.#options;
    const { index, term } = offer.meta;
    const body = encodeExchange({ kind: "snapshot_chunk", index, term, offset: receivedBytes });
    const reason = new RaftError("no_quorum", `${from} did not answer in time.`);
    const answer = await withDeadline(clock, { timeoutMs: attemptMs, signal, reason }, (options) =>
      request(from, body, options),
    );
    const read = decodeLeaderAnswer(answer);
    if (read.kind !== "chunk") {
      throw new RaftError("not_leader", `${from} no longer has the snapshot at ${index}.`);
    }
    const isFitting =
      read.data.byteLength > 0 && receivedBytes + read.data.byteLength <= data.byteLength;
    if (!isFitting)
      throw new RaftError("malformed_message", `${from} sent a chunk that does not fit.`);
    return read.data;
  }
}
