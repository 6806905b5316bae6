import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import type { ServiceView } from "../../src/api/index.ts";
import { shortDirectory } from "./directory.ts";
import { Machines, machinesUnavailable } from "./machines.ts";
import { Watch } from "./watch.ts";

/** Everything that one machine exchanges with the others is captured, and searched for markers. */

const skip =
  machinesUnavailable() ?? (spawnSync("which", ["tcpdump"]).status !== 0 && "needs tcpdump");
const numbers = [1, 2, 3];
const seed = "10.98.0.1:7946";
/** Lower case, so that it is a service's name too. */
const marker = "needle4711";

t.test("nothing is readable between machines", { skip, timeout: 300_000 }, async (t) => {
  await using machines = await Machines.start(3);
  const watch = new Watch(t, machines, numbers);
  const directory = shortDirectory(t);
  const composeFile = join(directory, "compose.yaml");
  const serve = `echo log-${marker}; echo $$(hostname) $$VERSION > /www/index.html; exec httpd -f -p 80 -h /www`;
  writeFileSync(
    composeFile,
    `name: shop
services:
  ${marker}:
    image: skein-test/web:1
    command: ["sh", "-c", "${serve}"]
    environment: { VERSION: "${marker}" }
    ports: ["8080:80"]
    deploy: { replicas: 3 }
  ${marker}-nowhere:
    image: skein-test/web:1
    deploy: { placement: { constraints: ["node.labels.disk == ${marker}"] } }
`,
  );

  /** Captures what machine 2 exchanges with other machines, until stopped. */
  async function capture(name: string): Promise<() => Promise<Buffer>> {
    const file = join(directory, `${name}.pcap`);
    const logFile = join(directory, `${name}.log`);
    const others = `host ${machines.address(1)} or host ${machines.address(3)}`;
    const command = [
      "tcpdump",
      "--immediate-mode",
      "-i",
      "eth0",
      "-Z",
      "root",
      "-s",
      "0",
      "-U",
      "-w",
      file,
      others,
    ];
    const child = machines.spawn(2, command, { logFile });
    await watch.until("the capture runs", 10_000, () => {
      return existsSync(logFile) && readFileSync(logFile, "utf8").includes("listening on");
    });
    return async () => {
      const ended = new Promise((resolve) => child.once("exit", resolve));
      machines.exec(2, ["pkill", "-INT", "-f", file]);
      await ended;
      return readFileSync(file);
    };
  }

  const stop = await capture("cluster");
  const secrets: string[] = [];
  await t.test(
    "a cluster with gossip, a log, logs and requests, all with the marker",
    async (t) => {
      machines.startDaemon(1);
      await watch.until("the first daemon answers", 20_000, async () => {
        return (await watch.nodes(1)).length === 1;
      });
      for (const number of [2, 3]) {
        const token = (await machines.skein(1, "token", "create")).stdout.trim();
        secrets.push(token, token.split(".").at(-1) ?? token);
        machines.startDaemon(number, "--join", seed, "--token", token);
      }
      await watch.until("three ready voters", 40_000, async () => {
        return (await watch.seesAllReady(2)) && (await watch.voters(2)) === 3;
      });
      const up = await machines.skein(1, "up", "--detach", "-f", composeFile);
      t.equal(up.status, 0, up.stderr);
      await watch.until("three replicas run", 60_000, () => watch.allContainers().length === 3);
      await watch.until("every node knows by gossip why the other cannot run", 20_000, async () => {
        const from = (await watch.leader(2)) === 2 ? 1 : 2;
        const list = await machines.skeinJson<ServiceView[]>(from, "ls");
        return JSON.stringify(list).includes(`node.labels.disk == ${marker}`);
      });
      await watch.until("all three answer through machine 1", 30_000, async () => {
        const target = { host: machines.address(1), port: 8080 };
        const answers = await machines.request([target], 12);
        const bodies = answers.map(({ body }) => body ?? "");
        return bodies.every((body) => body.includes(marker)) && new Set(bodies).size === 3;
      });
      const logs = await machines.skein(1, "logs", "-n", "shop", marker);
      t.equal(logs.stdout.split(`log-${marker}`).length - 1, 3, "logs of all three machines");
    },
  );

  const captured = await stop();
  t.comment(`${captured.byteLength} bytes captured`);
  t.ok(captured.byteLength > 100_000, "it is there to be searched");
  t.notOk(captured.includes(marker), "the marker is nowhere");
  for (const secret of secrets) t.notOk(captured.includes(secret), "nor is a join token");

  await t.test("the same capture sees what is sent in plain", async (t) => {
    const stopControl = await capture("control");
    const { status, stdout } = machines.exec(1, [
      ...["busybox", "wget", "-q", "-O", "-"],
      `http://${machines.address(2)}:8080/`,
    ]);
    t.equal(status, 0);
    t.match(stdout, marker);
    t.ok((await stopControl()).includes(marker));
  });
});
