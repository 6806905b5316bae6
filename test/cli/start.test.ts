import { spawnSync } from "node:child_process";
import { join } from "node:path";
import t from "tap";

const root = new URL("../../", import.meta.url);
const entry = new URL("src/main.mjs", root).pathname;

/** Writes at the end, as the last line on stderr, what the process has loaded. */
const reporter = `
  import { registerHooks } from "node:module";
  const urls = [];
  registerHooks({ load(url, context, next) { urls.push(url); return next(url, context); } });
  process.on("exit", () => {
    const builtIn = process.moduleLoadList;
    process.stderr.write("\\n" + JSON.stringify({ urls, builtIn }));
  });
`;

/** What a real start of the command loads; no daemon answers it. */
function loadedBy(directory: string, args: readonly string[]) {
  // Without what a test runner has its children load.
  const { NODE_OPTIONS: _, NODE_V8_COVERAGE: __, ...environment } = process.env;
  const { stderr } = spawnSync(
    process.execPath,
    [`--import=data:text/javascript,${encodeURIComponent(reporter)}`, entry, ...args],
    {
      cwd: directory,
      env: { ...environment, SKEIN_HOST: join(directory, "none.sock"), HOME: directory },
      encoding: "utf8",
    },
  );
  const { urls, builtIn } = JSON.parse(stderr.slice(stderr.lastIndexOf("\n"))) as {
    readonly urls: readonly string[];
    readonly builtIn: readonly string[];
  };
  const packageOf = /\/node_modules\/((?:@[^/]+\/)?[^/]+)\//;
  return {
    packages: [...new Set(urls.flatMap((url) => packageOf.exec(url)?.[1] ?? []))].sort(),
    sources: urls
      .filter((url) => url.startsWith(`${root}src/`))
      .map((url) => url.slice(root.href.length)),
    usesTls: builtIn.includes("NativeModule tls"),
    stripsTypes: builtIn.includes("NativeModule internal/deps/amaro/dist/index"),
  };
}

const manifest = "services: { web: { image: 'nginx:1' } }";

t.test("a command loads the packages that it uses, and no others", async (t) => {
  const directory = t.testdir({ "compose.yaml": manifest });
  const cases: readonly (readonly [readonly string[], readonly string[]])[] = [
    [["version"], ["commander"]],
    [["ls", "--help"], ["commander"]],
    [["ls"], ["commander", "zod"]],
    [["status"], ["commander", "zod"]],
    [
      ["scale", "web=2"],
      ["commander", "zod"],
    ],
    [
      ["rollback", "web"],
      ["commander", "zod"],
    ],
    [["up"], ["commander", "yaml", "zod"]],
    [["down"], ["commander", "yaml", "zod"]],
  ];
  for (const [args, packages] of cases) {
    t.strictSame(loadedBy(directory, args).packages, packages, args.join(" "));
  }
});

t.test("a command on its own machine loads neither TLS nor the parts of a daemon", async (t) => {
  const directory = t.testdir({ "compose.yaml": manifest });
  for (const args of [["ls"], ["scale", "web=2"], ["up"]]) {
    const { sources, usesTls } = loadedBy(directory, args);
    const ofDaemon = sources.filter((path) =>
      /^src\/(agent|cluster|daemon|events|gossip|intents|network|proxy|raft|runtime|scheduler)\//.test(
        path,
      ),
    );
    t.strictSame(
      ofDaemon.sort(),
      [
        "src/cluster/voter-counts.ts",
        "src/daemon/command.ts",
        "src/network/errors.ts",
        "src/network/token.ts",
      ],
      args.join(" "),
    );
    t.notOk(usesTls, args.join(" "));
  }
});

t.test("a command loads only its own module of those that commands have", async (t) => {
  const { sources } = loadedBy(t.testdir({}), ["voters"]);
  t.strictSame(
    sources.filter((path) => path.startsWith("src/cli/commands/")),
    ["src/cli/commands/voters.ts"],
  );
});

t.test("a second start strips no types: all that it loads is in the compile cache", async (t) => {
  const directory = t.testdir({});
  loadedBy(directory, ["ls"]);
  t.notOk(loadedBy(directory, ["ls"]).stripsTypes);
});
