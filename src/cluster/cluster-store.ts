import { assert, Cell, type ReadableCell } from "../kernel/index.ts";
import { apply, applyUnreadable } from "./apply.ts";
import { type ClusterState, emptyClusterState } from "./cluster-state.ts";
import type { Command, Outcome } from "./command.ts";
import { decodeEntry, encodeCommand } from "./command-codec.ts";
import { laterOutcome } from "./later-outcome.ts";
import type { CommandLog, StateMachine, SubmitOptions } from "./ports.ts";
import { decodeState, encodeState } from "./snapshot.ts";
import { DigestTrail, type StateDigest } from "./state-digest.ts";

/** One entry that was accepted, with what it changed. */
export type AppliedEntry = {
  readonly before: ClusterState;
  readonly after: ClusterState;
  readonly command: Command;
  /** The proposer's wall clock, ms; absent in entries from before it was noted. */
  readonly atMs?: number;
};

/** Is told what becomes of the state, at once and in the order of the log. Must not throw. */
export type StoreWitness = {
  applied(entry: AppliedEntry): void;
  /** The state was replaced by a newer one: what led there is not known. */
  restored(before: ClusterState, after: ClusterState): void;
  /** A snapshot of all up to this index is taken: the entries up to there may go. */
  snapshotTaken(index: number): void;
};

/** Outcomes are asked for right after they were applied; a few thousand are plenty. */
const maxRememberedOutcomes = 4_096;

/**
 * The agreed state on this node: what the log applies to, what readers follow, and the one
 * way to change it.
 */
export class ClusterStore implements StateMachine {
  readonly #state = new Cell<ClusterState>(emptyClusterState);
  readonly #outcomes = new Map<number, Outcome>();
  readonly #digests = new DigestTrail();
  #witness: StoreWitness | undefined;

  get state(): ReadableCell<ClusterState> {
    return this.#state;
  }

  /** The last digest of the state; every node with the same log has the same one. */
  get digest(): StateDigest | undefined {
    return this.#digests.last;
  }

  /** The digest taken at an index, to compare with another node's; only the last ones are known. */
  digestAt(index: number): number | undefined {
    return this.#digests.at(index);
  }

  /** From now on this one, and only this one, is told of what is applied. */
  tell(witness: StoreWitness): void {
    this.#witness = witness;
  }

  apply({ index, data }: { readonly index: number; readonly data: Uint8Array }): void {
    const before = this.#state.get();
    assert(index > before.index, `entry ${index} comes after the applied ${before.index}`);
    const entry = decodeEntry(data);
    const { state, outcome } =
      entry === undefined ? applyUnreadable(before, index) : apply(before, index, entry.command);
    this.#outcomes.set(index, outcome);
    if (this.#outcomes.size > maxRememberedOutcomes) {
      const oldest = this.#outcomes.keys().next();
      if (!oldest.done) this.#outcomes.delete(oldest.value);
    }
    this.#digests.applied({ index, bytes: data.byteLength }, () => encodeState(state));
    this.#state.set(state);
    if (entry !== undefined && outcome.kind === "accepted") {
      this.#witness?.applied({ before, after: state, ...entry });
    }
  }

  snapshot(): Uint8Array {
    this.#witness?.snapshotTaken(this.#state.get().index);
    return encodeState(this.#state.get(), this.#digests.store());
  }

  check(snapshot: Uint8Array): void {
    decodeState(snapshot);
  }

  restore(snapshot: Uint8Array, index: number): void {
    this.#outcomes.clear();
    const { state, digest } = decodeState(snapshot);
    this.#digests.restore(digest);
    const before = this.#state.get();
    this.#state.set({ ...state, index });
    this.#witness?.restored(before, this.#state.get());
  }

  /**
   * Proposes `command` and resolves with what came of it, once this node has applied it.
   * `atMs`: the wall clock now, for those who read the history.
   * @throws CodedError `no_quorum` from the log.
   */
  async submit(
    log: CommandLog,
    command: Command,
    { atMs, ...options }: SubmitOptions & { readonly atMs?: number },
  ): Promise<Outcome> {
    const index = await log.propose(encodeCommand(command, atMs), options);
    const outcome = this.#outcomes.get(index);
    // A snapshot can overtake the entry: it was agreed, but its outcome was never computed here.
    return (
      outcome ??
      laterOutcome(this.#state.get(), { command, index }) ?? {
        kind: "rejected",
        code: "conflict",
        message:
          "It was agreed while this node had lost touch, and what came of it cannot be told. Look whether things are as you want them: skein history, skein ls",
      }
    );
  }
}
