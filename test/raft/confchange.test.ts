import t from "tap";
import { nodeId, type Random, seededRandom } from "../../src/kernel/index.ts";
import {
  allMembers,
  ConfigurationHistory,
  decodeConfiguration,
  encodeConfiguration,
  isJoint,
  isSameSet,
  leaveJoint,
  problemOf,
  simpleConfiguration,
  stepTowards,
  type TargetConfiguration,
} from "../../src/raft/configuration.ts";
import type { Configuration, Entry } from "../../src/raft/index.ts";
import { hasQuorum } from "../../src/raft/quorum.ts";
import { paperRules } from "../../src/raft/rules.ts";
import { showConfiguration } from "./scenarios/trace.ts";

// The cases of etcd-io/raft's confchange tables, for changes that name the whole target.

const nodes = (text: string) => [...text].map(nodeId);

/** `"123+4"`: voters 1, 2, 3 and learner 4. */
function targetOf(text: string): TargetConfiguration {
  const [voters = "", learners = ""] = text.split("+");
  return { voters: nodes(voters), learners: nodes(learners) };
}

const cases: readonly {
  readonly name: string;
  readonly current: string;
  readonly target: string;
  readonly step: string;
  /** Where the step is joint: what follows. */
  readonly left?: string;
}[] = [
  {
    name: "joint_autoleave: two voters are added",
    current: "1",
    target: "123",
    step: "{1,2,3|1}",
    left: "{1,2,3}",
  },
  {
    name: "joint_learners_next: a demoted voter is a learner only afterwards",
    current: "1",
    target: "2+1",
    step: "{2|1 >1}",
    left: "{2 +1}",
  },
  {
    name: "joint_idempotency: a voter, a learner and a demotion at once",
    current: "1",
    target: "3+12",
    step: "{3|1 +2 >1}",
    left: "{3 +1,2}",
  },
  {
    name: "joint_safety: all voters are replaced",
    current: "1",
    target: "23+4",
    step: "{2,3|1 +4}",
    left: "{2,3 +4}",
  },
  {
    name: "joint_safety: one learner more is no joint change",
    current: "23+4",
    target: "23+49",
    step: "{2,3 +4,9}",
  },
  {
    name: "simple_idempotency: the same members again",
    current: "12+3",
    target: "12+3",
    step: "{1,2 +3}",
  },
  {
    name: "simple_idempotency: the same members in another order",
    current: "123",
    target: "312",
    step: "{1,2,3}",
  },
  {
    name: "simple_promote_demote: one voter is demoted",
    current: "123",
    target: "13+2",
    step: "{1,3|1,2,3 >2}",
    left: "{1,3 +2}",
  },
  {
    name: "simple_promote_demote: a learner is promoted",
    current: "13+2",
    target: "123",
    step: "{1,2,3|1,3}",
    left: "{1,2,3}",
  },
  {
    name: "simple_promote_demote: one up, one down",
    current: "12+3",
    target: "13+2",
    step: "{1,3|1,2 >2}",
    left: "{1,3 +2}",
  },
  {
    name: "simple_safety: one voter, also one at a time, goes through a joint configuration",
    current: "1",
    target: "12",
    step: "{1,2|1}",
    left: "{1,2}",
  },
  {
    name: "simple_safety: all learners go",
    current: "1+2345",
    target: "1",
    step: "{1}",
  },
  {
    name: "a learner is kept while voters change (etcd #18347)",
    current: "12+45",
    target: "123+45",
    step: "{1,2,3|1,2 +4,5}",
    left: "{1,2,3 +4,5}",
  },
];

for (const { name, current, target, step, left } of cases) {
  t.test(name, async (t) => {
    const next = stepTowards(simpleConfiguration(targetOf(current)), targetOf(target));
    t.equal(showConfiguration(next), step);
    t.equal(isJoint(next), left !== undefined);
    if (left !== undefined) t.equal(showConfiguration(leaveJoint(next)), left);
    t.strictSame(decodeConfiguration(encodeConfiguration(next)), next);
  });
}

t.test("joint_safety, simple_safety, zero: what makes no configuration", async (t) => {
  t.match(problemOf(targetOf("")), /at least one voter/);
  t.match(problemOf(targetOf("+12")), /at least one voter/);
  t.match(problemOf(targetOf("12+2")), /Node 2 is named twice/);
  t.match(problemOf(targetOf("11")), /Node 1 is named twice/);
  const many = { voters: Array.from({ length: 1_001 }, (_, n) => nodeId(`n${n}`)), learners: [] };
  t.match(problemOf(many), /at most 1000/);
  t.equal(problemOf(targetOf("1+2")), undefined);
});

const ids = nodes("123456");

function randomTarget(random: Random): TargetConfiguration {
  const voters = ids.filter(() => random.next() < 0.5);
  if (voters.length === 0) voters.push(ids[0] ?? nodeId("1"));
  const learners = ids.filter((id) => !voters.includes(id) && random.next() < 0.4);
  return { voters, learners };
}

/** All sets of nodes, one after the other. */
function* subsets(): Generator<ReadonlySet<string>> {
  for (let bits = 0; bits < 2 ** ids.length; bits += 1) {
    yield new Set(ids.filter((_, position) => (bits >> position) % 2 === 1));
  }
}

t.test("two configurations next to each other cannot decide without each other", async (t) => {
  const random = seededRandom(3);
  for (let round = 0; round < 40; round += 1) {
    const from = simpleConfiguration(randomTarget(random));
    const target = randomTarget(random);
    const next = stepTowards(from, target);
    const steps: readonly Configuration[] = isJoint(next)
      ? [from, next, leaveJoint(next)]
      : [from, next];
    t.equal(
      showConfiguration(steps.at(-1) ?? from),
      showConfiguration(simpleConfiguration(target)),
    );
    for (const [position, left] of steps.entries()) {
      const right = steps[position + 1];
      if (right === undefined) continue;
      // The smallest test of it: no set decides on one side while its complement does on the other.
      for (const set of subsets()) {
        const isLeft = hasQuorum(paperRules.decidingSets(left), (id) => set.has(id));
        const isRight = hasQuorum(paperRules.decidingSets(right), (id) => !set.has(id));
        if (isLeft && isRight) {
          t.fail(`${showConfiguration(left)} and ${showConfiguration(right)} decide apart`);
        }
      }
    }
    const learners = new Set([...next.learners, ...next.learnersNext]);
    t.ok(target.learners.every((id) => learners.has(id)));
    t.notOk(next.learners.some((id) => [...next.voters, ...next.votersOutgoing].includes(id)));
    t.ok(next.learnersNext.every((id) => next.votersOutgoing.includes(id)));
    t.ok(isSameSet(allMembers(leaveJoint(next)), [...target.voters, ...target.learners]));
  }
});

t.test(
  "a configuration is in force from the log on, and taken back when its entry is",
  async (t) => {
    const entry = (index: number, text: string): Entry => {
      const configuration = simpleConfiguration(targetOf(text));
      return { index, term: 1, kind: "configuration", data: encodeConfiguration(configuration) };
    };
    const history = new ConfigurationHistory({
      index: 1,
      configuration: simpleConfiguration(targetOf("1")),
    });
    history.append([entry(3, "12"), entry(5, "123")]);
    t.equal(showConfiguration(history.current), "{1,2,3}");
    t.equal(showConfiguration(history.at(4)), "{1,2}");
    t.equal(showConfiguration(history.at(2)), "{1}");
    const normal: Entry = { index: 4, term: 2, kind: "normal", data: new Uint8Array() };
    history.append([normal]);
    t.equal(showConfiguration(history.current), "{1,2}", "entry 5 was superseded");
    history.append([{ ...normal, index: 2 }]);
    t.equal(showConfiguration(history.current), "{1}");
    history.append([entry(6, "14")]);
    history.prune(6);
    t.equal(showConfiguration(history.at(9)), "{1,4}");
  },
);
