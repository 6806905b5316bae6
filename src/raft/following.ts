import type { NodeId } from "../kernel/index.ts";
import { allMembers } from "./configuration.ts";
import type { Entry, EntryId, SnapshotMeta } from "./log-storage.ts";
import { becomeFollower, isWithinReach, type RaftState } from "./raft-state.ts";

/** Who leads, as somebody else says, and how long ago that leader was last heard. */
export type LeaderHint = { readonly node: NodeId; readonly ageTicks: number };

/** What a feeder knows of the protocol, told with everything that it sends. */
export type FeedHead = { readonly term: number; readonly leader: LeaderHint | undefined };

/** Committed entries behind `previous`, without a gap, from a node that need not lead. */
export type CommittedBatch = FeedHead & {
  readonly previous: EntryId;
  readonly entries: readonly Entry[];
  readonly commitIndex: number;
};

/**
 * - `taken`: the log holds all of it.
 * - `refused`: this node leads or stands for election, and takes nothing from others; or the term
 *   cannot be true.
 * - `gap`: it begins behind what is committed here.
 * - `diverged`: another history: two different entries are called committed at one index.
 */
export type TakeResult = "taken" | "refused" | "gap" | "diverged";

export type CommittedRead =
  | { readonly kind: "entries"; readonly entries: readonly Entry[] }
  | { readonly kind: "compacted" | "behind" | "diverged" };

/** Whether this node gets the log from the leader, as far as it knows. */
export function isMember({ configurations, self }: RaftState): boolean {
  return allMembers(configurations.current).includes(self);
}

/**
 * Learns what was decided, from anybody who knows. A committed entry is safe to hold for every
 * node, voters included: whatever differs from it at its index can never be committed, so a
 * tail that conflicts is superseded. Only what is committed here already must not differ.
 */
export function takeCommitted(state: RaftState, batch: CommittedBatch): TakeResult {
  const { log, rules } = state;
  const { previous, entries } = batch;
  if (state.role.kind === "leader" || state.role.kind === "candidate") return "refused";
  if (previous.index > log.commitIndex) return "gap";
  const settled = [previous, ...entries].filter(({ index }) => index <= log.commitIndex);
  if (settled.some((id) => log.differs(id))) return "diverged";
  if (!isWithinReach(state, batch.term)) return "refused";
  meetTerm(state, batch.term);
  const unseen = entries.slice(settled.length - 1);
  const fresh = rules.newEntries(unseen, (index) => log.term(index));
  if (fresh.length > 0) {
    // An election that has begun named another last entry.
    if (state.role.kind !== "follower")
      becomeFollower(state, { term: state.term, leader: undefined });
    log.append(fresh);
    state.configurations.append(fresh);
  }
  const lastIndex = entries.at(-1)?.index ?? previous.index;
  log.commitTo(Math.min(batch.commitIndex, lastIndex));
  hearOf(state, batch.leader);
  return "taken";
}

/** The same for a snapshot: the state at an index that is committed. */
export function takeSnapshot(
  state: RaftState,
  snapshot: { readonly term: number; readonly meta: SnapshotMeta; readonly data: Uint8Array },
): TakeResult {
  const { log } = state;
  const { meta, data, term } = snapshot;
  if (state.role.kind === "leader" || state.role.kind === "candidate") return "refused";
  if (meta.index <= log.commitIndex) return "taken";
  if (!isWithinReach(state, term)) return "refused";
  meetTerm(state, term);
  if (log.matches(meta)) {
    log.commitTo(meta.index);
    return "taken";
  }
  if (state.role.kind !== "follower")
    becomeFollower(state, { term: state.term, leader: undefined });
  log.restore({ meta, data });
  state.configurations.reset(meta);
  return "taken";
}

/** The committed entries behind an entry that somebody else holds as its last committed one. */
export function readCommitted(
  { log }: RaftState,
  { after, maxBytes }: { readonly after: EntryId; readonly maxBytes: number },
): CommittedRead {
  const { commitIndex } = log;
  if (after.index > commitIndex) return { kind: "behind" };
  const term = log.term(after.index);
  if (term === undefined || after.index + 1 < log.firstIndex) return { kind: "compacted" };
  if (term !== after.term) return { kind: "diverged" };
  if (after.index === commitIndex) return { kind: "entries", entries: [] };
  return {
    kind: "entries",
    entries: log.entries({ from: after.index + 1, to: commitIndex, maxBytes }),
  };
}

/** How long ago the leader that this node names was heard, be it through others. */
export function leaderHint(state: RaftState): LeaderHint | undefined {
  const { role, self, electionElapsedTicks } = state;
  if (role.kind === "leader") return { node: self, ageTicks: 0 };
  if (role.kind !== "follower" || role.leader === undefined) return undefined;
  return { node: role.leader, ageTicks: electionElapsedTicks };
}

function meetTerm(state: RaftState, term: number): void {
  if (term > state.term) becomeFollower(state, { term, leader: undefined });
}

/**
 * A node outside the configuration hears no leader itself; it names the one it is told of, to
 * forward proposals and reads. The age goes along, so that nodes which feed each other do not
 * keep a dead leader's name alive. An older term's leader will do: the hint decides nothing.
 */
function hearOf(state: RaftState, leader: LeaderHint | undefined): void {
  const { role, self, timing, term } = state;
  if (leader === undefined || leader.node === self || isMember(state)) return;
  if (leader.ageTicks >= timing.electionTicks) return;
  const isSame = role.kind === "follower" && role.leader === leader.node;
  const knownTicks = isSame ? state.electionElapsedTicks : Number.POSITIVE_INFINITY;
  if (!isSame) becomeFollower(state, { term, leader: leader.node });
  state.electionElapsedTicks = Math.min(knownTicks, leader.ageTicks);
}
