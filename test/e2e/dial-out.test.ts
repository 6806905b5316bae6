import { writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { ApiClient, type DoctorView } from "../../src/api/index.ts";
import { socketTransport } from "../../src/api/io/http-transport.ts";
import { shortDirectory } from "./directory.ts";
import { denyAllBut, firewallUnavailable } from "./firewall.ts";
import { Machines, machinesUnavailable } from "./machines.ts";
import { Watch } from "./watch.ts";

/** A machine that nobody can connect to, as behind NAT, works like the others. */

const skip = machinesUnavailable() ?? false;
const numbers = [1, 2, 3];
const port = 8080;
const socketPath = "/var/lib/skein/data/skein.sock";

t.test("a machine that can only dial out", { skip, timeout: 400_000 }, async (t) => {
  await using machines = await Machines.start(3);
  const unavailable = firewallUnavailable(machines, 3);
  if (unavailable !== undefined) {
    t.pass(unavailable, { skip: unavailable });
    return;
  }
  const watch = new Watch(t, machines, numbers, { socketPath });
  const start = (number: number, ...args: readonly string[]) =>
    machines.startDaemon(number, "--data-dir=/var/lib/skein/data", "--runtime=docker", ...args);
  const signal = AbortSignal.timeout(390_000);
  const apis = numbers.map(
    (number) => new ApiClient(socketTransport(join(machines.dataPath(number), "data/skein.sock"))),
  );
  const inspect = (from: number, node: string) =>
    apis[from - 1]?.call("getNode", { params: { node }, signal });
  const targets = [1, 2].map((number) => ({ host: machines.address(number), port }));
  const file = join(shortDirectory(t), "compose.yaml");
  writeFileSync(
    file,
    `name: shop
services:
  web:
    image: skein-test/web:1
    ports: ["${port}:80"]
    deploy: { replicas: 2, placement: { constraints: ["node.hostname == m3"] } }
  talker:
    image: skein-test/web:1
    command: ["sh", "-c", "echo from behind the wall; exec sleep 1000"]
    deploy: { placement: { constraints: ["node.hostname == m3"] } }
`,
  );

  await t.test("it joins, and the others find out how it is reached", async (t) => {
    denyAllBut(machines, 3, []);
    start(1);
    await watch.until("the first daemon answers", 30_000, async () => {
      return (await watch.nodes(1)).length === 1;
    });
    const token = (await watch.skein(1, "token", "create")).stdout.trim();
    for (const number of [2, 3]) start(number, "--join", "10.98.0.1:7946", "--token", token);
    await watch.until("all are ready", 60_000, async () => {
      return (await watch.seesAllReady(1)) && (await watch.seesAllReady(3));
    });
    await watch.until("m2 knows it", 30_000, async () => {
      return (await inspect(2, "m3"))?.isDialOutOnly === true;
    });
    t.equal((await inspect(1, "m2"))?.isDialOutOnly, false);
    await watch.until("it votes", 60_000, async () => (await watch.voters(1)) === 3);
  });

  await t.test("its tasks serve through every other machine", async (t) => {
    const up = await watch.skein(2, "up", "-f", file);
    t.equal(up.status, 0, up.stderr);
    const samples = await machines.request(targets, 40);
    t.strictSame(
      samples.filter(({ status }) => status !== 200),
      [],
    );
    t.equal(new Set(samples.map(({ body }) => body)).size, 2, "both replicas");
    const load = machines.startLoad({ targets, intervalMs: 100 });
    await load.started;
    t.equal((await watch.skein(1, "scale", "web=4")).status, 0);
    const during = await load.stop();
    t.strictSame(
      during.filter(({ status }) => status !== 200),
      [],
      `of ${during.length} requests while it is scaled`,
    );
  });

  await t.test("its logs reach the others", async (t) => {
    const { status, stdout } = await watch.skein(2, "logs", "talker");
    t.equal(status, 0);
    t.match(stdout, /\(m3\) \| from behind the wall/);
  });

  await t.test("[D8] a command runs in its containers from the others", async (t) => {
    const ran = await watch.skein(2, "exec", "talker", "sh", "-c", "echo inside; exit 7");
    t.match(ran, { status: 7, stdout: "inside\n" }, ran.stderr);
  });

  await t.test("the doctor says how it is, and that it is no fault", async (t) => {
    const { status, stdout } = await watch.skein(2, "doctor", "--json");
    t.equal(status, 0, stdout);
    const { links, findings } = JSON.parse(stdout) as DoctorView;
    t.match(
      links.find(({ from, to }) => from === "m1" && to === "m3"),
      { isUp: true, port: "timed_out" },
    );
    t.ok(findings.some(({ message }) => /m1 cannot open a connection to m3/.test(message)));
  });

  await t.test("a daemon that dies is dialled again by it", async () => {
    await machines.signalDaemon(2, "SIGKILL");
    start(2);
    await watch.until("its tasks serve through m2 again", 60_000, async () => {
      const [sample] = await machines.request(targets.slice(1), 1, { timeoutMs: 2_000 });
      return sample?.status === 200;
    });
  });
});
