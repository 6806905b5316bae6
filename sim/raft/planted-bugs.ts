import { paperRules, type RaftRules } from "../../src/raft/rules.ts";

/** A classic mistake, put in on purpose: a simulator that misses it proves nothing. */
export type PlantedBug = {
  readonly name: string;
  readonly section: string;
  /** The runs within which it must be found. */
  readonly seeds: number;
  readonly rules?: Partial<RaftRules>;
  /** Mistakes of the driver, which the core's rules cannot make. */
  readonly driver?: "sends_before_sync" | "forgets_vote";
};

export const plantedBugs: readonly PlantedBug[] = [
  {
    name: "acknowledges and votes before the sync",
    section: "paper figure 2",
    seeds: 500,
    driver: "sends_before_sync",
  },
  { name: "does not persist its vote", section: "paper §5.2", seeds: 500, driver: "forgets_vote" },
  {
    name: "commits an entry of an older term by counting",
    section: "paper §5.4.2, figure 8",
    seeds: 500,
    rules: { mayCommit: () => true },
  },
  {
    name: "votes without comparing logs",
    section: "paper §5.4.1",
    seeds: 50,
    rules: { isUpToDate: () => true },
  },
  {
    name: "votes twice in a term",
    section: "paper §5.2",
    seeds: 50,
    rules: { isVoteFree: () => true },
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
    seeds: 50,
    rules: { newEntries: (entries) => entries },
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
    seeds: 500,
    rules: { decidingSets: ({ voters }) => [voters] },
  },
  {
    name: "leaves a joint configuration before it is committed",
    section: "dissertation §4.3",
    seeds: 500,
    rules: { isConfigurationCommitted: () => true },
  },
  {
    name: "answers a read without asking a majority",
    section: "dissertation §6.4",
    seeds: 500,
    rules: { mayAnswerRead: () => true },
  },
  {
    name: "answers a read before a commit in its own term",
    section: "dissertation §6.4",
    seeds: 500,
    rules: { mayStartRead: () => true },
  },
];

export function rulesWith(bug: PlantedBug | undefined): RaftRules {
  return { ...paperRules, ...bug?.rules };
}
