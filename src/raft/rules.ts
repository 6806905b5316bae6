import type { NodeId } from "../kernel/index.ts";
import type { Configuration, Entry, EntryId } from "./log-storage.ts";
import type { DecidingSets } from "./quorum.ts";

/**
 * The decisions on which Raft's safety rests, each a pure function beside its section of the
 * paper. They are one replaceable object for one reason: the simulator swaps single rules for
 * broken ones and must notice every time. Everybody else uses {@link paperRules}.
 */
export type RaftRules = {
  /** §5.4.1: a leader with an older log would overwrite committed entries. */
  isUpToDate(logs: { readonly candidate: EntryId; readonly own: EntryId }): boolean;
  /** §5.2: one vote a term, first come first served. */
  isVoteFree(votes: {
    readonly vote: NodeId | undefined;
    readonly candidate: NodeId;
    readonly leader: NodeId | undefined;
  }): boolean;
  /** §5.4.2: only entries of the leader's own term are committed by counting (figure 8). */
  mayCommit(terms: { readonly entryTerm: number | undefined; readonly term: number }): boolean;
  /** §5.3: a follower knows the commit index only as far as the logs were compared. */
  followerCommitIndex(indexes: {
    readonly leaderCommitIndex: number;
    readonly lastNewIndex: number;
    readonly lastIndex: number;
  }): number;
  /**
   * §5.3: an acknowledgement covers what was compared. A log may go on behind that with entries
   * that the leader does not have, or that it has others for.
   */
  acknowledgedIndex(indexes: {
    readonly comparedIndex: number;
    readonly lastIndex: number;
    /** The append begins below what is committed here: it was overtaken, or repeated. */
    readonly isLate: boolean;
  }): number;
  /** §5.3: beyond its match a follower's log may still differ from the committed one. */
  heartbeatCommitIndex(indexes: {
    readonly matchIndex: number;
    readonly commitIndex: number;
  }): number;
  /** §5.3: only a real conflict truncates; a late append must not undo newer ones. */
  newEntries(
    entries: readonly Entry[],
    termAt: (index: number) => number | undefined,
  ): readonly Entry[];
  /** §10.2.1 of the dissertation: a leader counts itself only after its own write. */
  selfMatchIndex(log: { readonly stableIndex: number; readonly lastIndex: number }): number;
  /** §4.3 of the dissertation: joint decisions need both majorities. */
  decidingSets(configuration: Configuration): DecidingSets;
  /** §4.3: the joint configuration may end, or another change begin, once this one is committed. */
  isConfigurationCommitted(indexes: {
    readonly configurationIndex: number;
    readonly commitIndex: number;
  }): boolean;
  /**
   * Ongaro's correction of 2015: a change of single voters, begun before the leader has committed
   * in its own term, may share no voter with one of an earlier leader. A joint one shares a
   * majority of the old half with any other, so here the rule is a second line of defence.
   */
  mayChangeMembers(terms: {
    readonly committedTerm: number | undefined;
    readonly term: number;
  }): boolean;
  /** §6.4: before its first commit a new leader does not know what is committed. */
  mayStartRead(terms: {
    readonly committedTerm: number | undefined;
    readonly term: number;
  }): boolean;
  /** §6.4: a read is answered after a majority confirmed the leader since it began. */
  mayAnswerRead(contexts: { readonly context: number; readonly confirmed: number }): boolean;
};

export const paperRules: RaftRules = {
  isUpToDate: ({ candidate, own }) =>
    candidate.term > own.term || (candidate.term === own.term && candidate.index >= own.index),
  isVoteFree: ({ vote, candidate, leader }) =>
    vote === candidate || (vote === undefined && leader === undefined),
  mayCommit: ({ entryTerm, term }) => entryTerm === term,
  followerCommitIndex: ({ leaderCommitIndex, lastNewIndex }) =>
    Math.min(leaderCommitIndex, lastNewIndex),
  acknowledgedIndex: ({ comparedIndex }) => comparedIndex,
  heartbeatCommitIndex: ({ matchIndex, commitIndex }) => Math.min(matchIndex, commitIndex),
  newEntries: (entries, termAt) => {
    const firstNew = entries.findIndex(({ index, term }) => termAt(index) !== term);
    return firstNew === -1 ? [] : entries.slice(firstNew);
  },
  selfMatchIndex: ({ stableIndex }) => stableIndex,
  decidingSets: ({ voters, votersOutgoing }) =>
    votersOutgoing.length === 0 ? [voters] : [voters, votersOutgoing],
  isConfigurationCommitted: ({ configurationIndex, commitIndex }) =>
    configurationIndex <= commitIndex,
  mayChangeMembers: ({ committedTerm, term }) => committedTerm === term,
  mayStartRead: ({ committedTerm, term }) => committedTerm === term,
  mayAnswerRead: ({ context, confirmed }) => context <= confirmed,
};
