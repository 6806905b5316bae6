import { join } from "node:path";
import t from "tap";
import { connect } from "../../src/cli/connection.ts";
import { encodeToken } from "../../src/network/index.ts";

const token = encodeToken({
  clusterId: "c1",
  role: "admin",
  tokenId: "ab",
  secret: "a-secret-of-some-length",
  clusterPublicKey: "k".repeat(43),
  caFingerprint: "0".repeat(64),
  expiresAtMs: 1,
});

t.test("the token for a remote node comes from a file or the environment", async (t) => {
  const directory = t.testdir({ good: `${token}\n`, bad: "nonsense" });
  const [good, bad] = [join(directory, "good"), join(directory, "bad")];
  t.ok(connect({ host: "n1", tokenFile: good }, {}));
  t.ok(connect({ host: "n1" }, { SKEIN_TOKEN_FILE: good }));
  t.ok(connect({ host: "n1" }, { SKEIN_TOKEN: token, SKEIN_TOKEN_FILE: bad }));
  t.ok(connect({ host: "n1", tokenFile: good }, { SKEIN_TOKEN: "nonsense" }), "a flag wins");
  t.throws(() => connect({ host: "n1", tokenFile: bad }, { SKEIN_TOKEN: token }), {
    code: "bad_token",
  });
  t.throws(() => connect({ host: "n1" }, {}), { code: "usage", message: /--token-file/ });
  t.throws(() => connect({ host: "n1", tokenFile: join(directory, "none") }, {}), {
    code: "usage",
    message: /cannot be read/,
  });
  t.ok(connect({ host: "/run/socket" }, {}), "the local socket needs none");
});
