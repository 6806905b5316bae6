import t from "tap";
import { nodeId, taskId } from "../../src/kernel/index.ts";
import { namesNode } from "../../src/proxy/index.ts";
import { decodePreamble, encodePreamble } from "../../src/proxy/preamble.ts";

t.test("a preamble is read as it was written, and waits while it is cut", async (t) => {
  const bytes = encodePreamble({ taskId: taskId("abcdefghij23"), target: 8080 });
  t.strictSame(decodePreamble(bytes), { kind: "preamble", taskId: "abcdefghij23", target: 8080 });
  for (let cut = 0; cut < bytes.length; cut += 1) {
    t.strictSame(decodePreamble(bytes.subarray(0, cut)), { kind: "incomplete" }, `cut at ${cut}`);
  }
});

t.test("anything else is malformed", async (t) => {
  const good = encodePreamble({ taskId: taskId("abc"), target: 80 });
  const bad: readonly (readonly [name: string, bytes: Uint8Array])[] = [
    ["another format", good.with(0, 2)],
    ["an empty task", Uint8Array.of(1, 0, 0, 80)],
    ["a long task", Uint8Array.of(1, 65)],
    ["a slash in the task", good.with(3, 0x2f)],
    ["an upper-case task", good.with(2, 0x41)],
    ["port 0", good.with(6, 0)],
    ["bytes behind it", Uint8Array.of(...good, 1)],
  ];
  for (const [name, bytes] of bad) t.strictSame(decodePreamble(bytes), { kind: "malformed" }, name);
});

t.test("which node a certificate names", async (t) => {
  const node = nodeId("12D3KooWabc");
  const uri = "URI:skein://node/12D3KooWabc";
  t.ok(namesNode({ subject: { CN: node } }, node));
  t.ok(namesNode({ subjectaltname: uri }, node));
  t.ok(namesNode({ subjectaltname: `DNS:a, ${uri}` }, node));
  t.notOk(namesNode({ subject: { CN: "other" }, subjectaltname: `${uri}d` }, node));
  t.notOk(namesNode({ subjectaltname: `DNS:"a, ${uri}"` }, node), "hidden in another name");
  t.notOk(namesNode({ subject: { CN: [node, "x"] } }, node));
  t.notOk(namesNode({}, node));
});
