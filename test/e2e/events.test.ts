import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { DemoNode } from "../../scripts/demo/cluster.ts";
import { ApiClient, type EventView, type TaskView } from "../../src/api/index.ts";
import { socketTransport } from "../../src/api/io/http-transport.ts";
import { docker, testImage } from "../runtime/docker-fixture.ts";
import { shortDirectory } from "./directory.ts";
import { shell, whyNoNode } from "./one-node.ts";

/** What is told of real containers, from whichever daemon is asked. */

const skip = await whyNoNode();

/** Healthy until somebody makes the file. */
const check = {
  test: ["CMD-SHELL", "test ! -e /sick || { echo the disk is sick; exit 7; }"],
  interval: "1s",
  timeout: "5s",
  retries: 1,
};

t.test("events of two daemons", { skip, timeout: 380_000 }, async (t) => {
  const directory = shortDirectory(t);
  const nodes = [1, 2].map((number) => {
    const address = `127.0.75.${number}`;
    return new DemoNode({ name: `n${number}`, address, directory, runtime: "docker" });
  });
  const [n1, n2] = nodes as [DemoNode, DemoNode];
  t.teardown(async () => {
    await n1.skein("down", "-n", "kinds");
    for (const node of nodes) await node.remove();
  });
  await n1.start(undefined);
  const token = (await n1.skein("token", "create")).stdout.trim();
  await n2.start({ seed: "127.0.75.1:7946", token });

  const eventsOf = (node: DemoNode, ...args: readonly string[]) =>
    node.json<EventView[]>("events", ...args);
  const up = async (services: Readonly<Record<string, object>>, ...flags: readonly string[]) => {
    const file = join(directory, "compose.yaml");
    const all = Object.entries(services).map(([name, service]) => [
      name,
      { image: testImage, stop_grace_period: "1s", ...service },
    ]);
    writeFileSync(file, JSON.stringify({ name: "kinds", services: Object.fromEntries(all) }));
    return await n1.skein("up", "-f", file, ...flags);
  };
  /** Waits until such an event is told, and gives all of the object in order. */
  const until = async (node: DemoNode, object: string, test: (list: EventView[]) => boolean) => {
    const deadline = performance.now() + 120_000;
    for (;;) {
      const list = await eventsOf(node, object);
      if (test(list)) return list;
      if (performance.now() > deadline) {
        const text = list.map(({ reason, message }) => `${reason}: ${message}`).join("\n");
        throw new Error(`of ${object} there is only\n${text}`);
      }
      await sleep(500);
    }
  };
  const has = (list: readonly EventView[], reason: string) =>
    list.some((event) => event.reason === reason);

  await t.test("[G3] unhealthy with the last probe, restarted, healthy again", async (t) => {
    const result = await up({ sick: { ...shell("exec sleep 1000"), healthcheck: check } });
    t.equal(result.status, 0, result.stderr);
    const [{ containerId = "", node = "" } = {}] = await n1.json<TaskView[]>("ps", "sick");
    await docker("exec", containerId ?? "", "touch", "/sick");
    // From the other daemon: what a node sees is had from wherever one asks.
    const asked = node === "n1" ? n2 : n1;
    const list = await until(
      asked,
      "sick.1",
      (all) => all.at(-1)?.reason === "Healthy" && has(all, "Unhealthy"),
    );
    t.strictSame(
      list.map(({ reason }) => reason),
      ["Placed", "Started", "Healthy", "Unhealthy", "Restarted", "Started", "Healthy"],
    );
    const [, , , unhealthy, restarted] = list;
    t.match(unhealthy, { type: "Warning", node, message: /exit code 7\. the disk is sick/ });
    t.match(restarted?.message, /is unhealthy: .*the disk is sick.* Restart 1, at once/);
    t.strictSame(await eventsOf(asked === n1 ? n2 : n1, "sick.1"), list, "both tell the same");
  });

  let givenUpBy = "";
  await t.test("[B6] killed, restarted with back-off, given up and placed elsewhere", async (t) => {
    await up({ crash: shell("sleep 0.3; exit 3") }, "-d");
    const list = await until(n2, "crash.1", (all) => has(all, "Moved"));
    const moved = list.findIndex(({ reason }) => reason === "Moved");
    const before = list.slice(0, moved);
    givenUpBy = before[0]?.node ?? "";
    const pauses = before
      .filter(({ reason }) => reason === "Restarted")
      .map(({ message }) => /exit code 3\)\. Restart \d+, (.*)\.$/.exec(message)?.[1]);
    t.match(pauses, ["at once", /^in [\d.]+ s$/, /^in [\d.]+ s$/]);
    t.ok(before.every(({ node }) => node === givenUpBy || node === null));
    t.match(
      before.filter(({ reason }) => reason === "Failed"),
      [{ message: /exit code 3/ }],
    );
    t.match(
      before.filter(({ reason }) => reason === "Stopping"),
      [{ isAgreed: true }],
    );
    t.not(list[moved]?.node, givenUpBy);
    t.match(list[moved]?.message, new RegExp(`^From ${givenUpBy}\\.`));
    const why = await n1.skein("why", "crash.1");
    t.match(why.stdout, /Moved +From n\d\. .*log index \d+/, "why tells it too");
  });

  await t.test("what was decided can be asked for afterwards", async (t) => {
    const [placed] = await eventsOf(n1, "crash.1");
    const at = new Date(Date.parse(placed?.time ?? "") + 100).toISOString();
    const then = await n2.skein("why", "crash.1", "--at", at);
    t.equal(then.status, 0, then.stderr);
    t.match(then.stdout, new RegExp(`^crash\\.1 +\\w+ on ${givenUpBy}, placed `, "m"));
    t.match(then.stdout, /Placed +Fills a free place .*log index/);
    t.notMatch(then.stdout, /Moved/, "that came later");
    t.equal((await n2.skein("why", "crash.1", "--at", "2001-01-01T00:00:00Z")).status, 6);
    t.equal((await n2.skein("why", "crash.1", "--at", "soon")).status, 2);
  });

  await t.test("a restart of the daemon keeps them, and tells nothing twice", async (t) => {
    await n1.skein("rm", "crash");
    const kept = await until(n1, "sick.1", (all) => all.length === 7);
    await n1.stop("SIGKILL");
    await n1.start(undefined);
    await sleep(2_000);
    t.strictSame(await until(n1, "sick.1", (all) => all.length >= 7), kept);
    const all = await eventsOf(n1);
    const agreed = all.filter(({ isAgreed }) => isAgreed).map(({ id }) => id);
    t.equal(new Set(agreed).size, agreed.length);
    t.ok(has(all, "ClusterCreated"));
  });

  await t.test("following tells of what happens anywhere; a lost node is named", async (t) => {
    const ending = new AbortController();
    const client = new ApiClient(socketTransport(n1.socketPath));
    const query = { object: "", reason: "", limit: 1_000, since: new Date().toISOString() };
    const told: EventView[] = [];
    const missing: string[] = [];
    const following = (async () => {
      for await (const part of client.stream("watchEvents", { query, signal: ending.signal })) {
        told.push(...part.events);
        missing.push(...part.unreachable);
      }
    })().catch(() => undefined);
    await up({
      sick: { ...shell("exec sleep 1000"), healthcheck: check },
      fine: shell("exec sleep 1000"),
    });
    const deadline = performance.now() + 60_000;
    const waitFor = async (what: string, test: () => boolean) => {
      while (!test()) {
        if (performance.now() > deadline) throw new Error(`not told: ${what}`);
        await sleep(200);
      }
    };
    const isOf = (reason: string) =>
      told.some((event) => event.reason === reason && event.service === "fine");
    await waitFor("that it was placed and started", () => isOf("Placed") && isOf("Started"));
    await n2.stop("SIGKILL");
    await waitFor("that n2 is missing", () => missing.includes("n2"));
    const { stderr } = await n1.skein("events", "--tail", "1");
    t.match(stderr, /not answering, so what they saw is missing: n2/);
    ending.abort();
    await following;
    t.equal(new Set(told.map(({ id }) => id)).size, told.length, "nothing twice");
    await n2.start(undefined);
  });
});
