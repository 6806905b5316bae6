import { existsSync, readdirSync, readFileSync } from "node:fs";
import { copyFile, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { NodeView, ServiceView } from "../../src/api/index.ts";
import { bundle } from "../bundle.ts";
import { DemoNode } from "../demo/cluster.ts";
import { hasEngine } from "../demo/image.ts";
import { root } from "../run.ts";
import { UnableToRun } from "./errors.ts";
import { cpuSeconds } from "./processes.ts";
import {
  type Bench,
  type BenchOptions,
  type Case,
  describeLoad,
  median,
  toCase,
} from "./report.ts";

type Load = {
  readonly name: string;
  readonly nodes: number;
  readonly tasksPerNode: number;
  /** Whether the limit holds for it, or it is for information. */
  readonly hasBar: boolean;
};

const loads: readonly Load[] = [
  { name: "1-50", nodes: 1, tasksPerNode: 50, hasBar: true },
  { name: "3-50", nodes: 3, tasksPerNode: 50, hasBar: true },
  { name: "3-0", nodes: 3, tasksPerNode: 0, hasBar: true },
  { name: "10-0", nodes: 10, tasksPerNode: 0, hasBar: false },
];

/** Of a core: a daemon and its proxy together. */
const limitPercent = 1;
const image = "busybox";
const startMs = 240_000;
const pollMs = 500;
/** After the last start, until elections, joins, first reports and compilation are over. */
const settleMs = 60_000;

/**
 * Real daemons in the form that is published, with their defaults for a LAN, that have nothing
 * to do: what they and their proxies use of a core. All of them share this machine's engine.
 */
export const idleBench: Bench = {
  name: "idle",
  summary: "real daemons that hold running tasks and have nothing else to do",
  loads: loads.map(({ name }) => name),
  defaults: { rounds: 1, seconds: 60 },
  run,
};

async function run(options: BenchOptions): Promise<readonly Case[]> {
  const cases: Case[] = [];
  const directory = await mkdtemp(join(tmpdir(), "skein-idle-"));
  try {
    const program = await publishedForm(directory);
    for (const load of loads.filter(({ name }) => options.loads.includes(name))) {
      cases.push(...(await runLoad(load, { program, directory, options })));
    }
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
  return cases;
}

async function publishedForm(directory: string): Promise<readonly string[]> {
  const programs = join(directory, "dist");
  await bundle({ programs: { main: join(root, "src", "main.mjs") }, directory: programs });
  // It asks the package beside it for its version.
  await copyFile(join(root, "package.json"), join(directory, "package.json"));
  return [process.execPath, join(programs, "main.mjs")];
}

async function runLoad(
  load: Load,
  parts: {
    readonly program: readonly string[];
    readonly directory: string;
    readonly options: BenchOptions;
  },
): Promise<readonly Case[]> {
  const { program, options } = parts;
  const { signal, say } = options;
  const directory = join(parts.directory, load.name);
  const nodes = makeNodes(load, { directory, program });
  await mkdir(directory);
  await using started = new AsyncDisposableStack();
  await startNodes(nodes, started);
  if (load.tasksPerNode > 0) await runTasks(nodes, load, { directory, signal, started });
  await sleep(settleMs, undefined, { signal });
  const daemons: number[] = [];
  const proxies: number[] = [];
  for (let round = 0; round < options.rounds; round += 1) {
    say(describeLoad());
    const before = nodes.map(usageOf);
    await sleep(options.seconds * 1_000, undefined, { signal });
    const used = nodes.map(usageOf);
    const percent = (what: "daemon" | "proxy") =>
      used.map((each, i) => ((each[what] - (before[i]?.[what] ?? 0)) / options.seconds) * 100);
    const [own, proxy] = [percent("daemon"), percent("proxy")];
    say(`${load.name}: daemons ${shown(own)} %, proxies ${shown(proxy)} %; ${describeLoad()}`);
    daemons.push(mean(own));
    proxies.push(mean(proxy));
  }
  return casesOf(load, { daemons, proxies });
}

function casesOf(
  { nodes, tasksPerNode, hasBar }: Load,
  {
    daemons,
    proxies,
  }: { readonly daemons: readonly number[]; readonly proxies: readonly number[] },
): readonly Case[] {
  const what = `${nodes === 1 ? "one node" : `${nodes} nodes`}, ${tasksPerNode} tasks each`;
  const both = daemons.map((own, round) => own + (proxies[round] ?? 0));
  const common = { unit: "% of a core", better: "less", peerName: "the limit" } as const;
  const peer = both.map(() => limitPercent);
  const info = { ...common, peer, bar: null };
  return [
    toCase({ ...common, name: `${what}: a node`, ours: both, peer, bar: hasBar ? 1 : null }),
    toCase({ ...info, name: `${what}: its daemon`, ours: daemons }),
    toCase({ ...info, name: `${what}: its proxy`, ours: proxies }),
  ];
}

function makeNodes(
  { nodes, tasksPerNode }: Load,
  { directory, program }: { readonly directory: string; readonly program: readonly string[] },
): readonly DemoNode[] {
  const runtime = tasksPerNode > 0 ? "docker" : "process";
  if (runtime === "docker" && !hasEngine()) {
    throw new UnableToRun(`The tasks of this load need a Docker engine, with the image ${image}.`);
  }
  return Array.from(
    { length: nodes },
    (_, place) =>
      new DemoNode({
        name: `n${place + 1}`,
        address: `127.0.77.${place + 1}`,
        directory,
        runtime,
        flags: ["--timing=lan"],
        program,
      }),
  );
}

async function startNodes(
  [first, ...others]: readonly DemoNode[],
  started: AsyncDisposableStack,
): Promise<void> {
  if (first === undefined) return;
  started.defer(() => first.remove());
  await first.start(undefined);
  const token = (await first.skein("token", "create")).stdout.trim();
  for (const node of others) {
    started.defer(() => node.remove());
    await node.start({ seed: `${first.address}:7946`, token });
  }
}

async function runTasks(
  nodes: readonly DemoNode[],
  { tasksPerNode }: Load,
  parts: {
    readonly directory: string;
    readonly signal: AbortSignal;
    readonly started: AsyncDisposableStack;
  },
): Promise<void> {
  const { directory, signal, started } = parts;
  const [first] = nodes;
  if (first === undefined) return;
  const file = join(directory, "compose.yaml");
  const count = nodes.length * tasksPerNode;
  const services = {
    rest: {
      image,
      command: ["sleep", "1000000"],
      stop_grace_period: "1ms",
      deploy: { replicas: count },
    },
  };
  await writeFile(file, JSON.stringify({ name: "idle", services }));
  await until("all nodes are ready", signal, async () => {
    const list = (await first.get<readonly NodeView[]>("/v1/nodes")) ?? [];
    return list.filter(({ status }) => status === "ready").length === nodes.length;
  });
  started.defer(async () => void (await first.skein("down", "-f", file)));
  const up = await first.skein("up", "--detach", "-f", file);
  if (up.status !== 0) throw new UnableToRun(`The tasks are not taken: ${up.stderr.trim()}`);
  await until(`${count} tasks run`, signal, async () => {
    const list = (await first.get<readonly ServiceView[]>("/v1/services")) ?? [];
    return list.some(({ running }) => running === count);
  });
}

async function until(
  what: string,
  signal: AbortSignal,
  test: () => Promise<boolean>,
): Promise<void> {
  const deadline = performance.now() + startMs;
  while (!(await test())) {
    if (performance.now() > deadline)
      throw new UnableToRun(`After ${startMs} ms still not: ${what}.`);
    await sleep(pollMs, undefined, { signal });
  }
}

function usageOf(node: DemoNode): { readonly daemon: number; readonly proxy: number } {
  const proxy = proxyOf(node);
  if (node.pid === undefined || proxy === undefined) {
    throw new UnableToRun(`The daemon ${node.name} has ended, or its proxy.`);
  }
  return { daemon: cpuSeconds(node.pid), proxy: cpuSeconds(proxy) };
}

/** The process that serves a daemon's proxy socket: no child of the daemon's, which it outlives. */
function proxyOf({ dataDirectory }: DemoNode): number | undefined {
  const found = readdirSync("/proc").find((name) => {
    const file = join("/proc", name, "cmdline");
    if (!/^\d+$/.test(name) || !existsSync(file)) return false;
    const words = readFileSync(file, "utf8").split("\0");
    return words.includes("proxy") && words.includes(join(dataDirectory, "proxy.sock"));
  });
  return found === undefined ? undefined : Number(found);
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function shown(values: readonly number[]): string {
  return `${values.map((value) => value.toFixed(2)).join(", ")} (median ${median(values).toFixed(2)})`;
}
