import t from "tap";
import { nodeId } from "../../src/kernel/index.ts";
import { planVoters, type VoterCandidate } from "../../src/raft/index.ts";

function member(name: string, overrides: Partial<VoterCandidate> = {}): VoterCandidate {
  return {
    nodeId: nodeId(name),
    isHealthy: true,
    isReady: true,
    isEligible: true,
    isFailed: false,
    ...overrides,
  };
}

const failed = { isHealthy: false, isReady: false, isFailed: true };
const silent = { isHealthy: false, isReady: false };

const cases: readonly {
  readonly name: string;
  readonly members: readonly VoterCandidate[];
  readonly voters: string;
  readonly learners?: string;
  readonly outgoing?: string;
  readonly maxVoters?: number;
  /** Voters, then learners; absent for no change. */
  readonly expected?: readonly [string, string];
}[] = [
  { name: "leaves a single node alone", members: [member("a")], voters: "a" },
  {
    name: "leaves the second node a follower, because two voters bear less than one",
    members: [member("a"), member("b")],
    voters: "a",
  },
  {
    name: "makes two learners as soon as there are three nodes",
    members: ["a", "b", "c"].map((name) => member(name)),
    voters: "a",
    expected: ["a", "bc"],
  },
  {
    name: "has three voters, all at once, when the learners are ready",
    members: ["a", "b", "c"].map((name) => member(name)),
    voters: "a",
    learners: "bc",
    expected: ["abc", ""],
  },
  {
    name: "waits for a learner that is not ready",
    members: [member("a"), member("b"), member("c", { isReady: false })],
    voters: "a",
    learners: "bc",
  },
  {
    name: "drops the learners of whom too few are left for another odd number",
    members: [member("a"), member("b"), member("c", silent)],
    voters: "a",
    learners: "bc",
    expected: ["a", ""],
  },
  {
    name: "tries another in the place of a learner that disappoints, and keeps the other one",
    members: [member("a"), member("c"), member("d", { isHealthy: false }), member("b")],
    voters: "a",
    learners: "cd",
    expected: ["a", "bc"],
  },
  {
    name: "has five voters of seven nodes by default, the others follow",
    members: [..."abcdefg"].map((name) => member(name)),
    voters: "abc",
    learners: "de",
    expected: ["abcde", ""],
  },
  {
    name: "makes learners of the two that are missing, not of all",
    members: [..."abcdefg"].map((name) => member(name)),
    voters: "abc",
    expected: ["abc", "de"],
  },
  {
    name: "has seven voters on request",
    members: [..."abcdefgh"].map((name) => member(name)),
    voters: "abcde",
    learners: "fg",
    maxVoters: 7,
    expected: ["abcdefg", ""],
  },
  {
    name: "drops learners that nobody needs",
    members: [..."abxyz"].map((name) => member(name)),
    voters: "xyz",
    learners: "ab",
    maxVoters: 3,
    expected: ["xyz", ""],
  },
  {
    name: "keeps the present voters whatever the names of the others",
    members: [..."abxyz"].map((name) => member(name)),
    voters: "xyz",
    maxVoters: 3,
  },
  {
    name: "keeps a voter that is silent, but not failed",
    members: [member("a"), member("b"), member("c", silent), member("d")],
    voters: "abc",
  },
  {
    name: "begins to replace a failed voter by a healthy node",
    members: [member("a"), member("b"), member("c", failed), member("d")],
    voters: "abc",
    expected: ["abc", "d"],
  },
  {
    name: "replaces it when the other is ready; it comes back as a follower",
    members: [member("a"), member("b"), member("c", failed), member("d")],
    voters: "abc",
    learners: "d",
    expected: ["abd", ""],
  },
  {
    name: "leaves a voter that came back a follower until it is needed",
    members: [..."abcd"].map((name) => member(name)),
    voters: "abd",
  },
  {
    name: "keeps a failed voter while nobody can replace it",
    members: [member("a"), member("b"), member("c", failed)],
    voters: "abc",
  },
  {
    name: "goes to one voter when of three one was removed",
    members: [member("a"), member("b")],
    voters: "abc",
    expected: ["a", ""],
  },
  {
    name: "moves the seat of a node that may not vote any more",
    members: [member("a"), member("b"), member("c", { isEligible: false }), member("d")],
    voters: "abc",
    learners: "d",
    expected: ["abd", ""],
  },
  {
    name: "spreads new voters over zones",
    members: [
      member("a", { zone: "1" }),
      member("b", { zone: "1" }),
      member("c", { zone: "2" }),
      member("d", { zone: "3" }),
    ],
    voters: "a",
    expected: ["a", "cd"],
  },
  {
    name: "prefers nodes whose log is nearly complete, within what the zones allow",
    members: [
      member("a", { zone: "1" }),
      member("b", { zone: "2" }),
      member("c", { zone: "2", isNear: true }),
      member("d", { zone: "3" }),
    ],
    voters: "a",
    expected: ["a", "cd"],
  },
  {
    name: "changes nothing without a majority",
    members: [member("a"), member("b", failed), member("c", failed), member("d"), member("e")],
    voters: "abc",
    learners: "de",
  },
  {
    name: "changes nothing while a change is under way",
    members: [member("a"), member("b"), member("c")],
    voters: "a",
    outgoing: "b",
  },
  {
    name: "prefers healthy voters when there are too many",
    members: [member("a", silent), ...[..."bcde"].map((name) => member(name))],
    voters: "abcde",
    maxVoters: 3,
    expected: ["bcd", ""],
  },
];

t.test("planVoters", async (t) => {
  const list = (names = "") => [...names].map(nodeId);
  for (const { name, members, voters, learners, outgoing, maxVoters, expected } of cases) {
    t.test(name, async (t) => {
      const current = {
        voters: list(voters),
        votersOutgoing: list(outgoing),
        learners: list(learners),
        learnersNext: [],
      };
      const plan = planVoters({
        members,
        current,
        ...(maxVoters === undefined ? {} : { maxVoters }),
      });
      const wanted =
        expected === undefined
          ? undefined
          : { voters: list(expected[0]), learners: list(expected[1]) };
      t.strictSame(plan, wanted);
    });
  }
});
