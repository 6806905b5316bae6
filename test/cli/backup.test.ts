import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { ApiClient, type ApiTransport } from "../../src/api/index.ts";
import { backup, restore } from "../../src/cli/commands/backup.ts";
import type { Session } from "../../src/cli/session.ts";
import { serviceSpec } from "../builders.ts";

type Call = { readonly method: string; readonly path: string; readonly body: unknown };

const services = [serviceSpec({ name: "web" }), serviceSpec({ name: "db" })];
const quotas = { team: { tasks: 20, memoryBytes: 2 ** 33 } };

/** A cluster that answers what `answers` holds, at the far end of the real client. */
function clusterWith(directory: string, answers: Readonly<Record<string, unknown>>) {
  const calls: Call[] = [];
  const printed: string[] = [];
  const transport: ApiTransport = {
    async send({ method, path, body }) {
      calls.push({ method, path, body: body === undefined ? undefined : JSON.parse(String(body)) });
      const route = Object.keys(answers).find((start) => path.startsWith(start));
      const answer = JSON.stringify(answers[route ?? ""]);
      return {
        status: 200,
        lines: (async function* () {
          yield answer;
        })(),
      };
    },
  };
  const session: Session = {
    client: new ApiClient(transport),
    output: "table",
    environment: {},
    workingDirectory: directory,
    namespace: undefined,
    print: (text) => printed.push(text),
    note: () => undefined,
    setExitCode: () => undefined,
    now: () => 0,
    signal: new AbortController().signal,
  };
  return { session, calls, printed, changed: () => calls.filter(isChange) };
}

function isChange({ method, body }: Call): boolean {
  return method !== "GET" && (body as { dryRun?: boolean } | undefined)?.dryRun !== true;
}

const agreed = { clusterId: "c", index: 7, takenAt: "2026-01-01T00:00:00Z", isConfirmed: true };
const unchanged = { "/v1/services": { index: 8, changes: [] } };
const team = { namespace: "team", services: 0, tasks: 0, cpuMillis: 0, memoryBytes: 0 };

async function takenIn(
  directory: string,
  content: Readonly<Record<string, unknown>>,
): Promise<string> {
  const { session, printed } = clusterWith(directory, { "/v1/backup": { ...agreed, ...content } });
  await backup(session, "all.json");
  return printed.join("");
}

t.test("a backup holds services, quotas and how many vote, and brings them back", async (t) => {
  const directory = t.testdir();
  const said = await takenIn(directory, { services, quotas, maxVoters: 3 });
  t.match(said, "2 services, 1 quota, and the number of voters as of entry 7");
  t.equal(statSync(join(directory, "all.json")).mode & 0o777, 0o600);

  const { session, changed, printed } = clusterWith(directory, {
    ...unchanged,
    "/v1/namespaces/team": { ...team, quota: quotas.team },
    "/v1/namespaces": [],
    "/v1/voters": { index: 9 },
  });
  await restore(session, "all.json", { detach: true });
  t.match(changed(), [
    { path: /services/, body: { services: [{ name: "web" }, { name: "db" }] } },
    { path: /team/, body: quotas.team },
    { body: { maxVoters: 3 } },
  ]);
  t.match(printed.join(""), "quota of namespace team set\nat most 3 are to vote\n");
});

t.test("a backup of an earlier version is restored", async (t) => {
  const content = { skeinBackup: 1, clusterId: "c", index: 1, takenAt: "", services };
  const hash = createHash("sha256").update(JSON.stringify(content)).digest("hex");
  const text = JSON.stringify({ ...content, checksum: `sha256:${hash}` });
  const directory = t.testdir({ "all.json": text });
  const { session, changed } = clusterWith(directory, unchanged);
  await restore(session, "all.json", { detach: true });
  t.match(changed(), [{ body: { services: [{ name: "web" }, { name: "db" }] } }]);
  t.equal(changed().length, 1, "and nothing else");
});

t.test("an empty backup says so", async (t) => {
  const directory = t.testdir();
  t.match(await takenIn(directory, { services: [] }), "0 services as of entry 7");
  const { session, changed, printed } = clusterWith(directory, {});
  await restore(session, "all.json", { detach: true });
  t.strictSame(printed, ["all.json holds no services.\n"]);
  t.strictSame(changed(), []);
});

t.test("what differs here is not replaced", async (t) => {
  const directory = t.testdir();
  await takenIn(directory, { services, quotas });
  const { session, changed } = clusterWith(directory, {
    ...unchanged,
    "/v1/namespaces": [{ ...team, quota: { tasks: 5 } }],
  });
  await t.rejects(restore(session, "all.json", { detach: true }), {
    code: "conflict",
    message: /Namespace team has another quota here/,
  });
  t.strictSame(changed(), []);
});

async function refusal(t: Test, directory: string, name: string): Promise<string> {
  const { session, calls } = clusterWith(directory, {});
  const error = await restore(session, name, { detach: true }).catch((thrown: unknown) => thrown);
  t.strictSame(calls, [], `${name}: nobody was asked for anything`);
  t.match(error, { code: "usage" }, name);
  return error instanceof Error ? error.message : "";
}

t.test("what is no whole backup is refused with its name and the reason", async (t) => {
  const directory = t.testdir();
  await takenIn(directory, { services, quotas, maxVoters: 5 });
  const whole = readFileSync(join(directory, "all.json"), "utf8");
  const newer = { ...JSON.parse(whole), skeinBackup: 3, checksum: undefined };
  const hash = createHash("sha256").update(JSON.stringify(newer)).digest("hex");
  const files = {
    "truncated.json": whole.slice(0, -100),
    "empty.json": "",
    "other.json": "{}",
    "list.json": "[1, 2]",
    "text.json": "not JSON",
    "newer.json": JSON.stringify({ ...newer, checksum: `sha256:${hash}` }),
  };
  for (const [name, text] of Object.entries(files)) writeFileSync(join(directory, name), text);
  mkdirSync(join(directory, "directory.json"));
  const reasons: Readonly<Record<string, RegExp>> = {
    "truncated.json": /cut off or damaged/,
    "empty.json": /it is empty/,
    "other.json": /it is no backup/,
    "list.json": /it is no backup/,
    "text.json": /no backup at all/,
    "newer.json": /newer version of Skein \(format 3; this one reads up to 2\)/,
    "directory.json": /it is a directory/,
    "missing.json": /it does not exist/,
  };
  for (const [name, reason] of Object.entries(reasons)) {
    const text = await refusal(t, directory, name);
    t.match(text, reason);
    t.match(text, new RegExp(`Cannot restore ${name}: .* Nothing was changed.$`));
  }
});

t.test("no damage to a character goes unnoticed", async (t) => {
  const directory = t.testdir();
  await takenIn(directory, { services: [serviceSpec({ name: "web" })], quotas });
  const whole = readFileSync(join(directory, "all.json"), "utf8");
  for (let position = 0; position < whole.length; position += 7) {
    const character = whole[position] ?? "";
    if (/\s/.test(character)) continue; // It means nothing.
    const damaged = `${whole.slice(0, position)}${character === "a" ? "b" : "a"}${whole.slice(position + 1)}`;
    writeFileSync(join(directory, "damaged.json"), damaged);
    t.match(await refusal(t, directory, "damaged.json"), /damaged|no backup/, String(position));
  }
});

t.test("a backup that cannot be written says why, and leaves nothing", async (t) => {
  const directory = t.testdir({ "all.json": {} });
  await t.rejects(takenIn(directory, { services }), { message: /Cannot write .*all\.json/ });
  t.throws(() => statSync(join(directory, "all.json.part")), { code: "ENOENT" });
});
