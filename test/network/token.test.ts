import t from "tap";
import { type ClusterToken, decodeToken, encodeToken } from "../../src/network/index.ts";

const token: ClusterToken = {
  clusterId: "abc234def567",
  role: "node",
  tokenId: "0123456789abcdef",
  secret: "s".repeat(32),
  clusterPublicKey: "k".repeat(43),
  caFingerprint: "f".repeat(64),
  expiresAtMs: 1_800_000_000_000,
};

t.test("a token comes back as it was, also with white space around it", async (t) => {
  const text = encodeToken(token);
  t.match(text, /^skein1_[\w-]+$/);
  t.same(decodeToken(text), token);
  t.same(decodeToken(`  ${text}\n`), token);
  t.same(decodeToken(encodeToken({ ...token, role: "admin" })).role, "admin");
});

const encoded = (fields: unknown) =>
  `skein1_${Buffer.from(JSON.stringify(fields)).toString("base64url")}`;
const { clusterId, role, tokenId, secret, clusterPublicKey, caFingerprint, expiresAtMs } = token;
const good = [clusterId, role, tokenId, secret, clusterPublicKey, caFingerprint, expiresAtMs];

const unreadable: readonly (readonly [string, string])[] = [
  ["nothing", ""],
  ["only the prefix", "skein1_"],
  ["another version", encodeToken(token).replace("skein1_", "skein2_")],
  ["a token that was cut off", encodeToken(token).slice(0, -10)],
  ["a token with a strange character", `${encodeToken(token).slice(0, -1)}!`],
  ["no list", encoded({ clusterId })],
  ["a field too few", encoded(good.slice(1))],
  ["a field too many", encoded([...good, 1])],
  ["an unknown role", encoded(good.with(1, "root"))],
  ["a secret that is too short", encoded(good.with(3, "short"))],
  ["a fingerprint that is none", encoded(good.with(5, "x".repeat(64)))],
  ["a text without end", `skein1_${"A".repeat(100_000)}`],
];

for (const [name, text] of unreadable) {
  t.test(`${name} is no token, and the message says what to do`, async (t) => {
    t.throws(() => decodeToken(text), {
      code: "bad_token",
      message: /cannot be read.*skein token create/,
    });
  });
}
