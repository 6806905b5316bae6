import { Packr } from "msgpackr";
import { z } from "zod";
import { assert } from "../kernel/index.ts";

/** A retry is recognised among so many later proposals; older ones are long given up. */
export const maxAppliedProposals = 8_192;

const packr = new Packr({ useRecords: false });
const snapshotSchema = z.tuple([
  z.literal(1),
  z.array(z.tuple([z.string(), z.int().nonnegative()])).max(maxAppliedProposals),
  z.instanceof(Uint8Array),
]);

/**
 * The ids of the proposals applied last, each with its index. Part of the replicated state:
 * it changes with the entries alone, and a snapshot keeps the order of forgetting.
 */
export class AppliedProposals {
  #order: string[] = [];
  readonly #indexes = new Map<string, number>();

  /** Where a proposal was applied. */
  indexOf(id: string): number | undefined {
    return this.#indexes.get(id);
  }

  add(id: string, index: number): void {
    this.#order.push(id);
    this.#indexes.set(id, index);
    const forgotten = this.#order.at(-1 - maxAppliedProposals);
    if (forgotten !== undefined) this.#indexes.delete(forgotten);
    // Cut now and then: to shift the whole list for every entry would be slow.
    if (this.#order.length >= 2 * maxAppliedProposals) {
      this.#order = this.#order.slice(-maxAppliedProposals);
    }
  }

  /** A snapshot: this table around the state machine's own bytes. */
  encode(state: Uint8Array): Uint8Array {
    const recent = this.#order.slice(-maxAppliedProposals);
    const table = recent.map((id) => [id, this.#indexes.get(id) ?? 0]);
    return new Uint8Array(packr.pack([1, table, state]));
  }

  /** Takes the table from a snapshot and gives the state machine's bytes. */
  restore(snapshot: Uint8Array): Uint8Array {
    const parsed = snapshotSchema.safeParse(packr.unpack(snapshot));
    assert(parsed.success, "a snapshot has a table of proposals and a state");
    const [, table, state] = parsed.data;
    this.#order = table.map(([id]) => id);
    this.#indexes.clear();
    for (const [id, index] of table) this.#indexes.set(id, index);
    return state;
  }
}
