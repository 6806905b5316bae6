import { type NodeId, nodeId, seededRandom } from "../../src/kernel/index.ts";
import { encodeConfiguration, simpleConfiguration } from "../../src/raft/configuration.ts";
import type { Entry } from "../../src/raft/index.ts";
import { MemoryLogStorage, Raft } from "../../src/raft/index.ts";
import type { Message, Outgoing } from "../../src/raft/message.ts";
import type { CommitAnnouncement } from "../../src/raft/raft-state.ts";
import type { Ready } from "../../src/raft/ready.ts";
import { defaultRaftLimits, type RaftLimits } from "../../src/raft/timing.ts";

export const timing = { tickMs: 1, heartbeatTicks: 1, electionTicks: 10 };

export type CoreNode = {
  readonly id: NodeId;
  readonly storage: MemoryLogStorage;
  raft: Raft;
  readonly applied: Entry[];
  readonly reads: number[];
  /** Writes that the test lets finish itself. */
  holdsWrites: boolean;
  heldWrite: Ready | undefined;
};

/** Several cores, messages that wait until the test delivers them, and disks that obey. */
export class CoreCluster {
  readonly nodes = new Map<NodeId, CoreNode>();
  waiting: (Outgoing & { readonly from: NodeId })[] = [];
  readonly #limits: RaftLimits;
  readonly #announcement: CommitAnnouncement;

  constructor({
    voters,
    others = [],
    logs = {},
    limits = {},
    announcement = "at_once",
  }: {
    readonly voters: readonly string[];
    readonly others?: readonly string[];
    /** The terms of the entries that follow the configuration at index 1. */
    readonly logs?: Readonly<Record<string, readonly number[]>>;
    readonly limits?: Partial<RaftLimits>;
    readonly announcement?: CommitAnnouncement;
  }) {
    this.#limits = { ...defaultRaftLimits, ...limits };
    this.#announcement = announcement;
    const configuration = simpleConfiguration({ voters: voters.map(nodeId), learners: [] });
    const data = encodeConfiguration(configuration);
    for (const name of [...voters, ...others]) {
      const storage = new MemoryLogStorage();
      if (voters.includes(name)) {
        const terms = logs[name] ?? [];
        const entries: Entry[] = terms.map((term, position) => ({
          index: position + 2,
          term,
          kind: "normal",
          data: Buffer.from(`${term}@${position + 2}`),
        }));
        const first: Entry = { index: 1, term: 1, kind: "configuration", data };
        const term = Math.max(1, ...terms);
        storage.saveNow({
          hardState: { term, vote: undefined, commitIndex: 1 },
          entries: [first, ...entries],
        });
      }
      this.#add(nodeId(name), storage);
    }
  }

  node(name: string): CoreNode {
    const node = this.nodes.get(nodeId(name));
    if (node === undefined) throw new Error(`no node ${name}`);
    return node;
  }

  raft(name: string): Raft {
    return this.node(name).raft;
  }

  /** Loses what is in memory; the disk stays. */
  restart(name: string): void {
    const { id, storage } = this.node(name);
    this.#add(id, storage);
  }

  /** Performs what a core wants; its messages wait. */
  drain(name: string): void {
    const node = this.node(name);
    for (let ready = node.raft.takeReady(); ready; ready = node.raft.takeReady()) {
      this.#collect(node.id, ready.send);
      for (const { to, term } of ready.sendSnapshots) {
        const snapshot = node.storage.snapshotNow();
        if (snapshot === undefined) continue;
        this.#collect(node.id, [{ to, message: { kind: "snapshot_request", term, ...snapshot } }]);
      }
      for (const entry of ready.apply) {
        node.applied.push(entry);
        node.raft.applied(entry.index);
      }
      node.reads.push(...ready.reads.map(({ index }) => index));
      if (ready.persist === undefined) continue;
      node.heldWrite = ready;
      if (!node.holdsWrites) this.finishWrite(name);
    }
  }

  finishWrite(name: string): void {
    const node = this.node(name);
    const ready = node.heldWrite;
    if (ready?.persist === undefined) throw new Error(`${name} writes nothing`);
    node.heldWrite = undefined;
    const { snapshot, hardState, entries } = ready.persist;
    if (snapshot !== undefined) node.storage.saveSnapshotNow(snapshot.meta, snapshot.data);
    node.storage.saveNow(hardState === undefined ? { entries } : { hardState, entries });
    node.raft.persisted();
    this.#collect(node.id, ready.sendAfterPersist);
  }

  step(name: string, from: string, message: Message): void {
    this.raft(name).step(nodeId(from), message);
    this.drain(name);
  }

  tick(name: string, count = 1): void {
    for (let ticked = 0; ticked < count; ticked += 1) {
      this.raft(name).tick();
      this.drain(name);
    }
  }

  /** Delivers until nothing waits; `keep` says which messages arrive. */
  deliver(keep: (outgoing: Outgoing & { readonly from: NodeId }) => boolean = () => true): void {
    for (let round = 0; this.waiting.length > 0; round += 1) {
      if (round > 1_000) throw new Error("the cluster does not come to rest");
      const batch = this.waiting;
      this.waiting = [];
      for (const outgoing of batch) {
        const node = this.nodes.get(outgoing.to);
        if (node === undefined || !keep(outgoing)) continue;
        node.raft.step(outgoing.from, outgoing.message);
        this.drain(node.id);
      }
    }
  }

  /** Lets time pass for one node until it leads. */
  elect(name: string): void {
    for (let ticks = 0; ticks < 100 && this.raft(name).role !== "leader"; ticks += 1) {
      this.tick(name);
      this.deliver();
    }
    if (this.raft(name).role !== "leader") throw new Error(`${name} does not win`);
    this.deliver();
  }

  propose(name: string, ...texts: readonly string[]) {
    const result = this.raft(name).propose(texts.map((text) => Buffer.from(text)));
    this.drain(name);
    return result;
  }

  /** Takes what waits, so that a test looks at it. */
  take(): readonly (Outgoing & { readonly from: NodeId })[] {
    return this.waiting.splice(0);
  }

  texts(name: string): readonly string[] {
    return this.node(name)
      .applied.filter(({ kind }) => kind === "normal")
      .map(({ data }) => Buffer.from(data).toString());
  }

  terms(name: string): readonly (number | undefined)[] {
    const raft = this.raft(name);
    return Array.from({ length: raft.lastIndex }, (_, position) => raft.termAt(position + 1));
  }

  #collect(from: NodeId, outgoing: readonly Outgoing[]): void {
    this.waiting.push(...outgoing.map((each) => ({ ...each, from })));
  }

  #add(id: NodeId, storage: MemoryLogStorage): void {
    const raft = new Raft({
      self: id,
      storage,
      random: seededRandom(Number.parseInt(Buffer.from(id).toString("hex"), 16) % 1_000),
      timing,
      appliedIndex: storage.snapshotMeta()?.index ?? 0,
      limits: this.#limits,
      announcement: this.#announcement,
    });
    const fresh = { applied: [], reads: [], holdsWrites: false, heldWrite: undefined };
    this.nodes.set(id, { id, storage, raft, ...fresh });
    this.drain(id);
  }
}
