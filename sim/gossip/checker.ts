import type { Gossip } from "../../src/gossip/index.ts";
import type { NodeId } from "../../src/kernel/index.ts";
import type { GossipCluster, SimNode } from "./cluster.ts";
import type { Swarm } from "./swarm.ts";

type Version = { readonly epoch: number; readonly version: number };

/** A newcomer learns who is there before its word counts, and before others' words on it do. */
const newcomerMs = 10_000;
/** Loops look from time to time, messages take their time. */
const slackMs = 1_500;

/** From silence until everybody has given a member up, with all that may have to be waited for. */
export function failedWithinMs({ timing }: Pick<Swarm, "timing">): number {
  const { silenceMs, pingIntervalMs, pingTimeoutMs, indirectTimeoutMs } = timing;
  const noticedMs = silenceMs + 2 * pingIntervalMs + pingTimeoutMs + indirectTimeoutMs;
  return noticedMs + timing.suspicionMaxMs + slackMs;
}

/** Watches what each node believes, at every change, against what was promised. */
export class Checker {
  changes = 0;
  readonly #cluster: GossipCluster;
  readonly #swarm: Swarm;
  readonly #note: (text: () => string) => void;

  constructor(
    cluster: GossipCluster,
    options: { readonly swarm: Swarm; readonly note: (text: () => string) => void },
  ) {
    this.#cluster = cluster;
    this.#swarm = options.swarm;
    this.#note = options.note;
  }

  /** Watches one life of a node. */
  watch(node: SimNode, gossip: Gossip): void {
    const own = gossip.members.get().get(node.id)?.incarnation ?? 0;
    if (own <= node.usedIncarnation) {
      this.#fail(`${node.id} uses incarnation ${own} in two lives`);
    }
    this.#watchMembers(node, gossip);
    this.#watchRecords(node, gossip);
  }

  /** Whether all running members believe the same, and the truth. */
  difference(): string | undefined {
    const running = this.#members();
    const newest = new Map<NodeId, string>();
    for (const { id, gossip } of running) {
      const own = gossip?.records.get().get(id);
      newest.set(id, own === undefined ? "nothing" : `${own.epoch}.${own.version}`);
    }
    for (const on of running) {
      const difference = this.#differenceOn(on, newest);
      if (difference !== undefined) return difference;
    }
    return undefined;
  }

  /** In a run without such faults, how a node's end shows with the others, in time. */
  expectKnownEnd(node: SimNode): void {
    if (this.#swarm.mood !== "calm") return;
    const { queue } = this.#cluster;
    const sinceMs = queue.now;
    queue.after(2 * failedWithinMs(this.#swarm), () => {
      if (node.state === "running" || (node.machine?.startedAtMs ?? 0) > sinceMs) return;
      for (const on of this.#members()) {
        const isOld = (on.machine?.startedAtMs ?? 0) < sinceMs - newcomerMs;
        const status = on.gossip?.members.get().get(node.id)?.status;
        if (!isOld || status === undefined || status === "failed" || status === "left") continue;
        this.#fail(`${on.id} still believes ${node.id} ${status}, which ended at ${sinceMs}`);
      }
    });
  }

  /** In a run without faults, a record reaches everybody at once. */
  expectSpread(node: SimNode): void {
    if (this.#swarm.mood !== "calm") return;
    const { queue } = this.#cluster;
    queue.after(100, () => {
      const sent = node.gossip?.records.get().get(node.id);
      const { machine } = node;
      if (sent === undefined || machine === undefined) return;
      const isSettled = (of: SimNode) => queue.now - (of.machine?.startedAtMs ?? 0) > newcomerMs;
      const receivers = this.#members()
        .filter(isSettled)
        .map((on) => ({ on, life: on.machine }));
      if (!isSettled(node) || machine.isPaused) return;
      queue.after(5_000, () => {
        if (node.machine !== machine) return;
        for (const { on, life } of receivers) {
          const isThere = on.machine === life && on.admitted.get().has(node.id);
          const known = on.gossip?.records.get().get(node.id);
          if (!isThere || on.machine?.isPaused === true || isAtLeast(known, sent)) continue;
          this.#fail(
            `${on.id} has not heard of record ${sent.epoch}.${sent.version} of ${node.id}`,
          );
        }
      });
    });
  }

  #watchMembers(on: SimNode, gossip: Gossip): void {
    const { machine } = on;
    let before = gossip.members.get();
    const look = () => {
      const members = gossip.members.get();
      for (const [of, { status, incarnation }] of members) {
        const was = before.get(of);
        if (was?.status === status && was.incarnation === incarnation) continue;
        this.changes += 1;
        this.#note(() => `${on.id} believes ${of} ${status} of incarnation ${incarnation}`);
        if (was !== undefined && incarnation < was.incarnation) {
          this.#fail(`${on.id} went back from incarnation ${was.incarnation} of ${of}`);
        }
        if (of === on.id) on.usedIncarnation = Math.max(on.usedIncarnation, incarnation);
        const isSame = was?.incarnation === incarnation;
        if (isSame && was.status === "left" && status === "failed") {
          this.#fail(`${on.id} calls ${of} failed, which said goodbye`);
        }
        if (status === "failed") this.#checkBlamed(on, of, status);
        const isOneLink = this.#swarm.mood === "one_link";
        if (status === "suspect" && isOneLink) this.#checkBlamed(on, of, status);
      }
      this.#checkAdmitted(on, members.keys());
      before = members;
    };
    gossip.members.subscribe(() => {
      if (on.machine === machine) look();
    });
    before = new Map();
    look();
  }

  #watchRecords(on: SimNode, gossip: Gossip): void {
    const { machine } = on;
    let before = gossip.records.get();
    gossip.records.subscribe(() => {
      if (on.machine !== machine) return;
      const records = gossip.records.get();
      for (const [owner, record] of records) {
        const was = before.get(owner);
        if (was === record) continue;
        this.#note(() => `${on.id} has record ${record.epoch}.${record.version} of ${owner}`);
        if (!Buffer.from(record.body).toString().startsWith(`${owner} `)) {
          this.#fail(`${on.id} has a forged record of ${owner}`);
        }
        if (was !== undefined && !isAtLeast(record, was)) {
          this.#fail(`${on.id} went back from record ${was.epoch}.${was.version} of ${owner}`);
        }
      }
      for (const owner of before.keys()) {
        if (records.has(owner) || !on.admitted.get().has(owner)) continue;
        this.#fail(`${on.id} lost the record of ${owner}`);
      }
      this.#checkAdmitted(on, records.keys());
      before = records;
    });
  }

  /** Who is not admitted has no place in any view: a removed node would be a ghost. */
  #checkAdmitted(on: SimNode, known: Iterable<NodeId>): void {
    const admitted = on.admitted.get();
    for (const of of known) {
      if (of !== on.id && !admitted.has(of)) this.#fail(`${on.id} knows ${of}, which was removed`);
    }
  }

  /** Nobody who runs and can be reached is blamed. */
  #checkBlamed(on: SimNode, of: NodeId, status: "failed" | "suspect"): void {
    const { queue, nodes } = this.#cluster;
    const accused = nodes.get(of);
    if (this.#swarm.mood === "stormy" || accused?.state !== "running") return;
    const isSettled = (node: SimNode) => queue.now - (node.machine?.startedAtMs ?? 0) > newcomerMs;
    if (!isSettled(on) || !isSettled(accused)) return;
    if (!this.#cluster.admitted.has(of) || !accused.admitted.get().has(on.id)) return;
    this.#fail(`${on.id} calls ${of} ${status}, which runs and can be reached`);
  }

  #differenceOn(on: SimNode, newest: ReadonlyMap<NodeId, string>): string | undefined {
    const members = on.gossip?.members.get() ?? new Map<NodeId, never>();
    const records = on.gossip?.records.get() ?? new Map<NodeId, never>();
    const running = this.#members();
    for (const of of this.#cluster.admitted) {
      const node = this.#cluster.nodes.get(of);
      const status = members.get(of)?.status ?? "unknown";
      // Of one that ended it depends on who heard the goodbye: all must believe the same.
      const first = running[0]?.gossip;
      const wanted =
        node?.state === "running" ? "alive" : (first?.members.get().get(of)?.status ?? "unknown");
      if (status !== wanted) return `${on.id} believes ${of} ${status} instead of ${wanted}`;
      // Who hears nobody blames nobody: the only one that still runs cannot tell that from a cut.
      const isOver = status === "failed" || status === "left" || running.length === 1;
      if (node?.state !== "running" && !isOver) {
        return `${on.id} believes ${of} ${status}, and it does not run`;
      }
      const held = records.get(of);
      const version = held === undefined ? "nothing" : `${held.epoch}.${held.version}`;
      const known = first?.records.get().get(of);
      const others = known === undefined ? "nothing" : `${known.epoch}.${known.version}`;
      const expected = newest.get(of) ?? others;
      if (version !== expected) return `${on.id} has ${version} of ${of} instead of ${expected}`;
    }
    return undefined;
  }

  /** Those that run and are admitted. */
  #members(): readonly SimNode[] {
    const { running, admitted } = this.#cluster;
    return running.filter(({ id }) => admitted.has(id));
  }

  #fail(text: string): void {
    this.#cluster.violated(text);
  }
}

/** Not the production comparison: that is what is checked. */
function isAtLeast(known: Version | undefined, wanted: Version): boolean {
  if (known === undefined) return false;
  if (known.epoch !== wanted.epoch) return known.epoch > wanted.epoch;
  return known.version >= wanted.version;
}
