import t from "tap";
import type { ServiceView, TaskView } from "../../src/api/index.ts";
import { docker } from "../runtime/docker-fixture.ts";
import { shortDirectory } from "./directory.ts";
import { OneNode, shell, whyNoNode } from "./one-node.ts";

/** Pods and the order of starting as a person uses them, on the real engine. */

const skip = await whyNoNode();
const http = "exec httpd -f -p 8080 -h /www";

t.test("pods on the real engine", { skip, timeout: 360_000 }, async (t) => {
  await using one = await OneNode.start(shortDirectory(t), "127.0.74.1");
  const { node } = one;
  const tasks = (name: string) => node.json<TaskView[]>("ps", name);
  const taskOf = async (name: string) => {
    const found = (await tasks(name)).filter(({ desired }) => desired === "running");
    const [task] = found;
    if (task === undefined || found.length > 1) throw new Error(`${name} has not one task`);
    return task;
  };
  const containerOf = (task: TaskView, name: string) =>
    task.containers.find((each) => each.name === name)?.containerId ?? "";
  const settled = async (name: string, restarts: number) =>
    await one.until(`${name} runs after ${restarts} restarts`, 60_000, async () => {
      const task = await taskOf(name);
      return task.status === "running" && task.restarts === restarts;
    });

  await t.test(
    "[D1] two containers of a pod are on one node, reach each other on localhost, share volumes, and start, stop and fail together",
    async (t) => {
      const up = await one.up({
        prepare: {
          ...shell("echo first && echo prepared > /www/index.html"),
          "x-pod": "site",
          restart: "on-failure",
          volumes: ["/www"],
        },
        web: {
          ...shell(`cat /www/index.html && ${http}`),
          "x-pod": "site",
          volumes_from: ["prepare"],
          depends_on: { prepare: { condition: "service_completed_successfully" } },
          "x-healthcheck": { tcp: ":8080", interval: "1s", start_interval: "200ms" },
        },
        sidecar: {
          ...shell("wget -qO- 127.0.0.1:8080; while :; do echo beat; sleep 1; done"),
          network_mode: "service:web",
          volumes_from: ["web:ro"],
          depends_on: { web: { condition: "service_healthy" } },
        },
      });
      t.equal(up.status, 0, up.stderr);
      await settled("site", 0);
      const before = await taskOf("site");
      t.match(before, {
        phase: "Running",
        health: "healthy",
        containers: [
          { name: "prepare", role: "init", status: "succeeded" },
          { name: "web", role: "main", status: "running", health: "healthy" },
          { name: "sidecar", role: "companion", status: "running" },
        ],
      });
      t.match((await node.skein("ps", "site")).stdout, /site\.1 +running 2\/2 +Running +healthy/);
      await one.until("the sidecar has asked", 10_000, async () => {
        const { stdout } = await node.skein("logs", "site", "-c", "sidecar");
        return /prepared/.test(stdout) && /beat/.test(stdout);
      });
      t.match((await node.skein("logs", "site")).stdout, /prepared/, "of the main container");
      t.match((await node.skein("logs", "site", "-c", "prepare")).stdout, /first/);
      const unknown = await node.skein("logs", "site", "-c", "nothing");
      t.match(unknown.stderr, /no container "nothing": prepare, web, sidecar/);
      const [web, sidecar] = [containerOf(before, "web"), containerOf(before, "sidecar")];
      t.equal(await docker("exec", sidecar, "cat", "/www/index.html"), "prepared");
      t.equal(
        await docker("inspect", "-f", "{{.HostConfig.NetworkMode}}", sidecar),
        `container:${web}`,
      );

      await t.test("the end of either one starts both again", async (t) => {
        await docker("kill", sidecar);
        await settled("site", 1);
        const after = await taskOf("site");
        t.not(containerOf(after, "web"), web, "the main one is new");
        await docker("kill", containerOf(after, "web"));
        await settled("site", 2);
        const last = await taskOf("site");
        t.not(containerOf(last, "sidecar"), containerOf(after, "sidecar"));
        t.equal(
          await docker("exec", containerOf(last, "sidecar"), "wget", "-qO-", "127.0.0.1:8080"),
          "prepared",
        );
      });

      await t.test("a daemon that starts anew adopts it as it is", async (t) => {
        const ids = (await taskOf("site")).containers.map(({ containerId }) => containerId);
        await node.stop("SIGKILL");
        await node.start(undefined);
        await settled("site", 2);
        const now = (await taskOf("site")).containers.map(({ containerId }) => containerId);
        t.strictSame(now, ids);
      });

      await t.test("it stops as one", async (t) => {
        t.equal((await node.skein("rm", "kinds/site")).status, 0);
        t.equal(await docker("ps", "-aq", "--filter", "label=skein.service=kinds/site"), "");
      });
    },
  );

  await t.test(
    "[D10] a database with its volume, the web service that waits for it, and an exporter on every node come from one file",
    async (t) => {
      const start = "rm -f /data/state; sleep 3; echo ready > /data/state; exec sleep 1000";
      const up = await one.up({
        web: {
          ...shell(`mkdir /www; echo shop > /www/index.html; ${http}`),
          depends_on: {
            db: { condition: "service_healthy", restart: true },
            migrate: { condition: "service_completed_successfully" },
          },
          deploy: { replicas: 2 },
        },
        migrate: {
          ...shell("echo migrated"),
          depends_on: { db: { condition: "service_healthy" } },
        },
        db: {
          ...shell(start),
          volumes: ["data:/data"],
          healthcheck: { test: "test -f /data/state", interval: "1s", start_period: "20s" },
        },
        exporter: { ...shell("exec sleep 1000"), deploy: { mode: "global" } },
      });
      t.equal(up.status, 0, up.stderr);
      const services = await node.json<ServiceView[]>("ls");
      t.match(
        services.map(({ name, mode, running }) => ({ name, mode, running })),
        [
          { name: "db", mode: "replicated", running: 1 },
          { name: "exporter", mode: "global", running: 1 },
          { name: "migrate", mode: "replicated-job" },
          { name: "web", mode: "replicated", running: 2 },
        ],
      );
      const startedAt = async (name: string) => {
        const ids = (await tasks(name)).flatMap(({ containerId }) => containerId ?? []);
        const all = await docker(
          "ps",
          "-aq",
          "--no-trunc",
          "--filter",
          `label=skein.service=kinds/${name}`,
        );
        const found = ids.length > 0 ? ids : all.split("\n");
        const times = await docker("inspect", "-f", "{{.State.StartedAt}}", ...found);
        return times.split("\n").map((time) => Date.parse(time));
      };
      const [db] = await startedAt("db");
      const [migrate] = await startedAt("migrate");
      const web = await startedAt("web");
      t.ok((migrate ?? 0) - (db ?? 0) >= 3_000, "the job waited until the database was healthy");
      t.ok(
        web.every((time) => time >= (migrate ?? 0)),
        "the web service came last",
      );
      const down = await node.skein("down", "-n", "kinds");
      t.equal(down.status, 0, down.stderr);
      t.match(down.stdout, /removed kinds\/db/);
      await docker("volume", "rm", "kinds_data");
    },
  );

  await t.test("what waits says why, and starts when it may", async (t) => {
    const file = {
      web: { ...shell("exec sleep 1000"), depends_on: { db: { condition: "service_healthy" } } },
      db: {
        ...shell("exec sleep 1000"),
        healthcheck: { test: "test -f /tmp/ready", interval: "1s", start_period: "300s" },
        tmpfs: "/tmp",
      },
    };
    t.equal((await one.up(file, "--detach")).status, 0);
    await one.until("the database runs", 20_000, async () =>
      (await tasks("db")).some(({ status }) => status === "running"),
    );
    await one.until("it is said", 10_000, async () =>
      /kinds\/web\.1 waits for db to be healthy/.test((await node.skein("why", "web")).stdout),
    );
    t.strictSame(await tasks("web"), []);
    await docker("exec", (await taskOf("db")).containerId ?? "", "touch", "/tmp/ready");
    await one.until("web runs", 20_000, async () =>
      (await tasks("web")).some(({ status }) => status === "running"),
    );
    await docker("exec", (await taskOf("db")).containerId ?? "", "rm", "/tmp/ready");
    const id = (await taskOf("web")).containerId ?? "";
    await docker("kill", id);
    await one.until("web is started again though db is unhealthy", 20_000, async () => {
      const task = await taskOf("web");
      return task.status === "running" && task.containerId !== id;
    });
    t.equal((await node.skein("down", "-n", "kinds")).status, 0);
  });
});
