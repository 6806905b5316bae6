import t from "tap";
import { nodeId, randomBelow, seededRandom } from "../../src/kernel/index.ts";
import { hasQuorum, quorumValue, tally } from "../../src/raft/quorum.ts";

const ids = ["a", "b", "c", "d", "e"].map(nodeId);

t.test("the quorum's value is what a plain count says, for any two halves", async (t) => {
  const random = seededRandom(1);
  for (let round = 0; round < 500; round += 1) {
    const half = () => ids.filter(() => random.next() < 0.6);
    const sets = [half(), half()].filter((voters) => voters.length > 0);
    if (sets.length === 0) continue;
    const values = new Map(ids.map((id) => [id, randomBelow(random, 6)]));
    const heldBy = (id: (typeof ids)[number]) => values.get(id) ?? 0;
    let expected = 0;
    for (let value = 0; value <= 6; value += 1) {
      const isHeld = sets.every(
        (voters) => voters.filter((id) => heldBy(id) >= value).length > voters.length / 2,
      );
      if (isHeld) expected = value;
    }
    if (quorumValue(sets, heldBy) !== expected) {
      t.fail(`round ${round}`, { sets, values, expected });
    }
  }
  t.equal(
    hasQuorum([], () => true),
    false,
    "nobody is no majority",
  );
});

t.test("an election is", async (t) => {
  const cases = [
    { name: "pending without answers", votes: {}, expected: "pending" },
    { name: "pending with one of three", votes: { a: true }, expected: "pending" },
    { name: "won with two of three", votes: { a: true, b: true }, expected: "won" },
    { name: "lost with two refusals", votes: { a: false, b: false, c: true }, expected: "lost" },
  ];
  for (const { name, votes, expected } of cases) {
    t.test(name, async (t) => {
      const given = new Map(Object.entries(votes).map(([id, vote]) => [nodeId(id), vote]));
      t.equal(tally([ids.slice(0, 3)], given), expected);
    });
  }
  t.test("lost when one half refuses, though the other agrees", async (t) => {
    const votes = new Map(ids.map((id, position) => [id, position < 2]));
    t.equal(tally([ids.slice(0, 3), ids.slice(2)], votes), "lost");
  });
});
