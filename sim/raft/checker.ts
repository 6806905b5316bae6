import type { NodeId } from "../../src/kernel/index.ts";
import type { Entry } from "../../src/raft/log-storage.ts";
import type { Message } from "../../src/raft/message.ts";
import type { Raft } from "../../src/raft/raft.ts";

/** A safety or liveness property did not hold. */
export class Violation extends Error {}

type Committed = { readonly term: number; readonly seenInTerm: number; content?: string };

/** What must always hold, checked against one log that nobody in the world can see. */
export class Checker {
  readonly #committed: Committed[] = [];
  readonly #leaders = new Map<number, NodeId>();
  readonly #votes = new Map<string, NodeId>();
  readonly #commitIndexes = new Map<NodeId, number>();
  readonly #digests: number[] = [0];

  get highestCommit(): number {
    return this.#committed.length;
  }

  /** After every step of a node. */
  checkNode(node: NodeId, raft: Raft): void {
    if (raft.role === "leader") this.#checkLeader(node, raft);
    const from = this.#commitIndexes.get(node) ?? 0;
    if (raft.commitIndex > raft.lastIndex) throw new Violation(`${node} committed beyond its log`);
    for (let index = from + 1; index <= raft.commitIndex; index += 1) {
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
    this.#commitIndexes.set(node, raft.commitIndex);
  }

  /** A node came back from its disk, where the commit index may be older. */
  restarted(node: NodeId): void {
    this.#commitIndexes.delete(node);
  }

  checkMessage(from: NodeId, to: NodeId, message: Message): void {
    if (message.kind !== "vote_response" || !message.isGranted) return;
    const key = `${from} ${message.term}`;
    const earlier = this.#votes.get(key);
    if (earlier !== undefined && earlier !== to) {
      throw new Violation(`one vote a term: ${from} voted twice in term ${message.term}`);
    }
    this.#votes.set(key, to);
  }

  /** State machine safety: everybody applies the same at the same index. Gives the new digest. */
  checkApplied(node: NodeId, entry: Entry, digest: number): number {
    const { index, term, kind, data } = entry;
    const content = `${kind} ${Buffer.from(data).toString("hex")}`;
    const known = this.#committed[index - 1];
    if (known === undefined) throw new Violation(`${node} applied ${index}, not committed`);
    known.content ??= content;
    if (known.term !== term || known.content !== content) {
      throw new Violation(`state machine safety: ${node} applied another entry at ${index}`);
    }
    const next = digestOf(digest, content);
    this.#digests[index] ??= next;
    if (this.#digests[index] !== next) throw new Violation(`state at ${index} differs on ${node}`);
    return next;
  }

  checkRestored(node: NodeId, index: number, digest: number): void {
    if (this.#digests[index] !== digest) {
      throw new Violation(`${node} restored a snapshot at ${index} that nobody's state equals`);
    }
  }

  /** A read must cover all that was committed anywhere when it began. */
  checkRead(node: NodeId, { index, began }: { readonly index: number; readonly began: number }) {
    if (index < began) throw new Violation(`stale read: ${node} answered ${index} below ${began}`);
  }

  #checkLeader(node: NodeId, raft: Raft): void {
    const known = this.#leaders.get(raft.term);
    if (known === node) return;
    if (known !== undefined) {
      throw new Violation(`election safety: ${known} and ${node} lead term ${raft.term}`);
    }
    this.#leaders.set(raft.term, node);
    if (raft.role !== "leader") return;
    this.#committed.forEach(({ term, seenInTerm }, position) => {
      const own = raft.termAt(position + 1);
      const isCompacted = own === undefined && position < raft.commitIndex;
      if (seenInTerm >= raft.term || own === term || isCompacted) return;
      throw new Violation(`leader completeness: ${node} leads without entry ${position + 1}`);
    });
  }
}

function digestOf(digest: number, content: string): number {
  let next = digest;
  for (let at = 0; at < content.length; at += 1) {
    next = (Math.imul(next, 31) + content.charCodeAt(at)) >>> 0;
  }
  return next;
}
