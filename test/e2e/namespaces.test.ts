import { writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import type { ServiceView, TaskView } from "../../src/api/index.ts";
import { docker, testImage } from "../runtime/docker-fixture.ts";
import { shortDirectory } from "./directory.ts";
import { OneNode, shell, whyNoNode } from "./one-node.ts";

/** Namespaces, their removal and priorities as a person uses them, on the real engine. */

const skip = await whyNoNode();
const volume = `data-${process.pid}`;

t.test("namespaces on the real engine", { skip, timeout: 240_000 }, async (t) => {
  const directory = shortDirectory(t);
  await using one = await OneNode.start(directory, "127.0.77.1");
  const { node } = one;
  t.teardown(() => docker("volume", "rm", "-f", `kinds_${volume}`));
  const waits = shell("sleep 3600 & wait");
  const file = (name: string, services: Readonly<Record<string, object>>, top: object = {}) => {
    const path = join(directory, `${name}.yaml`);
    const each = Object.entries(services).map(([key, service]) => [
      key,
      { image: testImage, stop_grace_period: "1s", ...waits, ...service },
    ]);
    writeFileSync(path, JSON.stringify({ ...top, services: Object.fromEntries(each) }));
    return path;
  };
  const names = async () =>
    (await node.json<ServiceView[]>("ls")).map(({ namespace, name }) => `${namespace}/${name}`);
  const up = async (path: string) => {
    const result = await node.skein("up", "-f", path);
    t.equal(result.status, 0, result.stderr);
  };

  await t.test("[B9] down by file, by name and by namespace removes nothing else", async (t) => {
    const top = { name: "kinds" };
    const first = file("first", { web: {}, debug: { profiles: ["debug"] } }, top);
    const mounts = { volumes: [`${volume}:/data`] };
    const second = file("second", { db: mounts }, { ...top, volumes: { [volume]: {} } });
    await up(first);
    await up(second);
    await up(file("other", { web: {} }, { name: "kinds2" }));
    t.strictSame(await names(), ["kinds/db", "kinds/web", "kinds2/web"]);
    const byFile = await node.skein("down", "-f", first);
    t.match(byFile, { status: 0, stdout: "removed kinds/web\n" });
    t.strictSame(await names(), ["kinds/db", "kinds2/web"]);
    t.equal((await node.skein("down", "-f", first)).status, 6, "there is nothing left of it");
    const byName = await node.skein("rm", "kinds/db");
    t.match(byName.stdout, /removed kinds\/db\nkept the data of volume \S*data-\d+ on n1/);
    const bySpace = await node.skein("ns", "rm", "kinds2");
    t.match(bySpace.stdout, "removed kinds2/web");
    t.strictSame(await names(), []);
    t.equal(await docker("ps", "-q", "--filter", "label=skein.service=kinds2/web"), "");
  });

  await t.test("[L3] a quota refuses what is too much, with the numbers", async (t) => {
    const set = await node.skein("ns", "quota", "kinds", "--tasks", "2", "--memory", "64m");
    t.match(set.stdout, /kinds +0 +0\/2 +0 +0B\/64M/);
    const memory = { resources: { reservations: { memory: "16M" } } };
    const path = (replicas: number) =>
      file("limited", { web: { deploy: { replicas, ...memory } } }, { name: "kinds" });
    const refused = await node.skein("up", "-f", path(3));
    t.equal(refused.status, 8);
    t.match(refused.stderr, /quota of namespace kinds is 2 tasks; it has 0 tasks.*3 tasks/);
    await up(path(2));
    t.match((await node.skein("ns", "ls")).stdout, /kinds +1 +2\/2 +0 +32M\/64M/);
    t.equal((await node.skein("ns", "rm", "kinds")).status, 0);
    t.match(await node.skein("ns", "ls"), { stdout: /NAMESPACE/ }, "the quota went along");
    t.notMatch((await node.skein("ns", "ls")).stdout, /kinds/);
  });

  await t.test("a higher priority displaces a lower one, which comes back", async (t) => {
    const [machine] =
      (await node.get<readonly { cpu: { capacityMillis: number } }[]>("/v1/nodes")) ?? [];
    const cpus = String((0.6 * (machine?.cpu.capacityMillis ?? 0)) / 1_000);
    const most = { resources: { reservations: { cpus } } };
    await up(file("low", { low: { deploy: most } }, { name: "kinds" }));
    const high = file("high", { high: { deploy: most, "x-priority": 100 } }, { name: "kinds" });
    const planned = await node.skein("plan", "-f", high);
    t.match(planned.stdout, /kinds\/low: 1 -> 0 tasks/, "plan shows what has to go");
    await up(high);
    const running = async (service: string) =>
      (await node.json<TaskView[]>("ps", `kinds/${service}`)).filter(
        ({ desired, status }) => desired === "running" && status === "running",
      ).length;
    t.equal(await running("high"), 1);
    t.equal(await running("low"), 0);
    const why = await node.skein("why", "kinds/low");
    t.match(why.stdout, /Preempted by kinds\/high\.1 \(priority 100 > 0\)/);
    t.equal((await node.skein("rm", "kinds/high")).status, 0);
    await one.until("the lower one is back", 20_000, async () => (await running("low")) === 1);
  });
});
