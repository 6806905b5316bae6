import t from "tap";
import type { ServiceView, TaskView } from "../../src/api/index.ts";
import { docker } from "../runtime/docker-fixture.ts";
import { shortDirectory } from "./directory.ts";
import { OneNode, shell, whyNoNode } from "./one-node.ts";

/** Jobs as a person uses them, on the real engine. */

const skip = await whyNoNode();
const job = { mode: "replicated-job" };

t.test("jobs on the real engine", { skip, timeout: 240_000 }, async (t) => {
  await using one = await OneNode.start(shortDirectory(t), "127.0.71.1");
  const { node } = one;
  const tasks = (name: string) => node.json<TaskView[]>("ps", name);
  const jobOf = async (name: string) => {
    const all = await node.json<ServiceView[]>("job", "ls");
    return all.find((each) => each.name === name)?.job;
  };

  await t.test(
    "[D2] [D6] exit 0 has Succeeded, is not started again, and its output is kept",
    async (t) => {
      const up = await one.up({ migrate: { ...shell("echo migrated"), deploy: job } });
      t.equal(up.status, 0, up.stderr);
      t.match(await tasks("migrate"), [
        { phase: "Succeeded", status: "completed", exitCode: 0, restarts: 0 },
      ]);
      t.match((await node.skein("logs", "migrate")).stdout, /migrated/);
      t.match((await node.skein("ps", "migrate")).stdout, /migrate\.1 +succeeded/);
      const again = await one.up({ migrate: { ...shell("echo migrated"), deploy: job } });
      t.match(again.stdout, /no changes/);
      t.equal((await tasks("migrate")).length, 1);
    },
  );

  await t.test(
    "[D2] [D6] exit 1 is tried again as often as asked, then it has Failed",
    async (t) => {
      const up = await one.up({
        broken: {
          ...shell("echo attempt; exit 3"),
          deploy: { ...job, restart_policy: { max_attempts: 1 } },
        },
      });
      t.equal(up.status, 1, "the command says that the run failed");
      t.match(up.stderr, /Run 1 of broken failed: task 1 failed 2 times: .*exit code 3/);
      const attempts = await tasks("broken");
      t.equal(attempts.length, 2);
      t.ok(attempts.every(({ phase, exitCode }) => phase === "Failed" && exitCode === 3));
      const { stdout } = await node.skein("logs", "broken");
      t.equal(stdout.match(/attempt/g)?.length, 2, "the output of each attempt is kept");
    },
  );

  await t.test("[D2] what has no room is Pending, what runs is Running", async (t) => {
    const large = {
      ...shell("sleep 600"),
      deploy: { resources: { reservations: { cpus: "64" } } },
    };
    await one.up({ large, small: shell("sleep 600") }, "--detach");
    await one.until("the small one runs", 20_000, async () => {
      return (await tasks("small")).some(({ phase }) => phase === "Running");
    });
    t.match((await node.skein("ps")).stdout, /large \(1 more\) +pending +Pending .*64/);
    t.equal((await node.skein("rm", "large", "small")).status, 0);
  });

  await t.test("a finished job survives the daemon, and stays finished", async (t) => {
    await node.stop("SIGKILL");
    await node.start(undefined);
    await one.until("the tasks are known again", 20_000, async () => {
      const all = await tasks("migrate");
      return all.every(({ phase }) => phase === "Succeeded");
    });
    t.match((await node.skein("logs", "migrate")).stdout, /migrated/);
    t.equal((await tasks("migrate")).length, 1);
    const running = await docker("ps", "-q", "--filter", "label=skein.service=kinds/migrate");
    t.equal(running, "");
  });

  await t.test("job run starts it once more and passes on how it ended", async (t) => {
    const good = await node.skein("job", "run", "migrate");
    t.equal(good.status, 0, good.stderr);
    t.match(good.stdout, /run 2 of kinds\/migrate succeeded/);
    const bad = await node.skein("job", "run", "broken");
    t.equal(bad.status, 1);
    t.equal((await node.skein("job", "run", "nobody")).status, 6);
  });

  await t.test("[D6] completions and parallelism", async (t) => {
    const up = await one.up({
      batch: {
        ...shell("sleep 1"),
        deploy: { ...job, replicas: 4 },
        "x-job": { parallelism: 2 },
      },
    });
    t.equal(up.status, 0, up.stderr);
    t.match((await jobOf("batch"))?.runs, [{ state: "succeeded", succeeded: 4, failed: 0 }]);
    t.match((await node.skein("ls")).stdout, /batch +replicated-job +0\/0 \(4\/4 completed\)/);
  });

  await t.test("[D7] a schedule is triggered by hand, suspended and resumed", async (t) => {
    const up = await one.up({ nightly: { ...shell("echo backup"), "x-schedule": "0 3 * * *" } });
    t.equal(up.status, 0, up.stderr);
    t.equal((await tasks("nightly")).length, 0, "nothing runs before it is due");
    t.match((await node.skein("cron", "ls")).stdout, /nightly +0 3 \* \* \* +UTC +no .*T03:00:00/);
    t.equal((await node.skein("cron", "suspend", "nightly")).status, 0);
    t.match(await jobOf("nightly"), { nextDueAt: null, schedule: { isSuspended: true } });
    t.equal((await node.skein("cron", "trigger", "nightly")).status, 0);
    t.match((await node.skein("logs", "nightly")).stdout, /backup/);
    t.equal((await node.skein("cron", "resume", "nightly")).status, 0);
    t.match((await jobOf("nightly"))?.nextDueAt, /T03:00:00/);
  });

  await t.test("[D7] a schedule runs when it is due", async (t) => {
    await one.up({ minutely: { ...shell("echo tick"), "x-schedule": "* * * * *" } });
    await one.until("it ran by itself", 75_000, async () => {
      const runs = (await jobOf("minutely"))?.runs ?? [];
      return runs.some(({ trigger, state }) => trigger === "schedule" && state === "succeeded");
    });
    const [run] = (await jobOf("minutely"))?.runs ?? [];
    t.match(run?.dueAt, /:00\.000Z$/);
    t.match((await node.skein("logs", "minutely")).stdout, /tick/);
  });
});
