import { generateKeyPairSync, randomBytes } from "node:crypto";
import { generateKeyPair } from "@libp2p/crypto/keys";
import t from "tap";
import { seal, unseal } from "../../src/network/io/seal.ts";

function ed25519() {
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  const raw = (text: string | undefined) => Buffer.from(text ?? "", "base64url");
  return {
    publicKey: raw(publicKey.export({ format: "jwk" }).x),
    seed: raw(privateKey.export({ format: "jwk" }).d),
  };
}

t.test("only the holder of the key opens it, for what it was meant", async (t) => {
  const plain = randomBytes(1_000);
  for (let round = 0; round < 50; round += 1) {
    const { publicKey, seed } = ed25519();
    const sealed = seal(publicKey, plain, "a");
    t.same(unseal(seed, sealed, "a"), plain);
    t.throws(() => unseal(seed, sealed, "b"), { message: /cannot be opened/ });
    t.throws(() => unseal(ed25519().seed, sealed, "a"), { message: /cannot be opened/ });
    const altered = Buffer.from(sealed);
    const place = round * 20;
    altered[place] = (altered[place] ?? 0) ^ 1;
    t.throws(() => unseal(seed, altered, "a"), { message: /cannot be opened/ }, `octet ${place}`);
  }
});

t.test("no two sealed messages are alike, and pieces are refused", async (t) => {
  const { publicKey, seed } = ed25519();
  const plain = Buffer.from("the same");
  t.notSame(seal(publicKey, plain, "a"), seal(publicKey, plain, "a"));
  const sealed = seal(publicKey, plain, "a");
  for (let length = 0; length < sealed.length; length += 1) {
    t.throws(() => unseal(seed, sealed.subarray(0, length), "a"), { message: /cannot be opened/ });
  }
  t.same(unseal(seed, seal(publicKey, new Uint8Array(), "a"), "a"), Buffer.alloc(0));
});

t.test("the identity of a node is such a key", async (t) => {
  const key = await generateKeyPair("Ed25519");
  const sealed = seal(key.publicKey.raw, Buffer.from("hello"), "a");
  t.same(unseal(key.raw.subarray(0, 32), sealed, "a"), Buffer.from("hello"));
});
