import { execFile } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { parse } from "yaml";

const entry = new URL("../../src/main.mjs", import.meta.url).pathname;

type Outcome = { readonly status: number; readonly stdout: string; readonly stderr: string };

/** Runs the real command in a directory, without any daemon. */
async function skein(
  directory: string,
  argv: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Promise<Outcome> {
  const env = { PATH: process.env["PATH"] ?? "", SKEIN_DATA_DIR: directory, ...environment };
  return await new Promise((resolve) => {
    execFile(
      process.execPath,
      [entry, ...argv],
      { cwd: directory, env },
      (error, stdout, stderr) => {
        resolve({ status: typeof error?.code === "number" ? error.code : 0, stdout, stderr });
      },
    );
  });
}

const compose = `name: shop
services:
  web:
    image: web:\${TAG:-1}
    ports: ["8080:80"]
  debug:
    image: debug:1
    profiles: [debug]
`;

t.test("skein config", async (t) => {
  const directory = t.testdir({
    "compose.yaml": compose,
    "compose.override.yaml": "services: {web: {environment: {A: '1'}}}",
    ".env": "TAG=2\n",
    "other.env": "TAG=3\n",
    "prod.yaml": "services: {web: {deploy: {replicas: 3}, ports: !override ['81:80']}}",
  });

  t.test("merges the file and its override, with the variables of .env", async (t) => {
    const { status, stdout } = await skein(directory, ["config"]);
    t.equal(status, 0);
    t.match(parse(stdout), {
      "x-namespace": "shop",
      services: { web: { image: "web:2", environment: { A: "1" } } },
    });
    t.notMatch(stdout, /debug/);
  });

  t.test("an option counts before the command as it does behind it", async (t) => {
    const before = await skein(directory, ["-n", "a", "--json", "config"]);
    const { stdout } = await skein(directory, ["config", "-n", "a", "--json"]);
    t.equal(before.stdout, stdout);
    t.equal(JSON.parse(stdout)["x-namespace"], "a");
    const both = await skein(directory, ["-n", "a", "-o", "table", "config", "-n", "b"]);
    t.match(parse(both.stdout), { "x-namespace": "b" }, "the nearer one wins");
    const { status, stderr } = await skein(directory, [
      "--host",
      join(directory, "none.sock"),
      "ps",
    ]);
    t.equal(status, 9);
    t.match(stderr, /No daemon answers at .*none.sock/);
  });

  t.test("takes several files, profiles and other variables, as JSON", async (t) => {
    const files = ["-f", "compose.yaml", "-f", "prod.yaml"];
    const { stdout } = await skein(directory, [
      ...["config", ...files, "--profile", "debug", "--env-file", "other.env", "--format", "json"],
    ]);
    t.match(JSON.parse(stdout), {
      services: {
        debug: { image: "debug:1" },
        web: { image: "web:3", ports: [{ published: 81 }], deploy: { replicas: 3 } },
      },
    });
  });

  t.test("lists names and images; the environment decides on tags and profiles", async (t) => {
    const environment = { TAG: "9", COMPOSE_PROFILES: "debug" };
    t.equal((await skein(directory, ["config", "--services"], environment)).stdout, "debug\nweb\n");
    t.equal(
      (await skein(directory, ["config", "--images"], environment)).stdout,
      "debug:1\nweb:9\n",
    );
  });

  t.test("prints the schema, and nothing when asked to be quiet", async (t) => {
    t.match(JSON.parse((await skein(directory, ["config", "--schema"])).stdout), {
      type: "object",
    });
    t.strictSame(await skein(directory, ["config", "-q"]), { status: 0, stdout: "", stderr: "" });
  });
});

t.test("What cannot be read ends with status 2 and a place", async (t) => {
  const cases: readonly (readonly [name: string, content: string | Buffer, message: RegExp])[] = [
    [
      "unknown key",
      "services: {web: {image: a, prts: []}}",
      /^skein: c\.yaml:1:28: unknown key `prts`/,
    ],
    ["no services", "services: {}", /^skein: c\.yaml:1:11: the manifest has no services/],
    [
      "Latin-1",
      Buffer.concat([
        Buffer.from("services:\n  web: {image: a, user: f"),
        Buffer.of(0xfc),
        Buffer.from("r}\n"),
      ]),
      /^skein: c\.yaml:2:26: this is not UTF-8; save the file as UTF-8$/m,
    ],
    [
      "10 MB",
      Buffer.alloc(10_000_000, "a"),
      /^skein: c\.yaml:1:1: the file is larger than 1 MiB$/m,
    ],
    [
      "20,000 services",
      `services:\n${Array.from({ length: 20_000 }, (_, n) => `  a${n}: {image: a}\n`).join("")}`,
      /^skein: c\.yaml:2:3: the manifest has 20000 services; at most 1000 are allowed/,
    ],
  ];
  const directory = t.testdir({});
  for (const [name, content, message] of cases) {
    await t.test(name, async (t) => {
      writeFileSync(join(directory, "c.yaml"), content);
      for (const command of ["config", "lint", "up"]) {
        const { status, stderr, stdout } = await skein(directory, [command, "-f", "c.yaml"]);
        t.equal(status, 2);
        t.match(stderr, message);
        t.equal(stdout, "");
        if (name !== "unknown key") break;
      }
    });
  }

  await t.test("what is no file", async (t) => {
    mkdirSync(join(directory, "folder"), { recursive: true });
    for (const file of ["missing.yaml", "folder", "/dev/zero"]) {
      const { status, stderr } = await skein(directory, ["config", "-f", file]);
      t.equal(status, 2, file);
      t.match(stderr, file === "/dev/zero" ? /larger than 1 MiB/ : /^skein: Cannot read /);
    }
  });
});

t.test("skein lint", async (t) => {
  const directory = t.testdir({
    "compose.yaml": "services:\n  web:\n    image: web\n    ports: ['80:80']\n",
  });
  const plain = await skein(directory, ["lint"]);
  t.equal(plain.status, 0);
  t.match(
    plain.stdout,
    /^compose\.yaml:3:12: the image `web` is whatever was pushed last; name a version/m,
  );
  t.match(plain.stdout, /^compose\.yaml:2:3: the service `web` takes requests as soon as it runs/m);
  const strict = await skein(directory, ["lint", "--strict", "--json"]);
  t.equal(strict.status, 1);
  t.equal(JSON.parse(strict.stdout).length, plain.stdout.trim().split("\n").length);
});
