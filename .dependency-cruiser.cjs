// The architecture, as the one table that CI enforces: folder -> folders it may import.
const mayImport = {
  kernel: [],
  network: ["kernel"],
  raft: ["kernel", "network"],
  gossip: ["kernel", "network"],
  spec: ["kernel"],
  cluster: ["kernel", "spec"],
  intents: ["kernel", "cluster"],
  scheduler: ["kernel", "spec", "cluster"],
  runtime: ["kernel", "spec"],
  agent: ["kernel", "spec", "cluster", "runtime"],
  proxy: ["kernel", "spec", "cluster"],
  events: ["kernel", "spec", "cluster"],
  api: ["kernel", "spec", "cluster"],
  cli: ["kernel", "network", "spec", "cluster", "api"],
  daemon: [
    "kernel",
    "network",
    "raft",
    "gossip",
    "spec",
    "cluster",
    "intents",
    "scheduler",
    "runtime",
    "agent",
    "proxy",
    "events",
    "api",
  ],
};

// Ways into a folder beside its index.ts. A command that starts, asks and ends loads only what it
// needs: the API's own half, and of other folders these files, which import next to nothing.
const leaves = "cluster/voter-counts|network/token|spec/service-spec|spec/values";
const doors = `([^/]+/index|api/server|${leaves})\\.ts$`;

const layers = Object.entries(mayImport).map(([folder, allowed]) => ({
  name: `layer-${folder}`,
  severity: "error",
  from: { path: `^src/${folder}/` },
  to: { path: "^src/", pathNot: `^src/(${[folder, ...allowed].join("|")})/` },
}));

// Computation only, no IO: these packages may be used anywhere.
const purePackages = "node_modules/(zod|msgpackr|yaml)/";

module.exports = {
  forbidden: [
    ...layers,
    {
      name: "pure-outside-io",
      comment: "Only io/, cli/, daemon/ and main.mjs may touch the outside world.",
      severity: "error",
      from: { path: "^src/", pathNot: "(/io/|^src/(cli|daemon)/|^src/main\\.mjs$)" },
      to: { dependencyTypes: ["core", "npm", "npm-dev"], pathNot: purePackages },
    },
    {
      name: "io-only-from-io-or-daemon",
      comment: "Adapters are plugged in by daemon/ (and by the entry points), nowhere else.",
      severity: "error",
      from: { path: "^src/", pathNot: "(/io/|^src/(daemon|cli)/|^src/main\\.mjs$)" },
      to: { path: "^src/[^/]+/io/" },
    },
    {
      name: "front-door",
      comment: "Another folder is entered by its index.ts.",
      severity: "error",
      from: { path: "^src/([^/]+)/", pathNot: "^src/(daemon|cli)/" },
      to: { path: "^src/[^/]+/", pathNot: `^src/($1/|kernel/io/|${doors})` },
    },
    {
      name: "front-door-composition",
      comment: "The composition root and the command line may also enter io/.",
      severity: "error",
      from: { path: "^src/(daemon|cli)/" },
      to: { path: "^src/[^/]+/", pathNot: `^src/($1/|[^/]+/io/|${doors})` },
    },
    {
      name: "leaves-are-light",
      comment: "What has a door of its own because it is light stays light.",
      severity: "error",
      from: { path: `^src/(${leaves})\\.ts$` },
      to: { pathNot: "^src/kernel/|^src/network/errors\\.ts$|node_modules/zod/" },
    },
    {
      name: "no-test-in-src",
      severity: "error",
      from: { path: "^src/" },
      to: { path: "^(test|sim)/" },
    },
    {
      name: "no-cycle",
      severity: "error",
      from: { path: "^(src|sim|test)/" },
      to: { circular: true },
    },
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: "tsconfig.json" },
  },
};
