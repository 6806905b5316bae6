import type { NodeId } from "../../../src/kernel/index.ts";
import type { Entry, MemberProgress } from "../../../src/raft/index.ts";
import { showEntry } from "./trace.ts";

/** The promises that no scenario may show broken, whatever its expected trace says. */
export class SafetyChecks {
  readonly #leaders = new Map<number, NodeId>();
  readonly #committed = new Map<number, string>();

  /** §5.2: at most one leader in a term. */
  leads(node: NodeId, term: number): void {
    const other = this.#leaders.get(term);
    if (other !== undefined && other !== node) {
      throw new Error(`nodes ${other} and ${node} both lead term ${term}`);
    }
    this.#leaders.set(term, node);
  }

  /** §5.4.3: all apply the same entry at an index. */
  committed(entry: Entry): void {
    const shown = showEntry(entry);
    const other = this.#committed.get(entry.index);
    if (other !== undefined && other !== shown) {
      throw new Error(`both ${other} and ${shown} are applied at index ${entry.index}`);
    }
    this.#committed.set(entry.index, shown);
  }

  /** What is sent next is beyond what matches (raft #149). */
  progresses(members: readonly MemberProgress[]): void {
    for (const { node, matchIndex, nextIndex } of members) {
      if (nextIndex <= matchIndex) throw new Error(`next ${nextIndex} of node ${node} matches`);
    }
  }
}
