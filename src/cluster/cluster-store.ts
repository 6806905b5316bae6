import { assert, Cell, type ReadableCell } from "../kernel/index.ts";
import { apply, applyUnreadable } from "./apply.ts";
import { type ClusterState, emptyClusterState } from "./cluster-state.ts";
import type { Command, Outcome } from "./command.ts";
import { decodeCommand, encodeCommand } from "./command-codec.ts";
import type { CommandLog, StateMachine } from "./ports.ts";
import { decodeState, encodeState } from "./snapshot.ts";
import { DigestTrail, type StateDigest } from "./state-digest.ts";

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

  apply({ index, data }: { readonly index: number; readonly data: Uint8Array }): void {
    const before = this.#state.get();
    assert(index > before.index, `entry ${index} comes after the applied ${before.index}`);
    const command = decodeCommand(data);
    const { state, outcome } =
      command === undefined ? applyUnreadable(before, index) : apply(before, index, command);
    this.#outcomes.set(index, outcome);
    if (this.#outcomes.size > maxRememberedOutcomes) {
      const oldest = this.#outcomes.keys().next();
      if (!oldest.done) this.#outcomes.delete(oldest.value);
    }
    this.#digests.applied({ index, bytes: data.byteLength }, () => encodeState(state));
    this.#state.set(state);
  }

  snapshot(): Uint8Array {
    return encodeState(this.#state.get(), this.#digests.store());
  }

  restore(snapshot: Uint8Array, index: number): void {
    this.#outcomes.clear();
    const { state, digest } = decodeState(snapshot);
    this.#digests.restore(digest);
    this.#state.set({ ...state, index });
  }

  /**
   * Proposes `command` and resolves with what came of it, once this node has applied it.
   * @throws CodedError `no_quorum` from the log.
   */
  async submit(
    log: CommandLog,
    command: Command,
    { signal }: { readonly signal: AbortSignal },
  ): Promise<Outcome> {
    const index = await log.propose(encodeCommand(command), { signal });
    const outcome = this.#outcomes.get(index);
    // A snapshot can overtake the entry: it was agreed, but its outcome was never computed here.
    return (
      outcome ?? {
        kind: "rejected",
        code: "conflict",
        message: "The command was applied, but its outcome is no longer known. Look at the state.",
      }
    );
  }
}
