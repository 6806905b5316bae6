import t, { type Test } from "tap";
import { ApiClient, type ServiceView } from "../../src/api/index.ts";
import { plan } from "../../src/cli/commands/plan.ts";
import { up } from "../../src/cli/commands/up.ts";
import { serviceSpec } from "../builders.ts";
import { quietSession, serviceView } from "./views.ts";

const file = `name: shop
services:
  web: {image: web:1}
  debug: {image: debug:1, profiles: [debug]}
`;

/** What `skein up` and `skein plan` say beside their results where these services are there. */
async function notesOf(t: Test, services: readonly ServiceView[], text = file) {
  const answers: Readonly<Record<string, unknown>> = {
    "/v1/services": services,
    "/v1/plan": { changes: [], services: [], pending: [], isComplete: true },
  };
  const client = new ApiClient({
    send: async ({ method, path }) => ({
      status: 200,
      lines: (async function* () {
        const plain = path.replace(/\?.*$/, "");
        const isSubmitted = method === "POST" && plain === "/v1/services";
        yield JSON.stringify(isSubmitted ? { index: 1, changes: [] } : answers[plain]);
      })(),
    }),
  });
  const notes: string[] = [];
  const workingDirectory = t.testdir({ "compose.yaml": text });
  const session = quietSession(client, { workingDirectory, note: (line) => notes.push(line) });
  await up(session, { detach: true });
  const ofUp = notes.splice(0);
  await up(session, { dryRun: true });
  t.strictSame(notes.splice(0), ofUp, "a dry run says the same");
  await plan(session, {});
  t.strictSame(notes.splice(0), ofUp, "and so does the plan");
  await plan(session, { kill: ["n1"] });
  t.strictSame(notes, [], "where no file is read nothing is missing from it");
  return ofUp;
}

const job = { kind: "replicated-job", completions: 1, parallelism: 1, retries: 0 } as const;
const schedule = {
  cron: "0 3 * * *",
  timezone: "UTC",
  overlap: "forbid",
  isSuspended: false,
} as const;

t.test("services that are no longer in the file are named, with how they go", async (t) => {
  const nightly = serviceSpec({ mode: job, schedule });
  const services = [
    serviceView(),
    serviceView({ name: "old" }),
    serviceView({ name: "nightly", spec: nightly }),
  ];
  t.strictSame(await notesOf(t, services), [
    'warning: not in the file, and still in namespace "shop": old, nightly. If nobody needs them: skein rm shop/old shop/nightly\n',
  ]);
});

t.test("what belongs to the file in another way, or to no file, is not named", async (t) => {
  const services = [
    serviceView(),
    serviceView({ name: "debug" }),
    serviceView({ name: "alpine-3f2a91", spec: serviceSpec({ mode: job }) }),
    serviceView({ name: "halted", spec: serviceSpec({ isStopped: true }) }),
  ];
  t.strictSame(await notesOf(t, services), []);
});

t.test("profiles that exclude each other are no reason to fail, or to guess", async (t) => {
  const text = `${file}  a: {image: a, ports: ["80:80"], profiles: [a]}
  b: {image: b, ports: ["80:80"], profiles: [b]}
`;
  const services = [serviceView(), serviceView({ name: "a" })];
  t.strictSame(await notesOf(t, services, text), []);
});

t.test("a long list is cut", async (t) => {
  const services = Array.from({ length: 30 }, (_, index) => serviceView({ name: `old${index}` }));
  const [note] = await notesOf(t, services);
  t.match(note, /old19, and 10 more\. .*shop\/old19\n$/);
  t.notMatch(note, /old20/);
});
