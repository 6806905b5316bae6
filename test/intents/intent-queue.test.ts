import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { type Intent, IntentQueue, maxIntents, noIntents } from "../../src/intents/index.ts";
import { openIntentQueue } from "../../src/intents/io/intent-file.ts";
import { serviceSpec, template } from "../builders.ts";

function change(text = "web:1"): Omit<Intent, "number"> {
  const specs = [serviceSpec({ template: template({ image: text }) })];
  const command = { kind: "put_services", specs, nowMs: 5, expected: { "shop/web": [0] } } as const;
  return { proposalId: `p-${text}`.slice(0, 64), author: "token t1", takenAtMs: 1_000, command };
}

function open(t: Test) {
  const file = join(t.testdir(), "intents");
  const fatal: unknown[] = [];
  const damaged: string[] = [];
  const onFatal = (error: unknown) => fatal.push(error);
  const onDamaged = (movedTo: string) => damaged.push(movedTo);
  return { file, fatal, damaged, open: () => openIntentQueue({ file, onFatal, onDamaged }) };
}

t.test("what was taken, refused and cancelled is so after a restart", (t) => {
  const on = open(t);
  const queue = on.open();
  const [first, second, third] = [1, 2, 3].map((n) => queue.take(change(`web:${n}`)));
  if (first === undefined || second === undefined || third === undefined) throw new Error("taken");
  queue.refused(second, { code: "conflict", message: "changed" });
  queue.cancel(third.number);
  const again = on.open();
  t.strictSame(again.intents.get(), [
    first,
    { ...second, refusal: { code: "conflict", message: "changed" } },
  ]);
  again.cancel(1);
  again.cancel(2);
  t.equal(on.open().take(change()).number, 4, "no number is given twice");
  t.end();
});

t.test("a write that a crash cut short leaves what was before", (t) => {
  const on = open(t);
  on.open().take(change());
  writeFileSync(`${on.file}.new`, readFileSync(on.file).subarray(0, 20));
  t.equal(on.open().intents.get().length, 1);
  t.strictSame(on.damaged, []);
  t.end();
});

t.test("a damaged file is put aside and told of, and the node starts", (t) => {
  const on = open(t);
  on.open().take(change());
  const bytes = readFileSync(on.file);
  for (const damage of [
    bytes.subarray(0, 30),
    Buffer.concat([bytes.subarray(0, -1), Buffer.from([(bytes.at(-1) ?? 0) ^ 1])]),
    Buffer.from("x"),
  ]) {
    writeFileSync(on.file, damage);
    t.strictSame(on.open().intents.get(), []);
    t.ok(readFileSync(`${on.file}.damaged`).equals(damage), "for whoever can make sense of it");
    t.notOk(existsSync(on.file));
  }
  t.equal(on.damaged.length, 3);
  t.end();
});

t.test("a failed write ends the daemon, and nothing counts as kept", (t) => {
  const on = open(t);
  const directory = join(on.file, "..");
  const queue = on.open();
  rmSync(directory, { recursive: true });
  t.throws(() => queue.take(change()), { code: "ENOENT" });
  t.equal(on.fatal.length, 1);
  t.strictSame(queue.intents.get(), []);
  mkdirSync(directory);
  t.end();
});

t.test("so many changes, and so many bytes of them, are kept and no more", (t) => {
  const many = new IntentQueue(noIntents, () => undefined);
  for (let n = 0; n < maxIntents; n += 1) many.take(change(`web:${n}`));
  t.throws(() => many.take(change()), { code: "queue_full", message: /100 changes wait/ });
  const large = new IntentQueue(noIntents, () => undefined);
  const big = "x".repeat(900_000);
  for (let n = 0; n < 4; n += 1) large.take(change(`${n}${big}`));
  t.throws(() => large.take(change(big)), { code: "queue_full", message: /bytes/ });
  t.equal(large.intents.get().length, 4);
  t.end();
});

t.test("what is being agreed right now cannot be taken back", (t) => {
  const queue = new IntentQueue(noIntents, () => undefined);
  const intent = queue.take(change());
  const end = queue.begin(intent);
  t.throws(() => queue.cancel(intent.number), { code: "in_flight" });
  end();
  queue.cancel(intent.number);
  t.strictSame(queue.intents.get(), []);
  t.end();
});
