import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import type { ServiceView, TaskView } from "../../src/api/index.ts";
import { shortDirectory } from "./directory.ts";
import { Machines, machinesUnavailable, type Sample } from "./machines.ts";
import { Watch } from "./watch.ts";

/** Every way in which a new version comes, or does not, on three machines under load. */

const skip = machinesUnavailable() ?? false;
const numbers = [1, 2, 3];
const publishedPort = 8080;
const check = { "x-healthcheck": { http: ":80/", interval: "1s", retries: 1 } };

t.test("updates on three machines", { skip, timeout: 600_000 }, async (t) => {
  await using machines = await Machines.start(3);
  const directory = shortDirectory(t);
  const watch = new Watch(t, machines, numbers);
  machines.startDaemon(1);
  await watch.until("the first daemon answers", 60_000, async () => {
    return (await watch.nodes(1)).length === 1;
  });
  const token = (await machines.skein(1, "token", "create")).stdout.trim();
  for (const number of [2, 3]) {
    machines.startDaemon(number, "--join", "10.98.0.1:7946", "--token", token);
  }
  await watch.until("three voters", 60_000, async () => {
    return (await watch.seesAllReady(1)) && (await watch.voters(1)) === 3;
  });

  /** `web` in this version, with what is said of it laid over. */
  function file(version: string, more: Record<string, unknown> = {}, deploy: object = {}): string {
    const path = join(directory, "compose.yaml");
    const web = {
      image: `skein-test/web:${version}`,
      stop_grace_period: "2s",
      ports: [`${publishedPort}:80`],
      ...check,
      deploy: { replicas: 3, update_config: { monitor: "1s" }, ...deploy },
      ...more,
    };
    writeFileSync(path, JSON.stringify({ name: "shop", services: { web } }));
    return path;
  }

  const targets = numbers.map((number) => ({
    host: machines.address(number),
    port: publishedPort,
  }));
  const failures = (samples: readonly Sample[]) =>
    samples.filter(({ status }) => status !== 200).slice(0, 5);
  const versionOf = ({ body = "" }: Sample) => body.split(" ")[1];

  /** Asks 500 times a second while something happens. */
  async function underLoad(what: () => Promise<unknown>): Promise<readonly Sample[]> {
    const load = machines.startLoad({ targets, intervalMs: 2 });
    await load.started;
    await sleep(300);
    await what();
    await sleep(500);
    const samples = await load.stop();
    t.comment(`${samples.length} requests`);
    return samples;
  }

  /** When the first answer of the new version was asked for, and the last of the old one. */
  function move(samples: readonly Sample[], to: string) {
    const firstNew = samples.find((sample) => versionOf(sample) === to)?.atMs ?? Infinity;
    const lastOld = samples.findLast((sample) => versionOf(sample) !== to)?.atMs ?? 0;
    return { firstNew, lastOld };
  }

  t.match(await machines.skein(1, "up", "-f", file("1")), { status: 0 });

  await t.test(
    "[E1] [E2] [E3] [E5] replicas are replaced one at a time, without a failed request",
    async (t) => {
      const before = watch.allContainers();
      const counts: number[] = [];
      let isOver = false;
      const samples = await underLoad(async () => {
        const up = machines.skein(1, "up", "-f", file("2")).finally(() => {
          isOver = true;
        });
        while (!isOver) {
          counts.push(watch.allContainers().length);
          await sleep(50);
        }
        const { status, stderr } = await up;
        t.equal(status, 0, stderr);
      });
      t.strictSame(failures(samples), []);
      t.strictSame([...new Set(samples.map(versionOf))].sort(), ["1", "2"], "both answer");
      t.ok(Math.min(...counts) >= 3, `never fewer than three: ${counts.join(" ")}`);
      const after = watch.allContainers();
      t.equal(after.length, 3);
      t.strictSame(
        after.filter((id) => before.includes(id)),
        [],
        "none was changed in place",
      );
      t.strictSame([...new Set((await machines.request(targets, 30)).map(versionOf))], ["2"]);
      t.match(machines.docker(1, "image", "inspect", "skein-test/web:1"), { status: 0 });
    },
  );

  await t.test("[E4] a variable rolls; replicas and labels of the service do not", async (t) => {
    const before = watch.allContainers();
    const same = await machines.skein(1, "up", "-f", file("2", {}, { labels: { tier: "front" } }));
    t.match(same, { status: 0, stdout: /service label tier/ });
    t.strictSame(watch.allContainers().toSorted(), before.toSorted());
    const four = file("2", {}, { labels: { tier: "front" }, replicas: 4 });
    t.match(await machines.skein(1, "up", "-f", four), { status: 0 });
    const grown = watch.allContainers();
    t.equal(grown.length, 4);
    t.strictSame(
      before.filter((id) => !grown.includes(id)),
      [],
    );
    t.match(await machines.skein(1, "up", "-f", file("2")), { status: 0 });
    const changed = file("2", { environment: { COLOUR: "red" } });
    const three = watch.allContainers();
    t.match(await machines.skein(1, "up", "-f", changed), { status: 0 });
    const rolled = watch.allContainers();
    t.equal(rolled.length, 3);
    t.strictSame(
      rolled.filter((id) => three.includes(id)),
      [],
    );
  });

  await t.test(
    "[E7] what never becomes healthy stops at its first batch and goes back",
    async (t) => {
      const before = watch.allContainers();
      const bad = { "x-healthcheck": { http: ":80/missing", interval: "1s", retries: 2 } };
      const seen = new Set<string>();
      const samples = await underLoad(async () => {
        let isOver = false;
        const up = machines.skein(1, "up", "-f", file("1", bad)).finally(() => {
          isOver = true;
        });
        while (!isOver) {
          for (const id of watch.allContainers()) seen.add(id);
          await sleep(50);
        }
        const { status, stderr } = await up;
        t.equal(status, 1, "not what was asked for");
        t.match(stderr, /was rolled back: new tasks failed/);
        t.match(stderr, /unhealthy|status 404/, "and why");
      });
      t.strictSame(failures(samples), []);
      t.strictSame([...new Set(samples.map(versionOf))], ["2"], "the bad one got no request");
      await watch.until("only the old ones", 20_000, () => watch.allContainers().length === 3);
      t.strictSame(watch.allContainers().toSorted(), before.toSorted(), "which were left alone");
      t.ok(seen.size <= 3 + 2, `of the bad ones ${seen.size - 3} ran, the first batch only`);
    },
  );

  const blueGreen = { "x-update": { strategy: "blue-green", keep: "20s" } };

  await t.test("[E6] blue-green moves all traffic in one step, and back in one", async (t) => {
    const soon = { "x-update": { strategy: "blue-green", keep: "1s" } };
    t.match(await machines.skein(1, "up", "-f", file("2", soon)), { status: 0 });
    await watch.until("three again", 20_000, () => watch.allContainers().length === 3);
    const blue = watch.allContainers();
    const forth = await underLoad(async () => {
      const up = await machines.skein(2, "up", "-f", file("1", blueGreen));
      t.equal(up.status, 0, up.stderr);
    });
    t.strictSame(failures(forth), []);
    const there = move(forth, "1");
    t.comment(`first new ${there.firstNew}, last old ${there.lastOld}`);
    t.ok(there.lastOld - there.firstNew < 1_000, "in one step, as fast as the log travels");
    const both = watch.allContainers();
    t.equal(both.length, 6, "the old ones stand by");
    const [web] = await machines.skeinJson<ServiceView[]>(3, "ls");
    t.match(web, { running: 3, updated: 3, standby: 3 });

    const from = performance.now();
    const back = await underLoad(async () => {
      const rollback = await machines.skein(3, "rollback", "web");
      t.equal(rollback.status, 0, rollback.stderr);
    });
    t.comment(`rolled back and followed in ${Math.round(performance.now() - from)} ms`);
    t.strictSame(failures(back), []);
    const again = move(back, "2");
    t.comment(`first old ${again.firstNew}, last new ${again.lastOld}`);
    t.ok(again.lastOld - again.firstNew < 1_000);
    t.strictSame(watch.allContainers().toSorted(), both.toSorted(), "nothing was started");
    await watch.until("the others are gone in time", 40_000, () => {
      return watch.allContainers().length === 3;
    });
    t.strictSame(watch.allContainers().toSorted(), blue.toSorted());
    t.strictSame([...new Set((await machines.request(targets, 30)).map(versionOf))], ["2"]);
  });

  await t.test("a fenced task never runs twice when its machine is cut off", async (t) => {
    t.match(await machines.skein(1, "down", "-f", file("1")), { status: 0 });
    const path = join(directory, "ledger.yaml");
    const ledger = {
      image: "skein-test/web:1",
      stop_grace_period: "1s",
      "x-failover": { after: "21s", fence: true },
    };
    writeFileSync(path, JSON.stringify({ name: "shop", services: { ledger } }));
    t.match(await machines.skein(1, "up", "-f", path), { status: 0 });
    const home = Number((await watch.tasks(1))[0]?.node.slice(1));
    const [other = 1] = numbers.filter((number) => number !== home);
    const [first] = watch.allContainers();
    machines.cut(home);
    const from = performance.now();
    let stoppedMs = 0;
    let startedMs = 0;
    await watch.until("another one runs", 90_000, () => {
      const now = watch.allContainers();
      const ms = Math.round(performance.now() - from);
      t.ok(now.length <= 1, "one at the most");
      if (now.length === 0 && stoppedMs === 0) stoppedMs = ms;
      if (now.length === 1 && now[0] !== first) startedMs = ms;
      return startedMs > 0;
    });
    t.comment(`stopped ${stoppedMs} ms after the cut, the next ran after ${startedMs} ms`);
    t.ok(stoppedMs > 0 && stoppedMs < startedMs);
    machines.heal(home);
    await watch.until("healed", 30_000, () => watch.seesAllReady(other));
    await watch.until("one task", 20_000, async () => {
      const list = await machines.skeinJson<TaskView[]>(other, "ps");
      return list.length === 1 && watch.allContainers().length === 1;
    });
  });
});
