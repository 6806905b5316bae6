import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { DemoNode } from "../../scripts/demo/cluster.ts";
import type { IntentView, NodeView, StatusView, TaskView } from "../../src/api/index.ts";
import { docker, testImage, whyNoDocker } from "../runtime/docker-fixture.ts";
import { shortDirectory } from "./directory.ts";

/** Changes without a quorum, by three daemons on the real engine. */

const skip = (await whyNoDocker()) ?? false;
/** Of its own: the engine is shared with whatever else is tested here. */
const namespace = `intents-${process.pid}`;

t.test("two of three daemons are lost", { skip, timeout: 380_000 }, async (t) => {
  const directory = shortDirectory(t);
  const nodes = [1, 2, 3].map(
    (number) =>
      new DemoNode({
        name: `n${number}`,
        address: `127.0.76.${number}`,
        directory,
        runtime: "docker",
        flags: ["--timing=lan"],
      }),
  );
  const [survivor, second, third] = nodes;
  if (survivor === undefined || second === undefined || third === undefined) {
    throw new Error("there are three");
  }
  t.teardown(async () => {
    await Promise.all(nodes.map((node) => node.remove()));
    const left = [...(await containers("web")), ...(await containers("api"))];
    if (left.length > 0) await docker("rm", "-f", ...left);
  });

  const until = async (what: string, limitMs: number, test: () => Promise<boolean>) => {
    const from = performance.now();
    while (!(await test())) {
      if (performance.now() - from > limitMs) {
        for (const { dataDirectory } of nodes) {
          t.comment(readFileSync(`${dataDirectory}.log`, "utf8").slice(-3_000));
        }
        throw new Error(`after ${limitMs} ms still not: ${what}`);
      }
      await sleep(50);
    }
    t.comment(`${what}: after ${Math.round(performance.now() - from)} ms`);
  };
  const tasksOf = async (node: DemoNode) =>
    (await node.get<TaskView[]>(`/v1/tasks?namespace=${namespace}`)) ?? [];
  const servingOn = async (node: DemoNode, service: string) =>
    (await tasksOf(node)).filter(
      (task) => task.service === service && task.desired === "running" && task.status === "running",
    );
  const containers = async (service: string) => {
    const label = `label=skein.service=${namespace}/${service}`;
    const ids = await docker("ps", "-q", "--no-trunc", "--filter", label);
    return ids === "" ? [] : ids.split("\n");
  };
  const hasQuorum = async (node: DemoNode) =>
    (await node.get<StatusView>("/v1/status"))?.quorum.hasQuorum;
  const queue = async () => (await survivor.get<IntentView[]>("/v1/intents")) ?? [];
  const file = (name: string, replicas: number) => {
    const path = join(directory, `${name}.yaml`);
    const command = ["/bin/sh", "-c", "sleep 3600 & wait"];
    const service = { image: testImage, command, stop_grace_period: "1s", deploy: { replicas } };
    writeFileSync(path, JSON.stringify({ name: namespace, services: { [name]: service } }));
    return path;
  };

  await t.test("three daemons run a service", async (t) => {
    await survivor.start(undefined);
    const token = (await survivor.skein("token", "create")).stdout.trim();
    const seed = `${survivor.address}:7946`;
    for (const node of [second, third]) await node.start({ seed, token });
    await until("three ready voters", 60_000, async () => {
      const seen = (await survivor.get<NodeView[]>("/v1/nodes")) ?? [];
      const voters = (await survivor.get<StatusView>("/v1/status"))?.quorum.voters;
      return voters === 3 && seen.filter(({ status }) => status === "ready").length === 3;
    });
    const up = await survivor.skein("up", "-f", file("web", 3));
    t.equal(up.status, 0, up.stderr);
    t.equal((await containers("web")).length, 3);
  });

  await t.test("two are gone: what the survivor runs is healed", async (t) => {
    const [own] = (await servingOn(survivor, "web")).filter(({ node }) => node === "n1");
    await Promise.all([second.stop("SIGKILL"), third.stop("SIGKILL")]);
    await until("the survivor knows", 30_000, async () => (await hasQuorum(survivor)) === false);
    if (own?.containerId == null) throw new Error("a container on the survivor");
    await docker("kill", own.containerId);
    await until("its container runs again", 15_000, async () => {
      const [again] = (await servingOn(survivor, "web")).filter(({ node }) => node === "n1");
      return again?.id === own.id && again.restarts > own.restarts;
    });
    t.ok((await containers("web")).length >= 3);
  });

  await t.test("changes are queued, with exit code 5 and plain words", async (t) => {
    const up = await survivor.skein("up", "-f", file("api", 2));
    t.equal(up.status, 5);
    t.match(up.stderr, `Queued: no quorum. "up ${namespace}/api" is kept on n1 with the number 1`);
    const scale = await survivor.skein("scale", "web=2", "-n", namespace);
    t.equal(scale.status, 5, scale.stderr);
    const refused = await survivor.skein("rm", "--no-queue", `${namespace}/web`);
    t.equal(refused.status, 5);
    t.notMatch(refused.stderr, /Queued/);
    const unknown = await survivor.skein("rm", `${namespace}/nobody`);
    t.equal(unknown.status, 6, "nonsense is no intent");
    const removal = await survivor.skein("rm", `${namespace}/web`);
    t.match(removal.stderr, /number 3/);
    const list = await survivor.skein("ls");
    t.match(list.stdout, /^1 +n1 +up intents-\d+\/api +local +\S+ +Queued: no quorum *$/m);
    const cancelled = await survivor.skein("queue", "cancel", "3");
    t.match(cancelled.stdout, `cancelled 3: rm ${namespace}/web`);
  });

  await t.test("they survive the daemon", async (t) => {
    await survivor.stop("SIGKILL");
    await survivor.start(undefined);
    const waiting = await queue();
    t.strictSame(
      waiting.map(({ number, change }) => [number, change]),
      [
        [1, `up ${namespace}/api`],
        [2, `scale ${namespace}/web=2`],
      ],
    );
  });

  await t.test("one comes back: they are made, and exactly as many copies run", async (t) => {
    await second.start(undefined);
    await until("nothing is queued", 60_000, async () => (await queue()).length === 0);
    await until("all serves, of which nothing is on the lost one", 60_000, async () => {
      const [web, api] = [await servingOn(survivor, "web"), await servingOn(survivor, "api")];
      const isHere = ({ node }: TaskView) => node !== "n3";
      return web.length === 2 && api.length === 2 && [...web, ...api].every(isHere);
    });
    const up = await survivor.skein("up", "-f", file("api", 2));
    t.match(up.stdout, /no changes/);
    await third.start(undefined);
    await until("exactly as many containers", 60_000, async () => {
      return (await containers("web")).length === 2 && (await containers("api")).length === 2;
    });
    const down = await survivor.skein("down", "-n", namespace);
    t.equal(down.status, 0, down.stderr);
    t.strictSame(await containers("web"), []);
  });
});
