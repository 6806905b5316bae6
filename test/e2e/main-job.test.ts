import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import type { ServiceView } from "../../src/api/index.ts";
import { shortDirectory } from "./directory.ts";
import { Machines, machinesUnavailable, type Sample } from "./machines.ts";
import { allowedMs, Watch } from "./watch.ts";

/** The main job on three machines with a Docker engine each, and everything that can befall it. */

const skip = machinesUnavailable() ?? false;
const numbers = [1, 2, 3];
const publishedPort = 8080;

t.test("three machines, one cluster", { skip, timeout: 900_000 }, async (t) => {
  await using machines = await Machines.start(3);
  const directory = shortDirectory(t);
  const composeFile = join(directory, "compose.yaml");

  function compose(version: string, replicas = 3): string {
    writeFileSync(
      composeFile,
      `name: shop
services:
  web:
    image: skein-test/web:${version}
    ports: ["${publishedPort}:80"]
    x-ingress: ["shop.test:80"]
    deploy:
      replicas: ${replicas}
      update_config: { parallelism: 1, order: start-first, monitor: 1s }
`,
    );
    return composeFile;
  }

  const targets = (hosts: readonly number[]) =>
    hosts.map((number) => ({ host: machines.address(number), port: publishedPort }));

  const watch = new Watch(t, machines, numbers);
  const failures = (samples: readonly Sample[]) =>
    samples.filter((sample) => sample.status !== 200);

  await t.test("1. daemons join by address; strangers are refused", async (t) => {
    machines.startDaemon(1);
    await watch.until(
      "the first daemon answers",
      20_000,
      async () => (await watch.nodes(1)).length === 1,
    );
    const token = (await machines.skein(1, "token", "create")).stdout.trim();

    const wrong = await machines.skein(
      2,
      "daemon",
      "--join",
      "10.98.0.1:7946",
      "--token",
      `${token.slice(0, -6)}AAAAAA`,
    );
    t.not(wrong.status, 0, "a wrong token");
    t.match(wrong.stderr, /token/i);
    const none = await machines.skein(2, "daemon", "--join", "10.98.0.1:7946");
    t.equal(none.status, 2, "no token");
    t.match(none.stderr, /token/i);
    const nobody = await machines.skein(2, "daemon", "--join", "10.98.0.77:7946", "--token", token);
    t.equal(nobody.status, 9, `an address where nobody answers: ${nobody.stderr}`);
    t.match(nobody.stderr, /10\.98\.0\.77:7946/);

    for (const number of [2, 3]) {
      machines.startDaemon(number, "--join", "10.98.0.1:7946", "--token", token);
    }
    const took = await watch.until("three nodes ready everywhere, one leader", 30_000, async () => {
      for (const number of numbers) {
        const list = await watch.nodes(number);
        const ready = list.filter((node) => node.status === "ready");
        const leaders = list.filter((node) => node.role === "leader");
        if (ready.length !== 3 || leaders.length !== 1) return false;
      }
      return true;
    });
    t.ok(took < allowedMs(10_000), "within 10 s of the last start");
    const seen = await Promise.all(
      numbers.map(async (number) => (await watch.nodes(number)).map((node) => node.id)),
    );
    t.strictSame(seen[1], seen[0]);
    t.strictSame(seen[2], seen[0]);
    await watch.until("three voters", 20_000, async () => (await watch.voters(1)) === 3);
  });

  await t.test("[C2] 2. replicas spread over the machines, every machine answers", async (t) => {
    const up = await machines.skein(2, "up", "-f", compose("1"));
    t.equal(up.status, 0, up.stderr);
    t.strictSame(
      [...watch.containers().values()].map((ids) => ids.length),
      [1, 1, 1],
    );
    const samples = await machines.request(targets(numbers), 300);
    t.strictSame(failures(samples), []);
    const counts = new Map<string, number>();
    for (const { body = "" } of samples) counts.set(body, (counts.get(body) ?? 0) + 1);
    t.equal(counts.size, 3);
    for (const [body, count] of counts) t.ok(Math.abs(count - 100) <= 15, `${body}: ${count}`);
    const byName = { host: machines.address(3), port: 80, hostHeader: "shop.test" };
    t.strictSame(failures(await machines.request([byName], 6)), [], "by host name");
  });

  await t.test("[B1] the same file again changes nothing", async (t) => {
    const before = watch.allContainers();
    const up = await machines.skein(3, "up", "-f", composeFile);
    t.match(up, { status: 0, stdout: /no changes/ });
    t.strictSame(watch.allContainers(), before);
  });

  await t.test("[B4] [B5] 3. scaling keeps what is there", async (t) => {
    const before = watch.allContainers();
    t.match(await machines.skein(1, "scale", "web=5"), { status: 0 });
    const five = watch.allContainers();
    t.equal(five.length, 5);
    t.strictSame(
      before.filter((id) => !five.includes(id)),
      [],
    );
    t.match(await machines.skein(3, "scale", "web=3"), { status: 0 });
    const three = watch.allContainers();
    t.equal(three.length, 3);
    t.strictSame(
      three.filter((id) => !five.includes(id)),
      [],
    );
  });

  for (const how of [["rm", "-f"], ["kill"]]) {
    await t.test(
      `[B2] 4. docker ${how.join(" ")} of a container: replaced within 5 s`,
      async (t) => {
        const [victim = ""] = watch.containers().get(2) ?? [];
        machines.docker(2, ...how, victim);
        const took = await watch.until("replaced", 15_000, () => {
          const now = watch.allContainers();
          return now.length === 3 && !now.includes(victim);
        });
        t.ok(took < allowedMs(5_000));
        await watch.until("and served", 10_000, async () => {
          const list = await watch.tasks(1);
          return list.filter((task) => task.status === "running").length === 3;
        });
      },
    );
  }

  await t.test("5. kill -9 of a daemon: containers serve on and are adopted", async (t) => {
    const before = watch.allContainers();
    await machines.signalDaemon(2, "SIGKILL");
    t.strictSame(failures(await machines.request(targets(numbers), 60)), []);
    machines.startDaemon(2);
    const took = await watch.until("adopted", 20_000, async () => {
      const list = await watch.tasks(2);
      const ids = list.map((task) => task.containerId);
      return list.length === 3 && before.every((id) => ids.includes(id));
    });
    t.ok(took < allowedMs(5_000));
    t.strictSame(watch.allContainers().toSorted(), before.toSorted());
    await watch.until("all ready again", 20_000, () => watch.seesAllReady(1));
  });

  await t.test(
    "[B6] 6. power loss of a machine: routed around, replaced, exactly three after",
    async (t) => {
      const victim = (await watch.leader(1)) === 3 ? 2 : 3;
      const others = numbers.filter((number) => number !== victim);
      const load = machines.startLoad({ targets: targets(others), intervalMs: 20 });
      await sleep(500);
      const lostAtMs = 500;
      await machines.kill(victim);
      const took = await watch.until(
        "three replicas on the other two",
        60_000,
        () => watch.allContainers(others).length === 3,
      );
      t.ok(took < allowedMs(30_000), "elsewhere within 30 s");
      await sleep(1_000);
      const samples = await load.stop();
      const failed = failures(samples);
      t.comment(`${failed.length} of ${samples.length} requests failed`);
      const late = failed.filter(({ atMs }) => atMs > lostAtMs + 3_000);
      t.strictSame(late, [], "no traffic to it after 3 s");
      const slow = samples.filter(({ atMs, tookMs }) => atMs > lostAtMs + 3_000 && tookMs > 900);
      t.strictSame(slow, [], "nothing waits for it after 3 s");

      await machines.start(victim);
      machines.startDaemon(victim);
      await watch.until("it is back", 30_000, () => watch.seesAllReady(1));
      await watch.until("exactly three", 10_000, () => watch.allContainers().length === 3);
      await sleep(2_000);
      t.equal(watch.allContainers().length, 3, "and it stays so");
    },
  );

  await t.test("7. leader killed: another takes over", async (t) => {
    const old = await watch.leader(1);
    const other = numbers.find((number) => number !== old) ?? 1;
    await machines.signalDaemon(old, "SIGKILL");
    const from = performance.now();
    let status = -1;
    while (status !== 0 && performance.now() - from < 20_000) {
      const tried = await machines.skein(other, "scale", "--detach", "--no-queue", "web=4");
      ({ status } = tried);
      const atMs = Math.round(performance.now() - from);
      t.comment(`${atMs} ms: exit ${status} ${tried.stderr.trim()}`);
    }
    const tookMs = performance.now() - from;
    t.comment(`accepted after ${Math.round(tookMs)} ms`);
    t.ok(tookMs < allowedMs(5_000));
    machines.startDaemon(old);
    await watch.until(
      "four, all ready",
      40_000,
      async () => (await watch.seesAllReady(other)) && watch.allContainers().length === 4,
    );
    t.match(await machines.skein(other, "scale", "web=3"), { status: 0 });
  });

  await t.test(
    "8. all daemons killed at once: everything acknowledged is there again",
    async (t) => {
      const before = watch.allContainers();
      await Promise.all(numbers.map((number) => machines.signalDaemon(number, "SIGKILL")));
      for (const number of numbers) machines.startDaemon(number);
      await watch.until("all ready", 30_000, () => watch.seesAllReady(1));
      const services = await machines.skeinJson<ServiceView[]>(2, "ls");
      t.match(services, [{ name: "web", desired: 3 }]);
      await watch.until("three running", 20_000, async () => {
        const list = await watch.tasks(3);
        return list.filter((task) => task.status === "running").length === 3;
      });
      t.strictSame(watch.allContainers().toSorted(), before.toSorted());
    },
  );

  for (const keepAlive of [false, true]) {
    const [fromVersion, toVersion] = keepAlive ? ["2", "1"] : ["1", "2"];
    await t.test(`[E1] [E2] 9. rolling update under load (keep-alive: ${keepAlive})`, async (t) => {
      const load = machines.startLoad({ targets: targets(numbers), intervalMs: 20, keepAlive });
      await load.started;
      const up = await machines.skein(1, "up", "-f", compose(toVersion));
      t.equal(up.status, 0, up.stderr);
      await sleep(500);
      const samples = await load.stop();
      t.comment(`${samples.length} requests`);
      t.strictSame(failures(samples), [], "no failure");
      const versionOf = ({ body = "" }: Sample) => body.split(" ")[1];
      t.strictSame([...new Set(samples.map(versionOf))].sort(), [fromVersion, toVersion].sort());
      const after = await machines.request(targets(numbers), 30);
      t.strictSame([...new Set(after.map(versionOf))], [toVersion]);
    });
  }

  await t.test("10. wrong files are refused with their place, nothing changes", async (t) => {
    const file = join(directory, "wrong.yaml");
    const before = JSON.stringify(await machines.skeinJson(1, "ls"));
    const cases: readonly [text: string, message: RegExp][] = [
      ["services:\n  a:\n    image: x\n    replcas: 3\n", /wrong\.yaml:4:5: .*replcas/],
      [
        "services:\n  a:\n    image: x\n    deploy: { replicas: three }\n",
        /wrong\.yaml:4:\d+: .*replicas/,
      ],
      ["services:\n  a:\n    environment: { A: b }\n", /wrong\.yaml:2:\d+: .*image/],
      [
        'services:\n  a:\n    image: x\n    ports: ["81:80"]\n  b:\n    image: x\n    ports: ["81:80"]\n',
        /wrong\.yaml:7:\d+: .*81/,
      ],
      ["services:\n  a: [\n", /wrong\.yaml:\d+:\d+: /],
    ];
    for (const [text, message] of cases) {
      writeFileSync(file, text);
      const up = await machines.skein(3, "up", "-f", file);
      t.equal(up.status, 2, text);
      t.match(up.stderr, message);
    }
    t.equal(JSON.stringify(await machines.skeinJson(1, "ls")), before);
  });

  await t.test("10. without a quorum a submit says so; what runs goes on", async (t) => {
    machines.cut(3);
    await watch.until("m3 knows that it is alone", 15_000, async () => {
      const { stdout } = await machines.skein(3, "status", "--json");
      return JSON.parse(stdout).quorum.hasQuorum === false;
    });
    const scale = await machines.skein(3, "scale", "--detach", "--no-queue", "web=7");
    t.equal(scale.status, 5, scale.stderr);
    t.match(scale.stderr, /quorum/);
    machines.heal(3);
    await watch.until("healed", 30_000, () => watch.seesAllReady(3));
    t.match(await machines.skeinJson<ServiceView[]>(1, "ls"), [{ desired: 3 }]);
    await watch.until("exactly three again", 30_000, () => watch.allContainers().length === 3);
  });

  await t.test("SIGTERM: hands over, keeps containers, ends within 5 s", async (t) => {
    const before = watch.allContainers();
    const old = await watch.leader(1);
    const from = performance.now();
    const code = await machines.signalDaemon(old, "SIGTERM");
    const tookMs = performance.now() - from;
    t.comment(`ended after ${Math.round(tookMs)} ms`);
    t.ok(tookMs < allowedMs(5_000));
    t.equal(code, 0);
    t.strictSame(watch.allContainers().toSorted(), before.toSorted());
    machines.startDaemon(old);
    await watch.until("all ready", 20_000, () => watch.seesAllReady(old));
  });

  await t.test("down removes everything", async (t) => {
    const down = await machines.skein(2, "down", "-f", composeFile);
    t.equal(down.status, 0, down.stderr);
    t.strictSame(watch.allContainers(), []);
  });
});
