import { assert, Cell, type ReadableCell } from "../kernel/index.ts";
import { apply, applyUnreadable } from "./apply.ts";
import { type ClusterState, emptyClusterState } from "./cluster-state.ts";
import type { Command, Outcome } from "./command.ts";
import { decodeCommand, encodeCommand } from "./command-codec.ts";
import type { CommandLog, StateMachine } from "./ports.ts";
import { decodeState, encodeState } from "./snapshot.ts";

/** Outcomes are asked for right after they were applied; a few thousand are plenty. */
const maxRememberedOutcomes = 4_096;

/**
 * The agreed state on this node: what the log applies to, what readers follow, and the one
 * way to change it.
 */
export class ClusterStore implements StateMachine {
  readonly #state = new Cell<ClusterState>(emptyClusterState);
  readonly #outcomes = new Map<number, Outcome>();

  get state(): ReadableCell<ClusterState> {
    return this.#state;
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
    this.#state.set(state);
  }

  snapshot(): Uint8Array {
    return encodeState(this.#state.get());
  }

  restore(snapshot: Uint8Array, index: number): void {
    this.#outcomes.clear();
    this.#state.set({ ...decodeState(snapshot), index });
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
