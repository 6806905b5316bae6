import { existsSync, readFileSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { capture, DemoNode, skein } from "../../scripts/demo/cluster.ts";
import type { CreatedToken, NodeView, StatusView } from "../../src/api/index.ts";
import { shortDirectory } from "./directory.ts";

/** Who may join, who is shown out, and what becomes of it: with real daemons. */

t.test("tokens and removal", { timeout: 300_000 }, async (t) => {
  const directory = shortDirectory(t);
  const makeNode = (number: number, name = `n${number}`) =>
    new DemoNode({ name, address: `127.0.92.${number}`, directory, runtime: "process" });
  const all: DemoNode[] = [];
  const node = (number: number, name?: string) => {
    const made = makeNode(number, name);
    all.push(made);
    return made;
  };
  const [n1, n2, n3, n4] = [node(1), node(2), node(3), node(4)];
  const seed = `${n1.address}:7946`;
  t.teardown(async () => {
    await Promise.all(all.map((each) => each.remove()));
  });

  const until = async (what: string, limitMs: number, test: () => Promise<boolean>) => {
    const from = performance.now();
    while (!(await test())) {
      if (performance.now() - from > limitMs) throw new Error(`after ${limitMs} ms not: ${what}`);
      await sleep(50);
    }
    const tookMs = Math.round(performance.now() - from);
    t.comment(`${what}: after ${tookMs} ms`);
    return tookMs;
  };
  const nodesOf = async (on: DemoNode) => (await on.get<NodeView[]>("/v1/nodes")) ?? [];
  const holdsKey = ({ dataDirectory }: DemoNode) =>
    existsSync(join(dataDirectory, "cluster-key.json"));
  const votersOf = async (on: DemoNode) =>
    (await nodesOf(on)).filter(({ role }) => role !== "follower" && role !== "learner").length;
  const token = async (...args: readonly string[]) =>
    await n1.json<CreatedToken>("token", "create", ...args);
  /** Starts a daemon that is expected to end by itself. */
  const refused = async (
    from: Pick<DemoNode, "name" | "address" | "dataDirectory">,
    environment: Readonly<Record<string, string>>,
  ) =>
    await capture(
      skein,
      [
        ...["daemon", `--name=${from.name}`, `--data-dir=${from.dataDirectory}`],
        ...[`--listen=${from.address}:7946`, "--http-port=8080", "--runtime=process"],
        ...["--timing=local", `--join=${seed}`],
      ],
      environment,
    );

  await n1.start(undefined);
  await until("the first node leads", 20_000, async () => (await votersOf(n1)) === 1);

  await t.test("who has no valid token is refused, told why, and leaves no trace", async (t) => {
    const good = await token();
    const expired = await token("--ttl", "1s");
    const revoked = await token();
    t.equal((await n1.skein("token", "revoke", revoked.id)).status, 0);
    const admin = await token("--role", "admin");
    // Not the last letters: some of their bits may stand for nothing.
    const altered = `${good.token.slice(0, 60)}${good.token[60] === "A" ? "B" : "A"}${good.token.slice(61)}`;
    await sleep(1_100);
    const cases: readonly (readonly [string, Readonly<Record<string, string>>, number, RegExp])[] =
      [
        ["no token", {}, 2, /a token is needed/],
        ["nonsense", { SKEIN_TOKEN: "skein1_nonsense" }, 8, /cannot be read/],
        ["an altered token", { SKEIN_TOKEN: altered }, 8, /./],
        ["an expired token", { SKEIN_TOKEN: expired.token }, 8, /expired/],
        ["a revoked token", { SKEIN_TOKEN: revoked.token }, 8, /revoked/],
        ["a client's token", { SKEIN_TOKEN: admin.token }, 8, /for clients, not for machines/],
      ];
    for (const [name, environment, status, message] of cases) {
      const result = await refused(n2, environment);
      t.equal(result.status, status, `${name}: ${result.stderr}`);
      t.match(result.stderr, message, name);
      t.notOk(existsSync(join(n2.dataDirectory, "credentials.json")), name);
      for (const secret of [good, expired, revoked, admin]) {
        t.notOk(result.stderr.includes(secret.token), `${name}: not repeated`);
      }
    }
    t.equal((await nodesOf(n1)).length, 1);
  });

  await t.test("a token of another cluster is not even shown to the seed", async (t) => {
    const foreign = node(9, "elsewhere");
    await foreign.start(undefined);
    const theirs = await foreign.json<CreatedToken>("token", "create");
    const result = await refused(n2, { SKEIN_TOKEN: theirs.token });
    t.equal(result.status, 8, result.stderr);
    t.match(result.stderr, /not a member of the cluster/);
    await foreign.remove();
  });

  await t.test("one use admits one machine, from a file as well", async (t) => {
    const once = await token("--uses", "1");
    await n2.start({ seed, token: once.token });
    const second = await refused(n3, { SKEIN_TOKEN: once.token });
    t.equal(second.status, 8);
    t.match(second.stderr, /used up/);
    t.match((await n1.skein("token", "ls")).stdout, new RegExp(`${once.id}.* used up`));
    await n3.start({ seed, token: (await token()).token });
    await until("three voters", 30_000, async () => (await votersOf(n1)) === 3);
    await until("and each holds the cluster key", 10_000, async () => [n1, n2, n3].every(holdsKey));
    for (const file of ["cluster-key.json", "credentials.json", "identity.key"]) {
      t.equal(statSync(join(n2.dataDirectory, file)).mode & 0o777, 0o600, file);
    }
    t.notMatch(readFileSync(join(n2.dataDirectory, "credentials.json"), "utf8"), /clusterKey/);
  });

  await t.test("a machine in use is removed by force only, and told so at once", async (t) => {
    const gentle = await n1.skein("node", "rm", "n3");
    t.equal(gentle.status, 7);
    t.match(gentle.stderr, /n3 is alive.*drain n3.*--force n3/);
    const ended = n3.ended();
    const startedAt = performance.now();
    const forced = await n1.skein("node", "rm", "--force", "n3");
    t.equal(forced.status, 0, forced.stderr);
    t.equal(await ended, 8);
    const tookMs = performance.now() - startedAt;
    t.comment(`n3 ended ${Math.round(tookMs)} ms after the command began`);
    t.match(readFileSync(`${n3.dataDirectory}.log`, "utf8"), /removed from its cluster/);
    for (const on of [n1, n2]) {
      await until(`${on.name} lists two`, 5_000, async () => (await nodesOf(on)).length === 2);
    }
    await until("one of two votes", 20_000, async () => (await votersOf(n1)) === 1);
    t.notOk(holdsKey(n3), "it has given up the cluster key");
    await until(
      "who votes no more has given it up too",
      60_000,
      async () => [n1, n2].filter(holdsKey).length === 1,
    );
  });

  await t.test("it does not come back by itself, nor with its old files", async (t) => {
    const again = await refused(n3, {});
    t.equal(again.status, 8, again.stderr);
    t.match(again.stderr, /removed from its cluster.*new token/s);
    rmSync(join(n3.dataDirectory, "removed"));
    const forgetful = await refused(n3, {});
    t.equal(forgetful.status, 8, "nor when it has forgotten");
    t.equal((await nodesOf(n1)).length, 2);
  });

  await t.test("set up anew under its old name it joins with a new token", async (t) => {
    const { token: text } = await token();
    const follower = holdsKey(n1) ? n2 : n1;
    t.notOk(holdsKey(follower));
    // The seed does not vote: it hands the request on.
    await n4.start({ seed: `${follower.address}:7946`, token: text });
    await n4.remove();
    const anew = node(5, "n4");
    const early = await refused(
      { name: "n4", address: anew.address, dataDirectory: join(directory, "other") },
      { SKEIN_TOKEN: text },
    );
    t.equal(early.status, 8, early.stderr);
    t.match(early.stderr, /node rm --force n4/, "it is told how");
    await until("n4 is failed or left", 30_000, async () =>
      (await nodesOf(n1)).some(({ name, status }) => name === "n4" && status !== "ready"),
    );
    const removed = await n1.skein("node", "rm", "--force", "n4");
    t.equal(removed.status, 0, removed.stderr);
    rmSync(n4.dataDirectory, { recursive: true });
    await anew.start({ seed, token: text });
    await until("n4 is ready again", 20_000, async () =>
      (await nodesOf(n1)).some(({ name, status }) => name === "n4" && status === "ready"),
    );
    await until("three voters again", 30_000, async () => (await votersOf(n1)) === 3);
    t.ok((await n1.get<StatusView>("/v1/status"))?.quorum.hasQuorum);
  });

  await t.test("no secret stands in a log, nor is a key readable by others", async (t) => {
    const logs = [n1, n2, n3].map(({ dataDirectory }) =>
      readFileSync(`${dataDirectory}.log`, "utf8"),
    );
    for (const log of logs) {
      t.notMatch(log, /skein1_/);
      t.notMatch(log, /PRIVATE KEY/);
    }
  });
});
