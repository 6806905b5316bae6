import t from "tap";
import { nodeId } from "../../src/kernel/index.ts";
import { nodeSigner } from "../../src/network/io/node-signer.ts";
import { newIdentity } from "./real-nodes.ts";

t.test("what a node signed is its own, whoever checks it, and nothing else is", async (t) => {
  const [author, other] = [await newIdentity(t), await newIdentity(t)];
  const [signer, checker] = [nodeSigner(author), nodeSigner(other)];
  const bytes = Buffer.from("what it says");
  const signature = signer.sign(bytes);
  t.equal(checker.verify(author.nodeId, bytes, signature), true);
  t.equal(checker.verify(author.nodeId, bytes, signature), true, "nor does a second look differ");
  const altered = Buffer.from(signature);
  altered.writeUInt8(altered.readUInt8(3) ^ 1, 3);
  for (const [what, node, text, by] of [
    ["another author", other.nodeId, bytes, signature],
    ["other bytes", author.nodeId, Buffer.from("what it says not"), signature],
    ["an altered signature", author.nodeId, bytes, altered],
    ["a short signature", author.nodeId, bytes, signature.subarray(1)],
    ["no signature", author.nodeId, bytes, new Uint8Array()],
    ["another's signature", author.nodeId, bytes, checker.sign(bytes)],
    ["a name that is no key", nodeId("node-1"), bytes, signature],
    ["no name", nodeId("x"), bytes, signature],
  ] as const) {
    t.equal(checker.verify(node, text, by), false, what);
  }
});
