import { writeFileSync } from "node:fs";
import { get } from "node:http";
import { join } from "node:path";
import t from "tap";
import type { TaskView } from "../../src/api/index.ts";
import { docker, testImage } from "../runtime/docker-fixture.ts";
import { shortDirectory } from "./directory.ts";
import { OneNode, shell, whyNoNode } from "./one-node.ts";

/** What a person does on any day, on one machine with the real engine. */

const skip = await whyNoNode();
const address = "127.0.78.1";

/** A web server that answers with its variable. */
const web = (message: string) => ({
  image: testImage,
  stop_grace_period: "1s",
  environment: { MESSAGE: message },
  ...shell('mkdir -p /www && echo "$MESSAGE" >/www/index.html && exec httpd -f -p 8080 -h /www'),
  "x-healthcheck": { http: ":8080/", interval: "1s", timeout: "1s" },
});

t.test("an everyday cluster of one machine", { skip, timeout: 240_000 }, async (t) => {
  const directory = shortDirectory(t);
  await using one = await OneNode.start(directory, address);
  const { node } = one;
  const up = async (name: string, manifest: object) => {
    const file = join(directory, `${name}.yaml`);
    writeFileSync(file, JSON.stringify(manifest));
    const { status, stderr } = await node.skein("up", "-f", file);
    t.equal(status, 0, stderr);
    return file;
  };
  const tasks = async (namespace: string) => await node.json<TaskView[]>("ps", "-n", namespace);
  const running = async (namespace: string) =>
    (await tasks(namespace)).filter(({ status }) => status === "running");

  await t.test("[B7] what ps shows of each container is what the engine says", async (t) => {
    await up("seen", { name: "kinds", services: { web: { ...web("seen"), ports: ["8080"] } } });
    const [task] = await running("kinds");
    if (task?.containerId == null) throw new Error("no task with a container runs");
    const format = "{{.Id}} {{.Config.Image}} {{.State.Running}}";
    const [id, image, isRunning] = (await docker("inspect", "-f", format, task.containerId)).split(
      " ",
    );
    t.match(
      { id, image, isRunning },
      { id: task.containerId, image: task.image, isRunning: "true" },
    );
    t.equal(task.node, "n1");
    const port = Number(/(\d+)->8080/.exec(task.ports.join(" "))?.[1]);
    t.equal(
      await ask({ host: address, port }),
      "seen",
      "the port that it shows is where it answers",
    );
  });

  await t.test("restart makes new containers, stop keeps only the description", async (t) => {
    const ids = async () => (await running("kinds")).map(({ containerId }) => containerId);
    const before = await ids();
    const restarted = await node.skein("restart", "kinds/web");
    t.equal(restarted.status, 0, restarted.stderr);
    const after = await ids();
    t.equal(after.length, before.length);
    t.notOk(after.some((id) => before.includes(id)));
    t.match((await node.skein("history", "kinds/web")).stdout, /restart/);
    t.equal((await node.skein("stop", "kinds/web")).status, 0);
    t.strictSame(await ids(), []);
    t.match((await node.skein("ls", "-n", "kinds")).stdout, /web .*0\/0 \(stopped\)/);
    t.equal((await node.skein("start", "kinds/web")).status, 0);
    t.equal((await ids()).length, before.length);
  });

  await t.test("[B8] what was exported, removed and submitted means the same", async (t) => {
    const exported = (await node.skein("export", "-n", "kinds")).stdout;
    t.equal((await node.skein("rm", "kinds/web")).status, 0);
    const file = join(directory, "exported.yaml");
    writeFileSync(file, exported);
    t.equal((await node.skein("up", "-f", file)).status, 0);
    t.equal((await node.skein("export", "-n", "kinds")).stdout, exported);
    t.equal((await running("kinds")).length, 1);
  });

  const three = ["tiny", "tiny-two", "tiny-three"];
  await t.test(
    "[B10] [C5] one app three times, each with its own name, value and host",
    async (t) => {
      const services = Object.fromEntries(
        three.map((name) => [
          name,
          {
            ...web(`this is ${name}`),
            deploy: { replicas: 3, resources: { limits: { memory: "32M" } } },
            "x-ingress": [`${name}.localhost:8080`],
          },
        ]),
      );
      const file = await up("three", { name: "kinds", services });
      await one.until("nine replicas run", 30_000, async () => {
        const all = await running("kinds");
        return all.filter(({ service }) => three.includes(service)).length === 9;
      });
      for (const name of three) {
        const answer = await ask({ host: address, port: 8080, name: `${name}.localhost` });
        t.equal(answer, `this is ${name}`);
      }
      for (const { containerId, service } of await running("kinds")) {
        if (!three.includes(service)) continue;
        const limit = await docker("inspect", "-f", "{{.HostConfig.Memory}}", containerId ?? "");
        t.equal(limit, String(32 * 2 ** 20), "within a limit of its own");
      }
      const down = await node.skein("down", "-f", file);
      t.strictSame(
        down.stdout.trim().split("\n"),
        three.map((name) => `removed kinds/${name}`).sort(),
      );
      t.equal((await running("kinds")).length, 1, "what is not in the file stays");
      t.equal((await node.skein("ns", "rm", "kinds")).status, 0);
      t.equal((await tasks("kinds")).length, 0);
    },
  );

  await t.test("[L1] [L4] the same name lives in two namespaces, made by being used", async (t) => {
    for (const namespace of ["kinds", "kinds2"]) {
      const manifest = { name: namespace, services: { web: web(namespace) } };
      await up(namespace, manifest);
      await up(namespace, manifest);
      t.equal((await running(namespace)).length, 1, "also when it is made twice");
    }
    t.equal((await node.skein("ns", "rm", "kinds2")).status, 0);
    t.equal((await running("kinds")).length, 1, "removing the one leaves the other");
  });
});

/** The body of an answer, without the end of its line. */
function ask(of: { readonly host: string; readonly port: number; readonly name?: string }) {
  const { host, port, name = host } = of;
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  get({ host, port, path: "/", headers: { host: name }, timeout: 5_000 }, (response) => {
    let body = "";
    response.on("data", (chunk) => {
      body += chunk;
    });
    response.on("end", () => resolve(body.trim()));
  }).on("error", reject);
  return promise;
}
