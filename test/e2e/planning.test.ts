import t from "tap";
import type { TaskView } from "../../src/api/index.ts";
import { shortDirectory } from "./directory.ts";
import { OneNode, shell, whyNoNode } from "./one-node.ts";

/** Why, what if, history and the way back, by the command line on the real engine. */

const skip = await whyNoNode();

t.test("decisions explained", { skip, timeout: 240_000 }, async (t) => {
  await using one = await OneNode.start(shortDirectory(t), "127.0.70.1");
  const { node } = one;
  const web = (colour: string, more: object = {}) => ({
    ...shell("exec sleep 1000"),
    environment: { COLOUR: colour },
    deploy: { replicas: 2, update_config: { monitor: "1s" } },
    ...more,
  });
  const large = { ...shell("sleep 1"), deploy: { resources: { reservations: { cpus: "1000" } } } };

  await t.test("why tells where, from when on, and what each node says", async (t) => {
    const up = await one.up({ web: web("red") });
    t.equal(up.status, 0, up.stderr);
    const { stdout } = await node.skein("why", "web.1");
    t.match(stdout, /^kinds\/web {2}revision 1 {2}\(state of log index \d+, leader n1\)$/m);
    t.match(stdout, /^web\.1 {2}Running on n1 for \d+s {2}\(revision 1, log index \d+\)$/m);
    t.match(stdout, /^ {2}started {3}Fills a free place of the service\.$/m);
    t.match(stdout, /^ {2}there {5}n1 has 0 of this service, .* the only one that fits/m);
    t.match(stdout, /^ {2}n1 {2}yes {2}2 of this service, 2 tasks/m);
    t.notMatch(stdout, /web\.2/, "only the asked task");
    t.equal((await node.skein("why", "web.9")).status, 6);
  });

  await t.test(
    "[C4] why tells what a task waits for, with numbers, and what would help",
    async (t) => {
      await one.up({ large }, "-d");
      await one.until("it is known to wait", 10_000, async () => {
        return (await node.skein("why", "large")).stdout.includes("pending");
      });
      const { stdout } = await node.skein("why", "large");
      t.match(
        stdout,
        /kinds\/large\.1 is pending:\n {2}n1 {2}no {3}1000 CPUs needed, [\d.]+ of \d+ free/,
      );
      t.match(
        stdout,
        /Would be placed by: freeing [\d.]+ CPUs on n1, or adding a node that fits\./,
      );
    },
  );

  await t.test("plan supposes machines, failures and replicas, and changes nothing", async (t) => {
    const before = await node.json<TaskView[]>("ps", "web");
    const more = await node.skein("plan", "--add-node", "1024cpu/8g");
    t.match(more.stdout, /kinds\/large: 0 -> 1 tasks\n {2}1 {2}new -> new-1/);
    const gone = await node.skein("plan", "--kill", "n1");
    t.match(gone.stdout, /kinds\/web\.1 is pending:\n {2}n1 {2}no {3}the node is failed/);
    const scaled = await node.skein("plan", "--scale", "web=4", "--exit-code");
    t.match(scaled.stdout, /kinds\/web: 2 -> 4 tasks/);
    t.equal(scaled.status, 10);
    t.equal((await node.skein("plan", "--add-node", "much")).status, 2);
    t.equal((await node.skein("plan", "--kill", "n9")).status, 6);
    t.strictSame(
      (await node.json<TaskView[]>("ps", "web")).map(({ id }) => id),
      before.map(({ id }) => id),
    );
  });

  await t.test("[E5] history shows what changed, rollback brings it back", async (t) => {
    t.equal((await one.up({ web: web("blue") })).status, 0);
    const { stdout } = await node.skein("history", "web");
    t.match(stdout, /^2 .* submitted .*environment COLOUR red -> blue .*current$/m);
    const back = await node.skein("rollback", "web");
    t.equal(back.status, 0, back.stderr);
    t.match(back.stdout, /environment COLOUR blue -> red/);
    const [{ revision = 0 } = {}] = await node.json<TaskView[]>("ps", "web");
    t.equal(revision, 3);
    t.equal((await node.skein("rollback", "web", "--to", "3")).status, 7);
  });
});
