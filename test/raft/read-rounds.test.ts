import t from "tap";
import { nodeId } from "../../src/kernel/index.ts";
import { systemClock } from "../../src/kernel/io/system.ts";
import type { ReadAnswer, ReadRequest } from "../../src/raft/message.ts";
import { maxWaitingReads, ReadRounds } from "../../src/raft/read-rounds.ts";

const a = nodeId("a");
const b = nodeId("b");
const c = nodeId("c");
const { signal } = new AbortController();
const answerTicks = 20;

/** The reads of node `a`, whose core is played by the test. */
class Reader {
  readonly sent: { readonly to: string; readonly message: ReadRequest | ReadAnswer }[] = [];
  readonly outcomes: (number | string)[] = [];
  started = 0;
  applied = 100;
  nowMs = 0;
  isLeader = false;
  readonly rounds = new ReadRounds({
    self: a,
    clock: { ...systemClock, monotonic: () => this.nowMs },
    timeoutMs: 5_000,
    answerTicks,
    session: "session",
    startRound: () => (this.isLeader ? ++this.started : undefined),
    isLeader: () => this.isLeader,
    appliedIndex: () => this.applied,
    send: (to, message) => this.sent.push({ to, message }),
    wake: () => undefined,
  });

  read(options = { signal }): void {
    this.rounds.read(options).then(
      (index) => this.outcomes.push(index),
      (error: { code?: string; message: string }) =>
        this.outcomes.push(error.code ?? error.message),
    );
  }

  tick(count = 1): void {
    for (let each = 0; each < count; each += 1) this.rounds.tick({ isLeaderless: false });
  }

  /** What this node asked `to`, by the names of the rounds. */
  asked(to: string): readonly string[] {
    return this.sent.flatMap(({ to: node, message }) =>
      node === to && message.kind === "read_request" ? [message.round] : [],
    );
  }

  async settled(): Promise<readonly (number | string)[]> {
    await new Promise(setImmediate);
    return this.outcomes;
  }
}

const led = { leader: a, term: 1 };
const following = { leader: b, term: 1 };
const answer = (round: string, index: number | null): ReadAnswer => ({
  kind: "read_answer",
  round,
  index,
});

t.test("reads that come during a round share the next one, and never join it", async (t) => {
  const reader = new Reader();
  reader.isLeader = true;
  reader.read();
  reader.rounds.flush(led);
  t.equal(reader.started, 1);
  for (let count = 0; count < 10; count += 1) reader.read();
  reader.rounds.flush(led);
  t.equal(reader.started, 1, "the first is under way");
  reader.rounds.confirm([{ context: 1, index: 7 }]);
  t.strictSame(await reader.settled(), [7], "the later ones do not count as covered");
  reader.rounds.flush(led);
  t.equal(reader.started, 2);
  reader.rounds.confirm([{ context: 2, index: 9 }]);
  t.strictSame(await reader.settled(), [7, ...Array.from({ length: 10 }, () => 9)]);
});

t.test("a round that takes long does not hold up later reads", async (t) => {
  const reader = new Reader();
  reader.read();
  reader.rounds.flush(following);
  reader.read();
  reader.tick();
  reader.rounds.flush(following);
  t.strictSame(reader.asked(b), ["session:1", "session:2"]);
  reader.rounds.answered(b, answer("session:2", 8));
  t.strictSame(await reader.settled(), [8]);
});

t.test("a read waits until its index is applied", async (t) => {
  const reader = new Reader();
  reader.read();
  reader.rounds.flush(following);
  reader.rounds.answered(b, answer("session:1", 101));
  t.strictSame(await reader.settled(), []);
  reader.applied = 101;
  reader.rounds.flush(following);
  t.strictSame(await reader.settled(), [101]);
});

t.test("only the leader's answer to a round under way counts", async (t) => {
  const reader = new Reader();
  reader.read();
  reader.rounds.flush(following);
  reader.rounds.answered(c, answer("session:1", 3));
  reader.rounds.answered(b, answer("earlier process:1", 3));
  reader.rounds.answered(b, answer("session:2", 3));
  reader.rounds.confirm([{ context: 1, index: 3 }]);
  t.strictSame(await reader.settled(), []);
  reader.rounds.answered(b, answer("session:1", 5));
  t.strictSame(await reader.settled(), [5]);
});

t.test("what an old leader did not confirm is asked of the new one at once", async (t) => {
  const reader = new Reader();
  reader.isLeader = true;
  reader.read();
  reader.rounds.flush(led);
  reader.isLeader = false;
  reader.rounds.flush({ leader: c, term: 2 });
  t.strictSame(reader.asked(c), ["session:2"]);
  reader.isLeader = true;
  reader.started = 0; // Contexts begin anew with each term.
  reader.rounds.flush({ leader: a, term: 3 });
  reader.rounds.answered(c, answer("session:2", 4));
  t.strictSame(await reader.settled(), [], "the answer of the past leader");
  reader.rounds.confirm([{ context: 1, index: 6 }]);
  t.strictSame(await reader.settled(), [6]);
});

t.test("a refused read is asked again, and a lost one too", async (t) => {
  const reader = new Reader();
  reader.read();
  reader.rounds.flush(following);
  reader.rounds.answered(b, answer("session:1", null));
  reader.rounds.flush(following);
  t.equal(reader.asked(b).length, 1, "not at once");
  reader.tick(2);
  reader.rounds.flush(following);
  t.equal(reader.asked(b).length, 2);
  reader.tick(answerTicks + 1);
  reader.rounds.flush(following);
  t.equal(reader.asked(b).length, 3);
});

t.test(
  "a read fails when its time is up, without a leader, and when it is abandoned",
  async (t) => {
    const late = new Reader();
    late.read();
    late.rounds.flush(following);
    late.nowMs = 5_000;
    late.tick();
    const leaderless = new Reader();
    leaderless.read();
    leaderless.rounds.tick({ isLeaderless: true });
    const abandoned = new Reader();
    const stop = new AbortController();
    abandoned.read({ signal: stop.signal });
    abandoned.rounds.flush(following);
    stop.abort(new Error("given up"));
    t.strictSame(await late.settled(), ["no_quorum"]);
    t.strictSame(await leaderless.settled(), ["no_quorum"]);
    t.strictSame(await abandoned.settled(), ["given up"]);
  },
);

t.test("another node's read is confirmed by the leader and refused by others", async (t) => {
  const reader = new Reader();
  reader.rounds.asked(c, { kind: "read_request", round: "of c:1" });
  t.strictSame(reader.sent, [{ to: c, message: answer("of c:1", null) }]);
  reader.isLeader = true;
  reader.rounds.asked(c, { kind: "read_request", round: "of c:2" });
  reader.rounds.flush(led);
  // Applying it is the asking node's matter.
  reader.rounds.confirm([{ context: 1, index: 1_000 }]);
  t.strictSame(reader.sent[1], { to: c, message: answer("of c:2", 1_000) });
  reader.rounds.asked(c, { kind: "read_request", round: "of c:3" });
  reader.rounds.flush(led);
  reader.isLeader = false;
  reader.rounds.flush(following);
  t.strictSame(reader.sent.slice(2), [{ to: c, message: answer("of c:3", null) }]);
});

t.test("reads beyond the limit are refused", async (t) => {
  const reader = new Reader();
  for (let count = 0; count <= maxWaitingReads; count += 1) reader.read();
  t.strictSame(await reader.settled(), ["overloaded"]);
  reader.rounds.failAll(new Error("closed"));
  t.equal((await reader.settled()).length, maxWaitingReads + 1);
});
