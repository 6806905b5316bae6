import type { ClusterState, LogStatus, MemberStatus } from "../cluster/index.ts";
import type { NodeId } from "../kernel/index.ts";
import { clusterObject, type EventDraft, nodeNameIn, nodeObject } from "./event.ts";

/** As gossip shows them. */
export type MemberBelief = { readonly status: MemberStatus; readonly incarnation: number };

const memberReasons = {
  alive: "NodeAlive",
  suspect: "NodeSuspect",
  failed: "NodeFailed",
  left: "NodeLeft",
} as const satisfies Readonly<Record<MemberStatus, EventDraft["reason"]>>;

const memberTexts: Readonly<Record<MemberStatus, string>> = {
  alive: "answers again.",
  suspect: "does not answer; it gets no traffic.",
  failed: "does not answer for too long: it was given up, its tasks start elsewhere.",
  left: "has left: its daemon was stopped.",
};

/**
 * Tells of other machines' coming and going, as this node sees it. When nobody answers it is
 * this node that is alone: then nobody else is blamed.
 */
export class MemberWatch {
  readonly #self: NodeId;
  /** Those that were heard of: one that was only admitted has not gone away yet. */
  readonly #heard: Set<NodeId>;
  #told: ReadonlyMap<NodeId, MemberBelief>;
  #isIsolated = false;

  constructor(self: NodeId, members: ReadonlyMap<NodeId, MemberBelief>) {
    this.#self = self;
    this.#told = members;
    this.#heard = new Set(members.keys());
  }

  changes(members: ReadonlyMap<NodeId, MemberBelief>, state: ClusterState): readonly EventDraft[] {
    const others = [...members].filter(([node]) => node !== this.#self && state.nodes.has(node));
    const isIsolated = others.length > 1 && others.every(([, { status }]) => status !== "alive");
    const drafts: EventDraft[] = [];
    if (isIsolated !== this.#isIsolated) {
      this.#isIsolated = isIsolated;
      const name = nodeNameIn(state, this.#self);
      const about = { object: nodeObject(state, this.#self), node: name };
      drafts.push(
        isIsolated
          ? { reason: "NodeIsolated", ...about, message: `Nobody answers ${name}.` }
          : { reason: "NodeConnected", ...about, message: `Others answer ${name} again.` },
      );
    }
    if (isIsolated) return drafts;
    for (const [node, belief] of others) {
      const told = this.#told.get(node);
      const isNew = !this.#heard.has(node);
      if (belief.status === "alive") this.#heard.add(node);
      // A new machine is told of when it is admitted.
      if (isNew || told === undefined || told.status === belief.status) continue;
      const name = nodeNameIn(state, node);
      const message = `${name} ${memberTexts[belief.status]}`;
      const reason = memberReasons[belief.status];
      const key = `${reason}/${node}/${belief.incarnation}`;
      drafts.push({ reason, object: nodeObject(state, node), node: name, message, key });
    }
    this.#told = members;
    return drafts;
  }
}

type LogView = Pick<LogStatus, "leader" | "term" | "voters">;

/** Tells who leads and who votes. Voters tell of it, each the same. */
export function logStatusEvents(
  before: LogView,
  after: LogView,
  { self, state }: { readonly self: NodeId; readonly state: ClusterState },
): readonly EventDraft[] {
  const drafts: EventDraft[] = [];
  const { leader, term, voters } = after;
  const isTeller = voters.includes(self) || before.voters.includes(self);
  if (!isTeller) return drafts;
  if (leader !== undefined && (leader !== before.leader || term !== before.term)) {
    const name = nodeNameIn(state, leader);
    drafts.push({
      reason: "LeaderChanged",
      object: clusterObject,
      node: name,
      message: `${name} leads since term ${term}.`,
      key: `LeaderChanged/${term}`,
    });
  }
  const set = [...voters].sort().join(",");
  if (set !== [...before.voters].sort().join(",") && before.voters.length > 0) {
    const names = voters.map((node) => nodeNameIn(state, node)).sort();
    const message = `Voters are now ${names.join(", ")}.`;
    const key = `VotersChanged/${term}/${set}`;
    drafts.push({ reason: "VotersChanged", object: clusterObject, message, key });
  }
  return drafts;
}

/** Tells that this node lost its quorum, or found it again. */
export function quorumEvent(
  hasQuorum: boolean,
  { self, state }: { readonly self: NodeId; readonly state: ClusterState },
): EventDraft {
  const name = nodeNameIn(state, self);
  const about = { object: nodeObject(state, self), node: name };
  return hasQuorum
    ? { reason: "QuorumRegained", ...about, message: `${name} hears of a majority again.` }
    : {
        reason: "QuorumLost",
        ...about,
        message: `${name} hears of no majority of the voters. Containers run, changes wait.`,
      };
}
