import type { NodeId } from "../../src/kernel/index.ts";
import { AppliedProposals } from "../../src/raft/applied-proposals.ts";
import { decodeConfiguration } from "../../src/raft/configuration.ts";
import type { Configuration, LogStorage, RaftStatus } from "../../src/raft/index.ts";
import type { Snapshot } from "../../src/raft/raft-log.ts";
import { idOf, valueIn, WrittenState } from "./written-state.ts";

/** One write as the first node applied it: all others do the same. */
type Written = { readonly index: number; readonly value: number; readonly digest: number };

const maxRemembered = 8;

/** The log of one node as far as it is durable now. */
export type Durable = Pick<
  LogStorage,
  "hardState" | "firstIndex" | "lastIndex" | "term" | "entries" | "snapshotMeta"
>;

/** What must always hold of everybody together: it is compared with what was seen first. */
export class Checker {
  readonly #violated: (text: string) => void;
  readonly #snapshotBytes: number;
  readonly #written: Written[] = [];
  /** Positions in `#written`. */
  readonly #positions = new Map<number, number>();
  readonly #votes = new Map<string, NodeId>();
  readonly #leaders = new Map<number, NodeId>();
  /** In force at the index of a snapshot, as its maker's log says. */
  readonly #configurations = new Map<number, string>();
  /** Of the snapshots that were right, the last ones: most come again. */
  readonly #right = new Map<number, Uint8Array>();
  /** No write that is not known yet stands up to here. */
  #settledIndex = 0;

  constructor(options: {
    readonly violated: (text: string) => void;
    readonly snapshotBytes: number;
  }) {
    this.#violated = options.violated;
    this.#snapshotBytes = options.snapshotBytes;
  }

  /** Of the newest write that anybody has applied. */
  get lastIndex(): number {
    return this.#written.at(-1)?.index ?? 0;
  }

  get writes(): number {
    return this.#written.length;
  }

  get terms(): number {
    return this.#leaders.size;
  }

  indexOf(value: number): number | undefined {
    const position = this.#positions.get(value);
    return position === undefined ? undefined : this.#written[position]?.index;
  }

  /** A node's state machine has just applied a write. */
  applied(node: NodeId, { count, index, digest }: WrittenState, command: Uint8Array): void {
    const value = valueIn(command);
    const position = count - 1;
    const known = this.#written[position];
    if (known !== undefined) {
      if (known.index !== index || known.digest !== digest) {
        const was = `write ${known.value} at ${known.index}`;
        this.#violated(`${node} applies write ${value} at ${index}, another one ${was}`);
      }
      return;
    }
    const earlier = this.indexOf(value);
    if (earlier !== undefined) {
      this.#violated(`${node} applies write ${value} again at ${index}, after ${earlier}`);
    }
    if (index <= Math.max(this.#settledIndex, this.lastIndex)) {
      this.#violated(`${node} applies write ${value} at ${index}, which others passed without it`);
    }
    this.#positions.set(value, position);
    this.#written.push({ index, value, digest });
  }

  /** A node says that it leads, or acts so. */
  leads(node: NodeId, term: number): void {
    const known = this.#leaders.get(term);
    if (known === node) return;
    if (known !== undefined) this.#violated(`${known} and ${node} both lead term ${term}`);
    this.#leaders.set(term, node);
  }

  votes(node: NodeId, term: number, candidate: NodeId): void {
    const key = `${node} ${term}`;
    const earlier = this.#votes.get(key) ?? candidate;
    if (earlier !== candidate) {
      this.#violated(`${node} votes for ${candidate} in term ${term}, after one for ${earlier}`);
    }
    this.#votes.set(key, candidate);
  }

  /** The status of one life of a node. */
  statusChanged(node: NodeId, old: RaftStatus, status: RaftStatus): void {
    if (status.leader === node) this.leads(node, status.term);
    const { term, commitIndex, appliedIndex } = status;
    if (term < old.term || commitIndex < old.commitIndex || appliedIndex < old.appliedIndex) {
      this.#violated(`${node} went back, from ${told(old)} to ${told(status)}`);
    }
    if (appliedIndex > commitIndex) this.#violated(`${node} applied what is open: ${told(status)}`);
  }

  /**
   * The state that a snapshot holds is the one at its index, with the table of what was applied.
   * Gives what is wrong.
   */
  problemOf({ meta, data }: Snapshot): string | undefined {
    const right = this.#right.get(meta.index);
    if (right !== undefined && Buffer.compare(right, data) === 0) return undefined;
    const applied = new AppliedProposals();
    const state = new WrittenState(this.#snapshotBytes);
    let bytes: Uint8Array;
    try {
      bytes = applied.restore(data);
      state.restore(bytes, meta.index);
    } catch (error) {
      return `is unreadable: ${String(error)}`;
    }
    const { count } = state;
    const last = this.#written[count - 1];
    const next = this.#written[count];
    if (count > this.#written.length || (last?.index ?? 0) > meta.index) {
      return "has writes that are not at or before its index";
    }
    if (next !== undefined && next.index <= meta.index) {
      return `lacks write ${next.value} at ${next.index}`;
    }
    if ((last?.digest ?? 0) !== state.digest) return "has another state than the one at its index";
    if (!state.isEncodedAs(bytes)) return "has bytes of another one";
    const missing = this.#written
      .slice(0, count)
      .find(({ value, index }) => applied.indexOf(idOf(value)) !== index);
    if (missing !== undefined) return `does not say that write ${missing.value} is applied`;
    if (count === this.#written.length) {
      this.#settledIndex = Math.max(this.#settledIndex, meta.index);
    }
    this.#remember({ meta, data });
    return undefined;
  }

  #remember({ meta, data }: Snapshot): void {
    this.#right.set(meta.index, data);
    const [oldest] = this.#right.keys();
    if (this.#right.size > maxRemembered && oldest !== undefined) this.#right.delete(oldest);
  }

  /** What is wrong with the configuration of a snapshot that a node is about to write. */
  problemOfConfiguration({ meta }: Snapshot, log: Durable): string | undefined {
    const named = nameOf(meta.configuration);
    const known = this.#configurations.get(meta.index);
    const right = known ?? configurationIn(log, meta.index);
    if (right === undefined) return "comes from nobody who had one";
    this.#configurations.set(meta.index, right);
    return right === named ? undefined : `has the members ${named} instead of ${right}`;
  }
}

/** What the log of a node says of its own index; undefined when it does not reach there. */
function configurationIn(log: Durable, index: number): string | undefined {
  if (log.lastIndex() < index) return undefined;
  const from = log.firstIndex();
  const entries =
    from > index ? [] : log.entries({ from, to: index, maxBytes: Number.POSITIVE_INFINITY });
  const last = entries.findLast(({ kind }) => kind === "configuration");
  const before = log.snapshotMeta()?.configuration;
  if (last !== undefined) return nameOf(decodeConfiguration(last.data));
  return before === undefined ? undefined : nameOf(before);
}

function nameOf({ voters, votersOutgoing, learners, learnersNext }: Configuration): string {
  return [voters, votersOutgoing, learners, learnersNext].map((nodes) => nodes.join(",")).join("/");
}

function told({ term, commitIndex, appliedIndex }: RaftStatus): string {
  return `term ${term}, commit ${commitIndex}, applied ${appliedIndex}`;
}
