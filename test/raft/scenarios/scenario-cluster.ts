import { type NodeId, nodeId, type Random } from "../../../src/kernel/index.ts";
import { encodeConfiguration, simpleConfiguration } from "../../../src/raft/configuration.ts";
import { type Entry, MemoryLogStorage, Raft } from "../../../src/raft/index.ts";
import type { Message } from "../../../src/raft/message.ts";
import type { Persist, Ready } from "../../../src/raft/ready.ts";
import { defaultRaftLimits, type RaftLimits } from "../../../src/raft/timing.ts";
import { SafetyChecks } from "./safety-checks.ts";
import { showConfiguration, showEntries, showId, showMessage, showPersist } from "./trace.ts";

export const timing = { tickMs: 1, heartbeatTicks: 1, electionTicks: 10 };

export type Envelope = { readonly from: NodeId; readonly to: NodeId; readonly message: Message };

type ScenarioNode = {
  readonly id: NodeId;
  readonly storage: MemoryLogStorage;
  raft: Raft;
  readonly timeouts: Timeouts;
  isUp: boolean;
  /** A write waits for `sync` when held; the applied index for `applied`. */
  holdsWrites: boolean;
  holdsApplies: boolean;
  heldWrite: Ready | undefined;
  handedOut: Entry[];
  /** The state machine: the texts applied so far, with their indexes. */
  applied: { readonly index: number; readonly text: string }[];
  shown: Shown;
};

type Shown = {
  readonly role: string;
  readonly configuration: string;
  readonly commitIndex: number;
};

export type StartLog = {
  readonly voters: readonly NodeId[];
  readonly learners: readonly NodeId[];
  /** Terms of the entries that follow the configuration at index 1. */
  readonly terms: readonly number[];
};

/**
 * Cores on disks and a network that do only what a script says, and the trace of what each
 * did. After every step the promises of Raft are checked, so that a wrong trace cannot be
 * recorded by mistake.
 */
export class ScenarioCluster {
  readonly #nodes = new Map<NodeId, ScenarioNode>();
  readonly #isolated = new Set<NodeId>();
  readonly #checks = new SafetyChecks();
  #limits: RaftLimits = defaultRaftLimits;
  #waiting: Envelope[] = [];
  #parked: Envelope[] = [];
  #trace: string[] = [];

  /** Takes what was traced since the last call. */
  takeTrace(): readonly string[] {
    return this.#trace.splice(0);
  }

  note(line: string): void {
    this.#trace.push(line);
  }

  limit(limits: Partial<RaftLimits>): void {
    this.#limits = { ...this.#limits, ...limits };
  }

  addNode(name: string, log: StartLog | undefined): void {
    const id = nodeId(name);
    const storage = new MemoryLogStorage();
    if (log !== undefined) {
      const { voters, learners, terms } = log;
      const data = encodeConfiguration(simpleConfiguration({ voters, learners }));
      const entries = terms.map(
        (term, position): Entry => ({
          index: position + 2,
          term,
          kind: "normal",
          data: Buffer.from(`t${term}i${position + 2}`),
        }),
      );
      storage.saveNow({
        hardState: { term: Math.max(1, ...terms), vote: undefined, commitIndex: 1 },
        entries: [{ index: 1, term: 1, kind: "configuration", data }, ...entries],
      });
    }
    this.#start(id, storage);
  }

  get names(): readonly string[] {
    return [...this.#nodes.keys()];
  }

  raft(name: string): Raft {
    return this.#node(name).raft;
  }

  /** Performs a step on one node and traces what follows from it. */
  act(name: string, step: (raft: Raft) => void): void {
    const node = this.#node(name);
    if (!node.isUp) throw new Error(`node ${name} is down`);
    step(node.raft);
    this.#drain(node);
  }

  /** Ticks until the election timeout; a leader has the one after which it must have heard others. */
  tickElection(name: string): void {
    const node = this.#node(name);
    const { draws } = node.timeouts;
    for (let ticks = 0; ticks < 2 * timing.electionTicks; ticks += 1) {
      if (node.timeouts.draws !== draws) return;
      if (node.raft.role === "leader" && ticks === timing.electionTicks) return;
      this.act(name, (raft) => raft.tick());
    }
  }

  /** One round: what waits now and passes the filter arrives; answers wait for the next. */
  deliver(filter: (envelope: Envelope) => boolean): number {
    const batch = this.#take(filter);
    for (const envelope of batch) this.#arrive(envelope);
    return batch.length;
  }

  stabilize(filter: (envelope: Envelope) => boolean): void {
    for (let round = 0; this.deliver(filter) > 0; round += 1) {
      if (round > 200) throw new Error("the cluster does not come to rest");
    }
  }

  drop(filter: (envelope: Envelope) => boolean): void {
    for (const { from, to, message } of this.#take(filter)) {
      this.note(`${from} -> ${to} lost: ${showMessage(message)}`);
    }
  }

  /** Lays messages aside, so that they arrive late. */
  park(filter: (envelope: Envelope) => boolean): void {
    this.#parked.push(...this.#take(filter));
  }

  unpark(): void {
    this.#waiting.push(...this.#parked.splice(0));
  }

  duplicate(filter: (envelope: Envelope) => boolean): void {
    this.#waiting.push(...this.#waiting.filter(filter));
  }

  reverse(): void {
    this.#waiting.reverse();
  }

  isolate(name: string): void {
    this.#isolated.add(nodeId(name));
  }

  heal(): void {
    this.#isolated.clear();
  }

  hold(name: string, what: "writes" | "applies", isHeld: boolean): void {
    const node = this.#node(name);
    if (what === "writes") node.holdsWrites = isHeld;
    else node.holdsApplies = isHeld;
  }

  /** Lets the write that waits become durable. */
  sync(name: string): void {
    const node = this.#node(name);
    this.#finishWrite(node);
    this.#drain(node);
  }

  /** Lets the state machine finish what it was handed out. */
  finishApplies(name: string): void {
    const node = this.#node(name);
    for (const entry of node.handedOut.splice(0)) this.#apply(node, entry);
    this.#drain(node);
  }

  /** What is in memory is lost, and what was not synced. */
  crash(name: string): void {
    const node = this.#node(name);
    node.isUp = false;
    node.heldWrite = undefined;
    node.handedOut = [];
  }

  restart(name: string): void {
    const { id, storage } = this.#node(name);
    this.#start(id, storage);
  }

  /** A snapshot of what is applied at an index; the log keeps its last `keep` entries before it. */
  compact(name: string, index: number, keep: number): void {
    const { storage, raft, applied } = this.#node(name);
    const term = raft.termAt(index);
    if (term === undefined || raft.appliedIndex < index) throw new Error(`${index} is not applied`);
    const state = JSON.stringify(applied.filter((each) => each.index <= index));
    const configuration = raft.configurationAt(index);
    if (configuration.voters.length === 0) throw new Error(`the members at ${index} are forgotten`);
    storage.saveSnapshotNow({ index, term, configuration }, Buffer.from(state));
    storage.compactNow(index - keep);
    const meta = `${showId({ index, term })} ${showConfiguration(configuration)}`;
    this.note(`${name} snapshot ${meta}, log from ${storage.firstIndex()}`);
  }

  showLog(name: string): void {
    const { storage } = this.#node(name);
    const range = { from: storage.firstIndex(), to: storage.lastIndex(), maxBytes: 1e9 };
    const meta = storage.snapshotMeta();
    const snapshot = meta === undefined ? "" : ` snapshot=${showId(meta)}`;
    this.note(`${name} disk${snapshot} ${showEntries(storage.entries(range))}`);
  }

  showStatus(name: string): void {
    const { raft, applied } = this.#node(name);
    const { term, role, leader, commitIndex, appliedIndex, lastIndex } = raft;
    const where = `last=${lastIndex} commit=${commitIndex} applied=${appliedIndex}`;
    this.note(`${name} ${role} term=${term} leader=${leader ?? "-"} ${where}`);
    this.note(`  ${showConfiguration(raft.configuration)} state=[${texts(applied)}]`);
    for (const { node, state, matchIndex, nextIndex, isPaused } of raft.progress() ?? []) {
      if (node === name) continue;
      const paused = isPaused ? " paused" : "";
      this.note(`  ${node} ${state} match=${matchIndex} next=${nextIndex}${paused}`);
    }
  }

  #take(filter: (envelope: Envelope) => boolean): readonly Envelope[] {
    const taken: Envelope[] = [];
    const left: Envelope[] = [];
    for (const envelope of this.#waiting) (filter(envelope) ? taken : left).push(envelope);
    this.#waiting = left;
    return taken;
  }

  #node(name: string): ScenarioNode {
    const node = this.#nodes.get(nodeId(name));
    if (node === undefined) throw new Error(`there is no node ${name}`);
    return node;
  }

  #start(id: NodeId, storage: MemoryLogStorage): void {
    const snapshot = storage.snapshotNow();
    const timeouts = new Timeouts(id);
    const raft = new Raft({
      self: id,
      storage,
      random: timeouts,
      timing,
      appliedIndex: snapshot?.meta.index ?? 0,
      limits: this.#limits,
    });
    const node: ScenarioNode = {
      id,
      storage,
      raft,
      timeouts,
      isUp: true,
      holdsWrites: false,
      holdsApplies: false,
      heldWrite: undefined,
      handedOut: [],
      applied: snapshot === undefined ? [] : JSON.parse(Buffer.from(snapshot.data).toString()),
      shown: { role: "", configuration: "", commitIndex: 0 },
    };
    this.#nodes.set(id, node);
    this.#drain(node);
  }

  #arrive({ from, to, message }: Envelope): void {
    const node = this.#nodes.get(to);
    const isCut = this.#isolated.has(from) || this.#isolated.has(to);
    if (node?.isUp !== true || isCut) {
      this.note(`${from} -> ${to} lost: ${showMessage(message)}`);
      return;
    }
    this.note(`${to} <- ${from} ${showMessage(message)}`);
    node.raft.step(from, message);
    this.#drain(node);
  }

  #drain(node: ScenarioNode): void {
    this.#showChanges(node);
    for (let ready = node.raft.takeReady(); ready; ready = node.raft.takeReady()) {
      this.#perform(node, ready);
    }
  }

  #perform(node: ScenarioNode, ready: Ready): void {
    const { id, storage } = node;
    for (const { to, message } of ready.send) this.#send({ from: id, to, message });
    for (const { to, term } of ready.sendSnapshots) {
      const snapshot = storage.snapshotNow();
      if (snapshot === undefined) throw new Error(`${id} has no snapshot to send`);
      this.#send({ from: id, to, message: { kind: "snapshot_request", term, ...snapshot } });
    }
    for (const { context, index } of ready.reads) this.note(`  read ${context} at ${index}`);
    if (ready.apply.length > 0) this.note(`  apply ${showEntries(ready.apply)}`);
    for (const entry of ready.apply) {
      this.#checks.committed(entry);
      if (node.holdsApplies) node.handedOut.push(entry);
      else this.#apply(node, entry);
    }
    if (ready.persist === undefined) return;
    this.note(`  write ${showPersist(ready.persist)}${node.holdsWrites ? " (held)" : ""}`);
    node.heldWrite = ready;
    if (!node.holdsWrites) this.#finishWrite(node);
  }

  #finishWrite(node: ScenarioNode): void {
    const { id, heldWrite } = node;
    if (heldWrite?.persist === undefined) throw new Error(`node ${id} writes nothing`);
    node.heldWrite = undefined;
    if (node.holdsWrites) this.note(`${id} synced ${showPersist(heldWrite.persist)}`);
    this.#save(node, heldWrite.persist);
    node.raft.persisted();
    this.#showChanges(node);
    for (const { to, message } of heldWrite.sendAfterPersist) this.#send({ from: id, to, message });
  }

  #save(node: ScenarioNode, { snapshot, hardState, entries }: Persist): void {
    const { storage } = node;
    if (snapshot !== undefined) {
      storage.saveSnapshotNow(snapshot.meta, snapshot.data);
      node.applied = JSON.parse(Buffer.from(snapshot.data).toString());
      this.note(`  restore ${showId(snapshot.meta)} state=[${texts(node.applied)}]`);
    }
    storage.saveNow(hardState === undefined ? { entries } : { hardState, entries });
  }

  #apply(node: ScenarioNode, { index, kind, data }: Entry): void {
    if (kind === "normal") node.applied.push({ index, text: Buffer.from(data).toString() });
    node.raft.applied(index);
  }

  #send(envelope: Envelope): void {
    this.note(`  -> ${envelope.to} ${showMessage(envelope.message)}`);
    this.#waiting.push(envelope);
  }

  #showChanges(node: ScenarioNode): void {
    const { raft, id, shown } = node;
    const { role, term, leader, commitIndex } = raft;
    if (role === "leader") this.#checks.leads(id, term);
    this.#checks.progresses(raft.progress() ?? []);
    const following = leader === undefined ? "no leader" : `leader ${leader}`;
    const now: Shown = {
      role: role === "follower" ? `follower term=${term}, ${following}` : `${role} term=${term}`,
      configuration: showConfiguration(raft.configuration),
      commitIndex,
    };
    if (now.role !== shown.role) this.note(`  ${id} is ${now.role}`);
    if (now.configuration !== shown.configuration) {
      this.note(`  ${id} in ${now.configuration}`);
    }
    if (now.commitIndex !== shown.commitIndex) this.note(`  ${id} commit ${now.commitIndex}`);
    node.shown = now;
  }
}

function texts(applied: readonly { readonly text: string }[]): string {
  return applied.map(({ text }) => (text.length > 16 ? `${text.slice(0, 1)}...` : text)).join(" ");
}

/**
 * A fixed election timeout for each node, above the lease of `electionTicks`: 11 ticks for
 * node 1, 13 for 2, 15 for 3, and so on. Counts how often a timeout was drawn, that is, begun.
 */
class Timeouts implements Random {
  draws = 0;
  readonly #next: number;

  constructor(id: NodeId) {
    const extra = (2 * Number(id) - 1) % timing.electionTicks;
    this.#next = (extra + 0.5) / timing.electionTicks;
  }

  next(): number {
    this.draws += 1;
    return this.#next;
  }
}
