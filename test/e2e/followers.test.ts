import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { DemoNode } from "../../scripts/demo/cluster.ts";
import type { NodeView, StatusView } from "../../src/api/index.ts";
import { shortDirectory } from "./directory.ts";

/** Three voters and many log followers, each a real daemon with an address of its own. */

const followerCount = Number(process.env["SKEIN_E2E_FOLLOWERS"] ?? 6);
/** So many daemons start at a time: two processes each, on few cores. */
const startedAtOnce = 2;

const statusOf = (node: DemoNode) => node.get<StatusView>("/v1/status");
const nodesOf = async (node: DemoNode) => (await node.get<NodeView[]>("/v1/nodes")) ?? [];

t.test(`three voters and ${followerCount} followers`, { timeout: 400_000 }, async (t) => {
  const directory = shortDirectory(t);
  const nodes = Array.from(
    { length: 3 + followerCount },
    (_, number) =>
      new DemoNode({
        name: `n${number + 1}`,
        address: `127.0.91.${number + 1}`,
        directory,
        runtime: "process",
        // Not "local": so many processes on two cores stall for longer than its timeouts.
        flags: ["--voters=3", "--timing=lan"],
      }),
  );
  const [first, ...others] = nodes;
  if (first === undefined) throw new Error("there are nodes");
  t.teardown(async () => {
    await Promise.all(nodes.map((node) => node.remove()));
  });

  const until = async (what: string, limitMs: number, test: () => Promise<boolean>) => {
    const from = performance.now();
    while (!(await test())) {
      if (performance.now() - from > limitMs) {
        for (const { dataDirectory } of nodes.slice(0, 4)) {
          t.comment(readFileSync(`${dataDirectory}.log`, "utf8").slice(-2_000));
        }
        throw new Error(`after ${limitMs} ms still not: ${what}`);
      }
      await sleep(50);
    }
    const tookMs = Math.round(performance.now() - from);
    t.comment(`${what}: after ${tookMs} ms`);
    return tookMs;
  };
  const createToken = async (node: DemoNode) => {
    const { status, stderr } = await node.skein("token", "create");
    if (status !== 0) throw new Error(`token create on ${node.name}: ${stderr}`);
  };
  /** What is committed where it was written is applied by all of these. */
  const haveAll = async (on: readonly DemoNode[], written: DemoNode) => {
    const index = (await statusOf(written))?.commitIndex ?? Number.POSITIVE_INFINITY;
    return async () => {
      const statuses = await Promise.all(on.map(statusOf));
      return statuses.every((status) => (status?.appliedIndex ?? 0) >= index);
    };
  };

  await t.test("they start, three vote, the others follow", async (t) => {
    await first.start(undefined);
    const token = (await first.skein("token", "create")).stdout.trim();
    const seed = `${first.address}:7946`;
    const waiting = [...others];
    const startNext = async () => {
      for (let node = waiting.shift(); node !== undefined; node = waiting.shift()) {
        await node.start({ seed, token });
      }
    };
    await Promise.all(Array.from({ length: startedAtOnce }, startNext));
    await until("three voters, everybody else is fed", 60_000, async () => {
      const list = await nodesOf(first);
      const statuses = await Promise.all(nodes.map(statusOf));
      const voters = list.filter(({ role }) => role === "leader" || role === "voter");
      const fed = statuses.filter((status) => status?.feeder != null);
      return list.length === nodes.length && voters.length === 3 && fed.length === followerCount;
    });
    const list = await nodesOf(first);
    t.equal(list.filter(({ role }) => role === "follower").length, followerCount);
    t.match((await first.skein("node", "ls")).stdout, /follower/);
    for (const node of nodes) {
      const status = await statusOf(node);
      t.ok(status?.quorum.hasQuorum, `${node.name} knows a leader`);
      t.equal(status?.quorum.voters, 3, `${node.name} knows the voters`);
    }
  });

  await t.test("a write on a follower reaches all", async () => {
    const writer = nodes.at(-1) ?? first;
    await createToken(writer);
    await until("applied by all", 10_000, await haveAll(nodes, writer));
  });

  await t.test("kill -9 of the voters' busiest feeder: nothing is lost", async (t) => {
    // Everybody moves to the voters that do not lead; the busier of the two feeds half of them.
    const feeders = async () => {
      const statuses = await Promise.all(nodes.map(statusOf));
      return statuses.map((status) => status?.feeder ?? undefined);
    };
    const voters = async () => {
      const list = await nodesOf(first);
      return list.filter(({ role }) => role === "voter").map(({ name }) => name);
    };
    const names = await voters();
    await until("fed by the two voters that do not lead", 60_000, async () => {
      const counted = (await feeders()).filter((name) => name !== undefined);
      return counted.length === followerCount && counted.every((name) => names.includes(name));
    });
    const counts = Map.groupBy(await feeders(), (name) => name);
    const busiest = names.sort(
      (a, b) => (counts.get(b)?.length ?? 0) - (counts.get(a)?.length ?? 0),
    )[0];
    const victim = nodes.find(({ name }) => name === busiest);
    if (victim === undefined) throw new Error("a voter feeds");
    const rest = nodes.filter((node) => node !== victim);
    const writer = rest.at(-1) ?? first;
    await createToken(writer);
    const killed = victim.stop("SIGKILL");
    const writes = [createToken(writer), createToken(rest[0] ?? first)];
    await killed;
    t.comment(`${victim.name} fed ${counts.get(victim.name)?.length ?? 0} followers`);
    t.ok((counts.get(victim.name)?.length ?? 0) >= followerCount / 2);
    await Promise.all(writes);
    await createToken(writer);
    await until("all that live have every write", 20_000, await haveAll(rest, writer));
    await until("and have a living feeder", 20_000, async () => {
      const statuses = await Promise.all(rest.map(statusOf));
      const fed = statuses.map((status) => status?.feeder).filter((feeder) => feeder != null);
      return fed.length >= followerCount && fed.every((feeder) => feeder !== victim.name);
    });
  });
});
