import type { NodeId } from "../../src/kernel/index.ts";
import type { Entry, HardState } from "../../src/raft/log-storage.ts";
import type { Message } from "../../src/raft/message.ts";
import type { Raft } from "../../src/raft/raft.ts";
import type { Persist } from "../../src/raft/ready.ts";

/** A safety or liveness property did not hold. */
export class Violation extends Error {}

type Committed = { readonly term: number; readonly seenInTerm: number; entry?: Entry };
type Written = { readonly entry: Entry; previousTerm: number | undefined };

/** What must always hold, checked against one log that nobody in the world can see. */
export class Checker {
  readonly #committed: Committed[] = [];
  readonly #leaders = new Map<number, NodeId>();
  readonly #votes = new Map<string, NodeId>();
  readonly #written = new Map<number, Written>();
  readonly #hardStates = new Map<NodeId, HardState>();
  readonly #commitIndexes = new Map<NodeId, number>();
  readonly #digests: number[] = [0];
  readonly #effects = new Map<string, number>();
  readonly #acknowledged = new Map<string, number>();

  get highestCommit(): number {
    return this.#committed.length;
  }

  get acknowledged(): ReadonlyMap<string, number> {
    return this.#acknowledged;
  }

  /** After every step of a node: election safety, leader completeness, commit safety. */
  checkNode(node: NodeId, raft: Raft): void {
    if (raft.role === "leader") this.#checkLeader(node, raft);
    const { commitIndex } = raft;
    const from = this.#commitIndexes.get(node) ?? 0;
    if (commitIndex === from) return;
    if (commitIndex > raft.lastIndex) throw new Violation(`${node} committed beyond its log`);
    for (let index = from + 1; index <= commitIndex; index += 1) {
      const term = raft.termAt(index);
      if (term === undefined) continue; // In a snapshot, whose digest is checked.
      const known = this.#committed[index - 1];
      if (known === undefined) {
        if (index !== this.#committed.length + 1) throw new Violation(`commit gap at ${index}`);
        this.#committed.push({ term, seenInTerm: raft.term });
      } else if (known.term !== term) {
        throw new Violation(`commit safety: ${node} has another entry ${index} than was committed`);
      }
    }
    this.#commitIndexes.set(node, commitIndex);
  }

  /** A node came back from its disk, where the commit index may be older. */
  restarted(node: NodeId): void {
    this.#commitIndexes.delete(node);
  }

  checkMessage(from: NodeId, to: NodeId, message: Message): void {
    if (message.kind === "vote_request") this.#checkCandidacy(from, message.term);
    if (message.kind !== "vote_response" || !message.isGranted) return;
    const key = `${from} ${message.term}`;
    const earlier = this.#votes.get(key);
    if (earlier !== undefined && earlier !== to) {
      throw new Violation(`one vote a term: ${from} voted twice in term ${message.term}`);
    }
    this.#votes.set(key, to);
  }

  /**
   * What a node wants written: its term and vote never go back, and where two logs have an
   * entry of one index and term, it is the same, as is everything before it (log matching).
   */
  checkPersist(node: NodeId, { hardState, entries }: Persist, raft: Raft): void {
    if (hardState !== undefined) {
      const earlier = this.#hardStates.get(node);
      const { term, vote } = hardState;
      if (term < (earlier?.term ?? 0)) throw new Violation(`${node} went back to term ${term}`);
      const isVoteOpen = earlier?.vote === undefined || earlier.term < term;
      if (!isVoteOpen && vote !== earlier.vote) throw new Violation(`${node} changed its vote`);
    }
    const first = entries[0];
    if (first === undefined) return;
    let previousTerm = raft.termAt(first.index - 1);
    for (const entry of entries) {
      this.#checkWritten(node, entry, previousTerm);
      previousTerm = entry.term;
    }
  }

  /** The node was told that it is on disk. */
  persisted(node: NodeId, { hardState }: Persist): void {
    if (hardState !== undefined) this.#hardStates.set(node, hardState);
  }

  /** State machine safety: everybody applies the same at the same index. */
  checkApplied(node: NodeId, entry: Entry, digest: number): void {
    const { index } = entry;
    const known = this.#committed[index - 1];
    if (known === undefined) throw new Violation(`${node} applied ${index}, not committed`);
    known.entry ??= entry;
    if (!isSameEntry(known.entry, entry) || known.term !== entry.term) {
      throw new Violation(`state machine safety: ${node} applied another entry at ${index}`);
    }
    this.#checkDigest(node, index, digest);
  }

  /** A proposal changed the state, which it must do once only, at one index for all. */
  checkEffect(node: NodeId, id: string, index: number): void {
    const earlier = this.#effects.get(id) ?? index;
    if (earlier !== index) {
      throw new Violation(`applied once: ${node} applied ${id} at ${index} and ${earlier}`);
    }
    this.#effects.set(id, index);
  }

  checkRestored(node: NodeId, index: number, digest: number): void {
    if (index > this.#committed.length) throw new Violation(`${node} restored ${index}`);
    this.#checkDigest(node, index, digest);
  }

  /** A client was told that its proposal is applied at an index. */
  acknowledge(node: NodeId, id: string, index: number): void {
    if (index > this.#committed.length) {
      throw new Violation(`${node} acknowledged ${id} at ${index}, which is not committed`);
    }
    const effect = this.#effects.get(id);
    if (effect !== undefined && effect !== index) {
      throw new Violation(`${node} acknowledged ${id} at ${index}, but it is at ${effect}`);
    }
    this.#acknowledged.set(id, index);
  }

  /** At the end: nothing acknowledged is lost, as far as the node has come. */
  checkAcknowledged(
    node: NodeId,
    appliedIndex: number,
    indexOf: (id: string) => number | undefined,
  ): void {
    for (const [id, index] of this.#acknowledged) {
      if (index > appliedIndex || indexOf(id) === index) continue;
      throw new Violation(`lost: ${id} was acknowledged at ${index}, ${node} has it not`);
    }
  }

  /** A read must cover all that was committed anywhere when it began. */
  checkRead(node: NodeId, { index, began }: { readonly index: number; readonly began: number }) {
    if (index < began) throw new Violation(`stale read: ${node} answered ${index} below ${began}`);
  }

  /**
   * A candidacy that a crash takes back could be repeated with a shorter log, and count the votes
   * that were given to the longer one: rare enough to be checked where it begins.
   */
  #checkCandidacy(node: NodeId, term: number): void {
    const durable = this.#hardStates.get(node);
    if (durable?.term === term && durable.vote === node) return;
    if (durable !== undefined && durable.term > term) return;
    throw new Violation(`figure 2: ${node} asks for votes in term ${term} before that is on disk`);
  }

  #checkLeader(node: NodeId, raft: Raft): void {
    const known = this.#leaders.get(raft.term);
    if (known === node) return;
    if (known !== undefined) {
      throw new Violation(`election safety: ${known} and ${node} lead term ${raft.term}`);
    }
    this.#leaders.set(raft.term, node);
    this.#committed.forEach(({ term, seenInTerm }, position) => {
      const own = raft.termAt(position + 1);
      const isCompacted = own === undefined && position < raft.commitIndex;
      if (seenInTerm >= raft.term || own === term || isCompacted) return;
      throw new Violation(`leader completeness: ${node} leads without entry ${position + 1}`);
    });
  }

  #checkWritten(node: NodeId, entry: Entry, previousTerm: number | undefined): void {
    const key = entry.term * 2 ** 24 + entry.index;
    const known = this.#written.get(key);
    if (known === undefined) {
      this.#written.set(key, { entry, previousTerm });
      return;
    }
    const isSameBefore =
      previousTerm === undefined ||
      known.previousTerm === undefined ||
      previousTerm === known.previousTerm;
    if (!isSameBefore || !isSameEntry(known.entry, entry)) {
      const name = `${entry.index} of term ${entry.term}`;
      throw new Violation(`log matching: ${node} has another entry ${name} than somebody else`);
    }
    known.previousTerm ??= previousTerm;
  }

  #checkDigest(node: NodeId, index: number, digest: number): void {
    this.#digests[index] ??= digest;
    if (this.#digests[index] !== digest) {
      throw new Violation(`state machine safety: the state at ${index} differs on ${node}`);
    }
  }
}

function isSameEntry(left: Entry, right: Entry): boolean {
  if (left === right) return true;
  return left.kind === right.kind && Buffer.compare(left.data, right.data) === 0;
}
