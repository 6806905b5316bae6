import t from "tap";
import { type DaemonFlags, readSettings } from "../../src/daemon/settings.ts";
import { gossipTimings } from "../../src/gossip/index.ts";
import { raftTimings } from "../../src/raft/index.ts";

function read(flags: DaemonFlags, environment: NodeJS.ProcessEnv = {}) {
  return readSettings({ name: "n1", ...flags }, environment, (path) => `token from ${path}\n`);
}

t.test("flag, then environment, then default", async (t) => {
  t.match(read({}, { HOME: "/home/x" }), { listen: { host: "0.0.0.0", port: 7946 }, httpPort: 80 });
  t.equal(read({}, { SKEIN_HTTP_PORT: "8080" }).httpPort, 8080);
  t.equal(read({ httpPort: "81" }, { SKEIN_HTTP_PORT: "8080" }).httpPort, 81);
});

t.test("every timing has both its parts, and is chosen by name", async (t) => {
  t.equal(read({}).timing, "lan");
  t.equal(read({}, { SKEIN_TIMING: "wan" }).timing, "wan");
  t.strictSame(Object.keys(raftTimings).sort(), Object.keys(gossipTimings).sort());
  for (const timing of Object.keys(raftTimings)) t.equal(read({ timing }).timing, timing);
});

t.test("addresses get the default port, also IPv6 ones", async (t) => {
  t.strictSame(read({ join: "10.0.0.1, [fd00::1]:80" }).join, ["10.0.0.1:7946", "[fd00::1]:80"]);
  t.strictSame(read({ listen: "[::]:7000" }).listen, { host: "::", port: 7000 });
});

t.test("a token may come from a file, so that it shows in no argument list", async (t) => {
  t.equal(read({ tokenFile: "/token" }).token, "token from /token");
  t.equal(read({}, { SKEIN_TOKEN: "abc" }).token, "abc");
  const unreadable = () => {
    throw new Error("no such file");
  };
  t.throws(() => readSettings({ name: "n1", tokenFile: "/none" }, {}, unreadable), {
    code: "usage",
    message: /--token-file: no such file/,
  });
});

const wrong: readonly { readonly flags: DaemonFlags; readonly message: RegExp }[] = [
  { flags: { name: "No Such_Name" }, message: /name/ },
  { flags: { listen: "a b" }, message: /--listen: "a b"/ },
  { flags: { label: ["zone"] }, message: /--label: "zone" is not NAME=VALUE/ },
  { flags: { timing: "moon" }, message: /timing/ },
  { flags: { runtime: "podman" }, message: /runtime/ },
  { flags: { voters: "4" }, message: /voters: 1, 3, 5 or 7/ },
  { flags: { httpPort: "many" }, message: /httpPort/ },
];

t.test("what cannot be used is refused by name", async (t) => {
  for (const { flags, message } of wrong) t.throws(() => read(flags), { code: "usage", message });
});
