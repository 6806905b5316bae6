import type { Disk } from "../../src/raft/io/disk.ts";
import type { Raft, RaftOptions } from "../../src/raft/raft.ts";
import { paperRules, type RaftRules } from "../../src/raft/rules.ts";
import { FarBackRaft, SingleChangeRaft, singleChangeRules, TimelessRaft } from "./other-cores.ts";

/** Mistakes of who drives the core, which its rules cannot make. */
export type DriverMistake =
  | "acknowledges_before_sync"
  | "votes_before_sync"
  | "asks_for_votes_before_sync"
  | "forgets_vote"
  | "forgets_term"
  | "writes_hard_state_first"
  | "answers_when_appended"
  | "reads_before_applying"
  | "applies_retries"
  | "snapshots_without_proposals"
  | "snapshots_under_later_index"
  | "snapshots_newest_configuration"
  | "restores_older_snapshot"
  | "answers_from_own_state";

/** A classic mistake, put in on purpose: a simulator that misses it proves nothing. */
export type PlantedBug = {
  readonly name: string;
  readonly section: string;
  /** The runs within which it must be found. */
  readonly seeds: number;
  readonly rules?: Partial<RaftRules>;
  readonly driver?: DriverMistake;
  /** A core that takes something in wrongly. */
  readonly raft?: (options: RaftOptions) => Raft;
  /** A disk that promises too much, or a log that asks for too little: it runs on files. */
  readonly disk?: (disk: Disk) => Disk;
};

export const plantedBugs: readonly PlantedBug[] = [
  {
    name: "acknowledges entries before the sync",
    section: "paper figure 2",
    seeds: 500,
    driver: "acknowledges_before_sync",
  },
  {
    name: "votes before the sync",
    section: "paper figure 2",
    seeds: 6_000,
    driver: "votes_before_sync",
  },
  {
    name: "asks for votes before its candidacy is durable",
    section: "paper figure 2",
    seeds: 500,
    driver: "asks_for_votes_before_sync",
  },
  {
    name: "does not persist its vote",
    section: "paper §5.2",
    seeds: 500,
    driver: "forgets_vote",
  },
  {
    name: "does not persist its term",
    section: "paper figure 2",
    seeds: 500,
    driver: "forgets_term",
  },
  {
    name: "persists term, vote and commit index ahead of the entries",
    section: "one group commit",
    seeds: 500,
    driver: "writes_hard_state_first",
  },
  {
    name: "commits an entry of an older term by counting",
    section: "paper §5.4.2, figure 8",
    seeds: 6_000,
    rules: { mayCommit: () => true },
  },
  {
    name: "votes without comparing logs",
    section: "paper §5.4.1",
    seeds: 500,
    rules: { isUpToDate: () => true },
  },
  {
    name: "compares logs by their length alone",
    section: "paper §5.4.1",
    seeds: 1_500,
    rules: { isUpToDate: ({ candidate, own }) => candidate.index >= own.index },
  },
  {
    name: "compares logs by their last term alone",
    section: "paper §5.4.1",
    seeds: 500,
    rules: { isUpToDate: ({ candidate, own }) => candidate.term >= own.term },
  },
  {
    name: "votes twice in a term",
    section: "paper §5.2",
    seeds: 500,
    rules: { isVoteFree: () => true },
  },
  {
    name: "wins with one vote less than a majority",
    section: "paper §5.2",
    seeds: 500,
    rules: {
      decidingSets: ({ voters, votersOutgoing }) =>
        [voters, votersOutgoing]
          .filter(({ length }) => length > 0)
          .map((set) => (set.length > 2 ? set.slice(0, -2) : set)),
    },
  },
  {
    name: "acknowledges its whole log to an append",
    section: "paper §5.3",
    seeds: 500,
    rules: {
      acknowledgedIndex: ({ comparedIndex, lastIndex, isLate }) =>
        isLate ? comparedIndex : lastIndex,
    },
    raft: (options) => new FarBackRaft(options),
  },
  {
    name: "acknowledges its whole log to a late append",
    section: "paper §5.3",
    seeds: 500,
    rules: {
      acknowledgedIndex: ({ comparedIndex, lastIndex, isLate }) =>
        isLate ? lastIndex : comparedIndex,
    },
    raft: (options) => new FarBackRaft(options),
  },
  {
    name: "tells followers of commits beyond their match",
    section: "paper §5.3",
    seeds: 500,
    rules: { heartbeatCommitIndex: ({ commitIndex }) => commitIndex },
  },
  {
    name: "truncates although the entries match",
    section: "paper §5.3",
    seeds: 500,
    rules: { newEntries: (entries) => entries },
  },
  {
    name: "takes appends of an older term",
    section: "paper §5.1",
    seeds: 1_500,
    raft: (options) => new TimelessRaft(options, ["append_request"]),
  },
  {
    name: "counts acknowledgements of an older term",
    section: "paper §5.1",
    seeds: 3_000,
    raft: (options) => new TimelessRaft(options, ["append_accepted"]),
  },
  {
    name: "counts votes of an older election",
    section: "paper §5.2",
    seeds: 1_500,
    raft: (options) => new TimelessRaft(options, ["vote_response"]),
  },
  {
    name: "counts the leader before its own sync",
    section: "dissertation §10.2.1",
    seeds: 500,
    rules: { selfMatchIndex: ({ lastIndex }) => lastIndex },
  },
  {
    name: "decides a joint configuration by the new half alone",
    section: "dissertation §4.3",
    seeds: 1_500,
    rules: { decidingSets: ({ voters }) => [voters] },
  },
  {
    name: "decides a joint configuration by the old half alone",
    section: "dissertation §4.3",
    seeds: 1_500,
    rules: {
      decidingSets: ({ voters, votersOutgoing }) =>
        votersOutgoing.length === 0 ? [voters] : [votersOutgoing],
    },
  },
  {
    name: "counts learners",
    section: "dissertation §4.2.1",
    seeds: 500,
    rules: {
      decidingSets: ({ voters, votersOutgoing, learners }) =>
        votersOutgoing.length === 0
          ? [[...voters, ...learners]]
          : [[...voters, ...learners], votersOutgoing],
    },
  },
  {
    name: "leaves a joint configuration before it is committed",
    section: "dissertation §4.3",
    seeds: 1_500,
    rules: { isConfigurationCommitted: () => true },
  },
  {
    name: "changes single voters before a commit in its own term",
    section: "Ongaro 2015",
    seeds: 1_500,
    rules: { ...singleChangeRules, mayChangeMembers: () => true },
    raft: (options) => new SingleChangeRaft(options),
  },
  {
    name: "answers a read without asking a majority",
    section: "dissertation §6.4",
    seeds: 1_500,
    rules: { mayAnswerRead: () => true },
  },
  {
    name: "answers a read by the round before its own",
    section: "etcd #20418",
    seeds: 1_500,
    rules: { mayAnswerRead: ({ context, confirmed }) => context <= confirmed + 1 },
  },
  {
    name: "answers a read before a commit in its own term",
    section: "dissertation §6.4",
    seeds: 500,
    rules: { mayStartRead: () => true },
  },
  {
    name: "answers a read before its index is applied",
    section: "dissertation §6.4",
    seeds: 500,
    driver: "reads_before_applying",
  },
  {
    name: "answers a read from a node's own state",
    section: "dissertation §6.4",
    seeds: 500,
    driver: "answers_from_own_state",
  },
  {
    name: "answers a write when it is appended, not when it is committed",
    section: "paper §5.3",
    seeds: 500,
    driver: "answers_when_appended",
  },
  {
    name: "applies a retried proposal again",
    section: "dissertation §6.3",
    seeds: 500,
    driver: "applies_retries",
  },
  {
    name: "leaves the applied proposals out of snapshots",
    section: "dissertation §6.3",
    seeds: 500,
    driver: "snapshots_without_proposals",
  },
  {
    name: "takes a snapshot under a later index than its state's",
    section: "paper §7",
    seeds: 500,
    driver: "snapshots_under_later_index",
  },
  {
    name: "takes a snapshot with a configuration of later",
    section: "dissertation §5.1",
    seeds: 3_000,
    driver: "snapshots_newest_configuration",
  },
  {
    name: "restores a snapshot over a newer state",
    section: "paper §7",
    seeds: 500,
    driver: "restores_older_snapshot",
  },
  {
    name: "writes the log without waiting for the disk",
    section: "log store",
    seeds: 500,
    disk: (disk) => ({
      ...wrap(disk),
      write: async (descriptor, data, offset) => {
        void disk.write(descriptor, data, offset);
        return data.byteLength;
      },
    }),
  },
  {
    name: "renames a snapshot before its data is durable",
    section: "log store",
    seeds: 500,
    disk: (disk) => ({ ...wrap(disk), sync: async () => undefined }),
  },
  {
    name: "trusts names that a killed process did not make durable",
    section: "log store",
    seeds: 6_000,
    disk: (disk) => {
      // A log that is opened begins with a sync of its directory.
      let isOpening = true;
      return {
        ...wrap(disk),
        syncDirectory: async (directory) => {
          if (!isOpening) await disk.syncDirectory(directory);
          isOpening = false;
        },
      };
    },
  },
  {
    name: "writes where something stood without voiding it first",
    section: "log store",
    seeds: 500,
    disk: (disk) => ({
      ...wrap(disk),
      write: async (descriptor, data, offset) =>
        data.every((byte) => byte === 0)
          ? await growOnly(disk, { descriptor, data, offset })
          : await disk.write(descriptor, data, offset),
    }),
  },
  {
    name: "does not make the names of its files durable",
    section: "log store",
    seeds: 500,
    disk: (disk) => ({ ...wrap(disk), syncDirectory: async () => undefined }),
  },
];

/** Zeros reach the file only where it had nothing yet. */
async function growOnly(
  disk: Disk,
  write: { readonly descriptor: number; readonly data: Uint8Array; readonly offset: number },
): Promise<number> {
  const { descriptor, data, offset } = write;
  const there = disk.readNow(descriptor, new Uint8Array(1), offset + data.byteLength - 1);
  return there === 0 ? await disk.write(descriptor, data, offset) : data.byteLength;
}

/** Unusual, but safe: the planted bugs that need them are not found by what they do themselves. */
export const harmlessVariants: readonly PlantedBug[] = [
  {
    name: "looks for where logs part from their beginning",
    section: "paper §5.3",
    seeds: 0,
    raft: (options) => new FarBackRaft(options),
  },
  {
    name: "changes single voters after a commit in its own term",
    section: "Ongaro 2015",
    seeds: 0,
    rules: singleChangeRules,
    raft: (options) => new SingleChangeRaft(options),
  },
  {
    name: "changes voters jointly before a commit in its own term",
    section: "Ongaro 2015",
    seeds: 0,
    rules: { mayChangeMembers: () => true },
    raft: (options) => new SingleChangeRaft(options),
  },
];

export function rulesWith(bug: PlantedBug | undefined): RaftRules {
  return bug?.rules === undefined ? paperRules : { ...paperRules, ...bug.rules };
}

/** The same disk as an object of functions, some of which a mistake replaces. */
function wrap(disk: Disk): Disk {
  return {
    lock: (directory) => disk.lock(directory),
    makeDirectory: (directory) => disk.makeDirectory(directory),
    names: (directory) => disk.names(directory),
    sizeOf: (path) => disk.sizeOf(path),
    open: (path, mode) => disk.open(path, mode),
    close: (descriptor) => disk.close(descriptor),
    read: (descriptor, target, offset) => disk.read(descriptor, target, offset),
    readNow: (descriptor, target, offset) => disk.readNow(descriptor, target, offset),
    write: (descriptor, data, offset) => disk.write(descriptor, data, offset),
    sync: (descriptor) => disk.sync(descriptor),
    rename: (from, to) => disk.rename(from, to),
    remove: (path) => disk.remove(path),
    syncDirectory: (directory) => disk.syncDirectory(directory),
    randomBytes: (count) => disk.randomBytes(count),
  };
}
