import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { ApiClient, type DoctorView, type TaskView } from "../../src/api/index.ts";
import { socketTransport } from "../../src/api/io/http-transport.ts";
import { shortDirectory } from "./directory.ts";
import { denyAllBut, firewallUnavailable } from "./firewall.ts";
import { Machines, machinesUnavailable } from "./machines.ts";
import { allowedMs, Watch } from "./watch.ts";

/**
 * Machines that come, are drained, are cut off and are walled in, while a service is used.
 * `SKEIN_E2E_CUT_SECONDS` says how long one is cut off.
 */

const skip = machinesUnavailable() ?? false;
const numbers = [1, 2, 3];
const cutSeconds = Number(process.env["SKEIN_E2E_CUT_SECONDS"] ?? 25);
const port = 8080;
const socketPath = "/var/lib/skein/data/skein.sock";

t.test("machines come, go and are looked after", { skip, timeout: 900_000 }, async (t) => {
  await using machines = await Machines.start(4);
  const watch = new Watch(t, machines, numbers, { socketPath });
  const all = new Watch(t, machines, [...numbers, 4], { socketPath });
  const skein = (from: number, ...args: readonly string[]) => watch.skein(from, ...args);
  const start = (number: number, ...args: readonly string[]) =>
    machines.startDaemon(number, "--data-dir=/var/lib/skein/data", "--runtime=docker", ...args);
  /** Cheaper than a process each, where something is waited for. */
  const apis = [...numbers, 4].map(
    (number) => new ApiClient(socketTransport(join(machines.dataPath(number), "data/skein.sock"))),
  );
  const api = (number: number) => {
    const client = apis[number - 1];
    if (client === undefined) throw new Error(`machine ${number}?`);
    return client;
  };
  const signal = AbortSignal.timeout(850_000);
  const file = join(shortDirectory(t), "compose.yaml");
  writeFileSync(
    file,
    `name: shop
services:
  web:
    image: skein-test/web:1
    ports: ["${port}:80"]
    deploy: { replicas: 4 }
  agent:
    image: skein-test/web:1
    deploy: { mode: global }
`,
  );
  const token = async () => (await skein(1, "token", "create")).stdout.trim();
  const inspect = (from: number, node: string) =>
    api(from).call("getNode", { params: { node }, signal });
  const nodesOf = (from: number) => api(from).call("listNodes", { signal });
  const tasksOf = async (from: number) =>
    (await api(from).call("listTasks", { signal })).filter(({ desired }) => desired === "running");
  const webs = (tasks: readonly TaskView[]) => tasks.filter(({ service }) => service === "web");
  const running = async (from: number) =>
    (await tasksOf(from)).filter(({ status }) => status === "running");
  const doctorOf = async (from: number) => {
    const { status, stdout, stderr } = await skein(from, "doctor", "--json");
    if (stdout === "") throw new Error(`skein doctor on m${from}: ${stderr}`);
    return { status, view: JSON.parse(stdout) as DoctorView };
  };
  const problemsOf = ({ findings }: DoctorView) =>
    findings.filter(({ severity }) => severity === "problem").map(({ message }) => message);

  let limitMs = 10_000;

  await t.test("three of them, two services", async (t) => {
    start(1);
    const bootMs = await watch.until("the first daemon answers", 60_000, async () => {
      return (await watch.nodes(1)).length === 1;
    });
    // On a machine that is busy with other things everything takes longer, in proportion.
    limitMs = Math.max(limitMs, 3 * bootMs);
    const text = await token();
    for (const number of [2, 3]) {
      start(number, "--join", "10.98.0.1:7946", "--token", text);
    }
    await watch.until("three ready voters", 60_000, async () => {
      return (await watch.seesAllReady(2)) && (await watch.voters(2)) === 3;
    });
    const up = await skein(3, "up", "-f", file);
    t.equal(up.status, 0, up.stderr);
  });

  await t.test("every pair of links is tested, from any machine", async (t) => {
    const { status, view } = await doctorOf(2);
    t.strictSame(problemsOf(view), []);
    t.equal(status, 0);
    t.equal(view.links.length, 6);
    for (const { from, to, isUp, port: state } of view.links) {
      t.ok(isUp && state === "open", `${from} to ${to}`);
    }
    const table = await skein(3, "doctor");
    t.match(table.stdout, /FROM \\ TO +m1 +m2 +m3/);
  });

  await t.test("what a machine has, uses and runs is known to the others", async (t) => {
    await watch.until("m2's figures have arrived", 15_000, async () => {
      return (await inspect(3, "m2")).cpu.usedMillis !== null;
    });
    const node = await inspect(1, "m2");
    t.match(node, { status: "ready", eligibility: "active", address: "10.98.0.2:7946" });
    t.match(node.runtime, /^docker \d/);
    t.ok((node.memory.usedBytes ?? 0) > 0);
    t.ok((node.disk?.usedBytes ?? 0) > 0);
    t.ok(node.taskList.some(({ name, status }) => name === "agent.m2" && status === "running"));
  });

  await t.test("a label given by command steers placement and outlives a restart", async (t) => {
    t.equal((await skein(1, "node", "label", "m3", "disk=ssd")).status, 0);
    await machines.signalDaemon(3, "SIGTERM");
    start(3);
    await watch.until("m3 is back", 30_000, () => watch.seesAllReady(3));
    t.strictSame((await inspect(2, "m3")).labels, { disk: "ssd" });
    const steered = join(shortDirectory(t), "steered.yaml");
    writeFileSync(
      steered,
      `name: steered
services:
  db:
    image: skein-test/web:1
    deploy: { replicas: 2, placement: { constraints: ["node.labels.disk == ssd"] } }
`,
    );
    const up = await skein(2, "up", "-f", steered);
    t.equal(up.status, 0, up.stderr);
    const tasks = (await tasksOf(1)).filter(({ service }) => service === "db");
    t.strictSame([...new Set(tasks.map(({ node }) => node))], ["m3"]);

    const stuck = await skein(1, "node", "drain", "m3");
    t.equal(stuck.status, 3, "nobody else may run it");
    t.match(stuck.stderr, /run on there.*constraint node\.labels\.disk == ssd/s);
    t.equal((await skein(1, "node", "resume", "m3")).status, 0);
    t.equal((await skein(2, "down", "-f", steered)).status, 0);
  });

  await t.test("a drain moves everything, start-first, without a failed request", async (t) => {
    const load = machines.startLoad({
      targets: numbers.map((number) => ({ host: machines.address(number), port })),
      intervalMs: 20,
    });
    await load.started;
    const counts: number[] = [];
    const looking = new AbortController();
    const counted = (async () => {
      while (!looking.signal.aborted) {
        counts.push(webs(await running(3)).length);
        await sleep(50);
      }
    })();
    const { status, stdout, stderr } = await skein(1, "node", "drain", "m2");
    looking.abort();
    await counted;
    t.equal(status, 0, stderr);
    t.match(stdout, /m2 is drained/);
    t.match(stderr, /m2: \d tasks? left/, "it shows the progress");
    await sleep(500);
    const samples = await load.stop();
    const failed = samples.filter((sample) => sample.status !== 200);
    t.strictSame(failed, [], `of ${samples.length} requests`);
    t.ok(samples.length > 50);
    t.ok(Math.min(...counts) >= 4, `${counts}: never fewer than asked for`);
    t.strictSame(watch.containers([2]).get(2), [], "the global one has gone too");
    t.equal(webs(await running(1)).length, 4);
    t.match(await inspect(3, "m2"), { eligibility: "drain", tasks: 0, taskList: [] });
    t.match((await skein(2, "status")).stdout, /drained: m2/);
  });

  await t.test("taken back, it gets work again", async (t) => {
    t.equal((await skein(3, "node", "resume", "m2")).status, 0);
    await watch.until("the global task runs there again", 20_000, async () => {
      return (await running(1)).some(({ name }) => name === "agent.m2");
    });
    const scaled = await skein(1, "scale", "web=6");
    t.equal(scaled.status, 0, scaled.stderr);
    t.ok(webs(await running(2)).some(({ node }) => node === "m2"));
  });

  const unavailable = firewallUnavailable(machines, 1) ?? false;
  await t.test("behind walls with one open port", { skip: unavailable }, async () => {
    for (const number of [1, 2, 3, 4]) denyAllBut(machines, number, [7946]);
  });

  await t.test("a fourth machine joins and gets work within 10 s", async (t) => {
    const text = await token();
    const from = performance.now();
    start(4, "--join", "10.98.0.3:7946", "--token", text);
    await all.until("the global task runs there", 120_000, async () => {
      return (await running(1)).some(({ name }) => name === "agent.m4");
    });
    t.ok(performance.now() - from < limitMs);
    const scaled = await skein(4, "scale", "shop/web=8");
    t.equal(scaled.status, 0, scaled.stderr);
    t.ok(webs(await running(4)).some(({ node }) => node === "m4"));
    const { status, view } = await doctorOf(4);
    t.strictSame(problemsOf(view), [], "all reach all through the walls");
    t.equal(status, 0);
    const seen = new Set<string>();
    for (let i = 0; i < 24; i += 1) {
      const page = machines.exec(1, ["busybox", "wget", "-qO-", `http://127.0.0.1:${port}/`]);
      t.equal(page.status, 0, page.stderr);
      seen.add(page.stdout);
    }
    t.equal(seen.size, 8, "every replica, on whichever machine, answers");
  });

  await t.test(`a machine cut off for ${cutSeconds} s, and healed`, async (t) => {
    const four = [1, 2, 3, 4];
    const wanted = (await tasksOf(1)).length;
    machines.cut(3);
    const cutAt = performance.now();
    await all.until("m3 is given up", 60_000, async () => {
      return (await inspect(1, "m3")).status === "failed";
    });
    const { status, view } = await doctorOf(1);
    t.equal(status, 1);
    const problems = problemsOf(view);
    t.equal(problems.length, 1, problems.join("; "));
    t.match(problems[0], /No node gets an answer from m3/);
    t.ok(view.links.some(({ from, to, isUp }) => from === "m2" && to === "m3" && !isUp));
    t.equal((await doctorOf(3)).status, 1);
    t.match((await skein(3, "status")).stdout, /degraded: \d of 3 voters, no quorum/);
    await sleep(Math.max(0, cutSeconds * 1_000 - (performance.now() - cutAt)));

    machines.heal(3);
    const viewOf = async (from: number) => {
      const nodes = await nodesOf(from);
      const tasks = await tasksOf(from);
      return JSON.stringify({
        nodes: nodes.map(({ name, status: state, tasks: count }) => [name, state, count]),
        tasks: tasks.map(({ id, node, status: state }) => [id, node, state]),
      });
    };
    const took = await all.until("all see the same again", 60_000, async () => {
      const views = await Promise.all(four.map(viewOf));
      const [first = ""] = views;
      return new Set(views).size === 1 && !/failed|suspect|unknown/.test(first);
    });
    t.ok(took < allowedMs(limitMs));
    await all.until("nothing doubled, nothing lost", 30_000, () => {
      return all.allContainers().length === wanted;
    });
    const ids = all.allContainers();
    await sleep(3_000);
    t.strictSame([...all.allContainers()].sort(), [...ids].sort(), "and it stays so");
    t.strictSame(problemsOf((await doctorOf(3)).view), []);
  });
});
