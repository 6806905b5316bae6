import t from "tap";
import { nodeId } from "../../src/kernel/index.ts";
import { type DecidingSets, quorumValue, tally } from "../../src/raft/quorum.ts";

// The cases of etcd-io/raft's quorum tables: majority_commit, joint_commit, majority_vote, joint_vote.

/** `"123"` or, joint, `"123|345"`. */
function setsOf(text: string): DecidingSets {
  return text.split("|").map((voters) => [...voters].map(nodeId));
}

/** A value for each node from 1 on; `_` has none. */
function valuesOf<Value>(text: string, read: (part: string) => Value): Map<string, Value> {
  const parts = text.split(" ").map((part, position) => [String(position + 1), part] as const);
  return new Map(parts.filter(([, part]) => part !== "_").map(([id, part]) => [id, read(part)]));
}

type CommitCase = readonly [sets: string, matched: string, committed: number];

const commitCases: Readonly<Record<string, readonly CommitCase[]>> = {
  majority_commit: [
    ["1", "_", 0],
    ["1", "12", 12],
    ["12", "_ _", 0],
    ["12", "12 _", 0],
    ["12", "12 5", 5],
    ["12", "12 12", 12],
    ["123", "_ _ _", 0],
    ["123", "12 _ _", 0],
    ["123", "12 5 _", 5],
    ["123", "12 5 6", 6],
    ["123", "12 5 4", 5],
    ["123", "5 5 6", 5],
    ["123", "100 101 99", 100],
    ["1234", "_ _ _ _", 0],
    ["1234", "12 13 _ _", 0],
    ["1234", "12 13 5 _", 5],
    ["1234", "12 13 14 5", 12],
    ["1234", "2 2 6 6", 2],
    ["12345", "_ 101 _ 103 104", 101],
    ["12345", "101 102 _ 103 104", 102],
    ["12345", "_ 101 _ 103 _", 0],
    ["12345", "1 1 1 9 9", 1],
  ],
  joint_commit: [
    // Two single voters: the slower one decides.
    ["1|2", "_ _", 0],
    ["1|2", "100 _", 0],
    ["1|2", "13 100", 13],
    ["1|1", "100", 100],
    // A pair and one outside of it, or inside of it.
    ["13|2", "100 _ _", 0],
    ["13|2", "100 _ 50", 0],
    ["13|2", "100 45 50", 45],
    ["13|2", "100 55 50", 50],
    ["12|2", "100 _", 0],
    ["12|2", "_ 100", 0],
    ["12|2", "50 100", 50],
    ["12|2", "100 50", 50],
    // Two pairs, apart, sharing one, and the same.
    ["12|34", "50 _ 49 _", 0],
    ["12|34", "50 48 49 _", 0],
    ["12|34", "50 48 49 47", 47],
    ["12|23", "_ 100 99", 0],
    ["12|23", "101 100 99", 99],
    ["12|12", "_ 40", 0],
    ["12|12", "41 40", 40],
    // Two threes, apart, sharing one or two, and the same.
    ["123|456", "100 99 98 _ _ _", 0],
    ["123|456", "100 99 _ 90 _ _", 0],
    ["123|456", "_ 99 90 97 95 _", 90],
    ["123|456", "92 99 90 97 95 77", 92],
    ["123|145", "100 _ _ 99 _", 0],
    ["123|145", "100 98 _ 99 _", 98],
    ["123|234", "_ 100 99 _", 99],
    ["123|234", "50 _ 99 98", 50],
    ["123|123", "9 7 8", 8],
    // A change of size.
    ["12345|123", "5 4 _ _ 9", 4],
    ["12345|1", "3 9 9 9 9", 3],
    ["1|12345", "9 1 1 1 1", 1],
  ],
};

for (const [name, cases] of Object.entries(commitCases)) {
  t.test(`the quorum's value, as in ${name}`, async (t) => {
    for (const [sets, matched, committed] of cases) {
      const values = valuesOf(matched, Number);
      const value = quorumValue(setsOf(sets), (node) => values.get(node) ?? 0);
      t.equal(value, committed, `${sets}: ${matched}`);
      const turned = setsOf(sets).toReversed();
      const again = quorumValue(turned, (node) => values.get(node) ?? 0);
      t.equal(again, committed, `${sets}: ${matched}, halves exchanged`);
    }
  });
}

type VoteCase = readonly [sets: string, votes: string, result: "won" | "lost" | "pending"];

const voteCases: Readonly<Record<string, readonly VoteCase[]>> = {
  majority_vote: [
    ["1", "_", "pending"],
    ["1", "n", "lost"],
    ["1", "y", "won"],
    // A voter that is not in the set does not count.
    ["1", "_ y", "pending"],
    ["12", "_ _", "pending"],
    ["12", "n _", "lost"],
    ["12", "y _", "pending"],
    ["12", "n y", "lost"],
    ["12", "y y", "won"],
    ["123", "_ _ _", "pending"],
    ["123", "_ n _", "pending"],
    ["123", "_ y _", "pending"],
    ["123", "n y _", "pending"],
    ["123", "n n _", "lost"],
    ["123", "y y _", "won"],
    ["123", "n n y", "lost"],
    ["123", "n y y", "won"],
    ["1234", "_ _ _ _", "pending"],
    ["1234", "y y _ _", "pending"],
    ["1234", "n n _ _", "lost"],
    ["1234", "y y n _", "pending"],
    ["1234", "y y n n", "lost"],
    ["1234", "y y y _", "won"],
    ["12345", "y y _ _ _", "pending"],
    ["12345", "n n y _ _", "pending"],
    ["12345", "y y y _ _", "won"],
    ["12345", "n n n y _", "lost"],
    ["12345", "y y n n _", "pending"],
  ],
  joint_vote: [
    ["1|1", "_", "pending"],
    ["1|1", "n", "lost"],
    ["1|1", "y", "won"],
    ["1|2", "_ _", "pending"],
    ["1|2", "n _", "lost"],
    ["1|2", "y _", "pending"],
    ["1|2", "y n", "lost"],
    ["1|2", "y y", "won"],
    ["1|2", "n n", "lost"],
    ["12|34", "_ _ _ _", "pending"],
    ["12|34", "n _ _ _", "lost"],
    ["12|34", "y _ y _", "pending"],
    ["12|34", "y n _ _", "lost"],
    ["12|34", "y y _ _", "pending"],
    ["12|34", "y y y n", "lost"],
    ["12|34", "y y y y", "won"],
    ["12|23", "y y _", "pending"],
    ["12|23", "_ n _", "lost"],
    ["12|23", "y y n", "lost"],
    ["12|23", "y y y", "won"],
    ["12|12", "y _", "pending"],
    ["12|12", "y y", "won"],
    ["123|456", "y y _ _ _ _", "pending"],
    ["123|456", "y y n y n _", "pending"],
    ["123|456", "y y n n n _", "lost"],
    ["123|456", "y y n y n y", "won"],
    ["123|145", "y _ _ _ _", "pending"],
    ["123|145", "y y _ y _", "won"],
    ["123|145", "n n _ _ _", "lost"],
    ["123|145", "n y y y n", "lost"],
    ["123|123", "y y _", "won"],
    ["123|123", "n y _", "pending"],
  ],
};

for (const [name, cases] of Object.entries(voteCases)) {
  t.test(`the state of an election, as in ${name}`, async (t) => {
    for (const [sets, given, result] of cases) {
      const votes = valuesOf(given, (part) => part === "y");
      const byNode = new Map([...votes].map(([id, vote]) => [nodeId(id), vote]));
      t.equal(tally(setsOf(sets), byNode), result, `${sets}: ${given}`);
      t.equal(tally(setsOf(sets).toReversed(), byNode), result, `${sets}: ${given}, exchanged`);
    }
  });
}
