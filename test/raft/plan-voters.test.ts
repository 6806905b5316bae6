import t from "tap";
import { nodeId } from "../../src/kernel/index.ts";
import { planVoters, type VoterCandidate } from "../../src/raft/index.ts";

function member(name: string, overrides: Partial<VoterCandidate> = {}): VoterCandidate {
  return {
    nodeId: nodeId(name),
    isHealthy: true,
    isEligible: true,
    isFailed: false,
    ...overrides,
  };
}

const failed = { isHealthy: false, isFailed: true };

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
    name: "makes the second node a learner, because two voters bear less than one",
    members: [member("a"), member("b")],
    voters: "a",
    expected: ["a", "b"],
  },
  {
    name: "has three voters as soon as there are three nodes",
    members: ["a", "b", "c"].map((name) => member(name)),
    voters: "a",
    learners: "b",
    expected: ["abc", ""],
  },
  {
    name: "has five voters of seven nodes by default",
    members: [..."abcdefg"].map((name) => member(name)),
    voters: "abc",
    learners: "defg",
    expected: ["abcde", "fg"],
  },
  {
    name: "keeps the present voters whatever the names of the others",
    members: [..."abxyz"].map((name) => member(name)),
    voters: "xyz",
    learners: "ab",
    maxVoters: 3,
  },
  {
    name: "keeps a voter that is silent, but not failed",
    members: [member("a"), member("b"), member("c", { isHealthy: false }), member("d")],
    voters: "abc",
    learners: "d",
  },
  {
    name: "replaces a failed voter by a healthy node",
    members: [member("a"), member("b"), member("c", failed), member("d")],
    voters: "abc",
    learners: "d",
    expected: ["abd", "c"],
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
    expected: ["a", "b"],
  },
  {
    name: "moves the seat of a node that may not vote any more",
    members: [member("a"), member("b"), member("c", { isEligible: false }), member("d")],
    voters: "abc",
    learners: "d",
    expected: ["abd", "c"],
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
    learners: "bcd",
    expected: ["acd", "b"],
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
    members: [member("a", { isHealthy: false }), ...[..."bcde"].map((name) => member(name))],
    voters: "abcde",
    maxVoters: 3,
    expected: ["bcd", "ae"],
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
