import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { shortDirectory } from "./directory.ts";
import { Machines, machinesUnavailable } from "./machines.ts";
import { Watch } from "./watch.ts";

/** Two of three machines are lost for good; the third goes on, and nothing splits. */

const skip = machinesUnavailable() ?? false;
const numbers = [1, 2, 3];
const seed = "10.98.0.2:7946";

t.test("a quorum lost for good", { skip, timeout: 600_000 }, async (t) => {
  await using machines = await Machines.start(3);
  const watch = new Watch(t, machines, numbers);
  const directory = shortDirectory(t);
  const composeFile = join(directory, "compose.yaml");
  const backupFile = join(directory, "backup.json");
  writeFileSync(
    composeFile,
    `name: shop
services:
  web:
    image: skein-test/web:1
    ports: ["8080:80"]
    environment: { COLOUR: red }
    deploy: { replicas: 3 }
`,
  );

  async function join_(number: number): Promise<void> {
    const token = (await machines.skein(2, "token", "create")).stdout.trim();
    machines.startDaemon(number, "--join", seed, "--token", token);
  }

  await t.test("three machines run a service, and a backup is taken", async (t) => {
    machines.startDaemon(2);
    await watch.until("the first daemon answers", 20_000, async () => {
      return (await watch.nodes(2)).length === 1;
    });
    await join_(1);
    await join_(3);
    await watch.until("three ready voters", 40_000, async () => {
      return (await watch.seesAllReady(2)) && (await watch.voters(2)) === 3;
    });
    const up = await machines.skein(1, "up", "-f", composeFile);
    t.equal(up.status, 0, up.stderr);
    const backup = await machines.skein(3, "backup", backupFile);
    t.equal(backup.status, 0, backup.stderr);
    t.match(backup.stdout, /1 services? as of entry \d+/);
    const refused = await machines.skein(2, "recover", "--yes");
    t.equal(refused.status, 7, "not while the cluster works");
    t.match(refused.stderr, /nothing to recover/);
  });

  const own = watch.containers([2]).get(2) ?? [];
  await t.test("[D2] without a quorum the survivor's go on, the others' are Unknown", async (t) => {
    await Promise.all([machines.kill(1), machines.kill(3)]);
    await watch.until("m2 says so", 30_000, async () => {
      const { stderr } = await machines.skein(2, "ls");
      return stderr.includes("degraded: 1 of 3 voters");
    });
    t.strictSame(watch.containers([2]).get(2), own);
    await watch.until("what ran on the others is Unknown", 20_000, async () => {
      const phases = (await watch.tasks(2)).map(({ node, phase }) => `${node} ${phase}`);
      return phases.toSorted().join() === "m1 Unknown,m2 Running,m3 Unknown";
    });
    t.equal((await machines.skein(2, "scale", "--detach", "--no-queue", "web=4")).status, 5);
    const target = { host: machines.address(2), port: 8080 };
    const answers = await machines.request([target], 30);
    t.strictSame([...new Set(answers.map(({ status }) => status))], [200]);
  });

  await t.test("recover shows what may be lost, and goes on", async (t) => {
    const unconfirmed = await machines.skein(2, "recover");
    t.equal(unconfirmed.status, 2, "nobody is there to be asked");
    t.match(unconfirmed.stdout, /goes +m1, m3/);
    t.match(unconfirmed.stdout, /May be lost: .* after entry \d+/);
    const recovered = await machines.skein(2, "recover", "--yes");
    t.equal(recovered.status, 0, recovered.stderr);
    t.match(await watch.nodes(2), [{ name: "m2", role: "leader", status: "ready" }]);
    const scaled = await machines.skein(2, "scale", "web=4");
    t.equal(scaled.status, 0, scaled.stderr);
    const now = watch.containers([2]).get(2) ?? [];
    t.equal(now.length, 4);
    t.ok(
      own.every((id) => now.includes(id)),
      "what ran was left alone",
    );
  });

  await t.test("the lost ones, started again, do not split the cluster", async (t) => {
    await Promise.all([machines.start(1), machines.start(3)]);
    const ended = [1, 3].map((number) => {
      const daemon = machines.startDaemon(number);
      return new Promise((resolve) => daemon.once("exit", resolve));
    });
    t.strictSame(await Promise.all(ended), [8, 8], "both end: not allowed");
    for (const number of [1, 3]) {
      t.match(machines.daemonLog(number), /removed from its cluster, says m2.*--join/);
      t.strictSame(watch.containers([number]).get(number), [], "what it ran runs elsewhere");
    }
    t.equal((await watch.nodes(2)).length, 1);
    const again = machines.startDaemon(1);
    const status = await new Promise((resolve) => again.once("exit", resolve));
    t.equal(status, 8, "and again, before it does anything");
  });

  await t.test("they rejoin as new members", async (t) => {
    for (const number of [1, 3]) {
      machines.exec(number, ["sh", "-c", "rm -rf /var/lib/skein/*"]);
      await join_(number);
    }
    await watch.until("three ready voters", 60_000, async () => {
      return (await watch.seesAllReady(1)) && (await watch.voters(1)) === 3;
    });
    t.ok(existsSync(backupFile));
  });

  await t.test("a backup brings back what ran", async (t) => {
    t.equal((await machines.skein(1, "down", "-f", composeFile)).status, 0);
    const damaged = join(directory, "damaged.json");
    writeFileSync(damaged, readFileSync(backupFile, "utf8").replace("red", "rot"));
    const refused = await machines.skein(1, "restore", damaged);
    t.equal(refused.status, 2);
    t.match(refused.stderr, /checksum does not match/);
    const restored = await machines.skein(3, "restore", backupFile);
    t.equal(restored.status, 0, restored.stderr);
    t.equal(watch.allContainers().length, 3);
    t.match(await machines.skein(1, "up", "-f", composeFile), { stdout: /no changes/ });
  });
});
