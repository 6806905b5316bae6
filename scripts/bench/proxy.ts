import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { get, type IncomingMessage } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { UnableToRun } from "./errors.ts";
import { cpuSeconds, findPrograms, freePorts } from "./processes.ts";
import { startOurProxy } from "./proxy-ours.ts";
import { type Contender, startBackends, startHaproxy, startNginx } from "./proxy-peers.ts";
import { type Bench, type BenchOptions, type Case, describeLoad, toCase } from "./report.ts";
import { type LoadOptions, measureLoad } from "./wrk.ts";

const needed = [
  { program: "haproxy", package: "haproxy" },
  { program: "nginx", package: "nginx-light" },
  { program: "wrk", package: "wrk" },
  { program: "taskset", package: "util-linux" },
] as const;

/** The host that is routed. */
const host = "app.localhost";

/** What a browser sends along: 590 octets of head. */
const browserHeaders: readonly string[] = [
  "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/129.0.0.0 Safari/537.36",
  "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
  "Accept-Language: en-US,en;q=0.9,de;q=0.8",
  "Accept-Encoding: gzip, deflate, br",
  "Cookie: session=0123456789abcdef0123456789abcdef; theme=dark; _ga=GA1.2.1234567890.1234567890",
  "Referer: https://example.org/some/long/path/page.html",
  "Cache-Control: max-age=0",
  "Upgrade-Insecure-Requests: 1",
  "Sec-Fetch-Mode: navigate",
  "Sec-Fetch-Site: same-origin",
];

type ProxyLoad = {
  readonly name: string;
  readonly bodyBytes: number;
  readonly connections: number;
  readonly headers: readonly string[];
  /** Of requests a CPU second, next to haproxy. */
  readonly bar: number | null;
  /**
   * Of the 99th percentile: not above 1.5 times haproxy's. Each connection waits for its
   * answer, so where fewer requests are asked for than half of haproxy's, there is no point in it.
   */
  readonly p99Bar: number | null;
};

const kibibyte = 1_024;

const loads: readonly ProxyLoad[] = [
  {
    name: "keep-alive",
    bodyBytes: kibibyte,
    connections: 64,
    headers: [],
    bar: 0.75,
    p99Bar: 1 / 1.5,
  },
  {
    name: "browser",
    bodyBytes: kibibyte,
    connections: 64,
    headers: browserHeaders,
    bar: 0.75,
    p99Bar: 1 / 1.5,
  },
  {
    name: "close",
    bodyBytes: kibibyte,
    connections: 64,
    headers: ["Connection: close"],
    bar: 0.45,
    p99Bar: null,
  },
  {
    name: "100k",
    bodyBytes: 100 * kibibyte,
    connections: 64,
    headers: [],
    bar: 0.55,
    p99Bar: null,
  },
  {
    name: "1m",
    bodyBytes: kibibyte * kibibyte,
    connections: 16,
    headers: [],
    bar: null,
    p99Bar: null,
  },
];

/**
 * Our proxy process next to haproxy and nginx, each with one thread on a core of its own,
 * a host route and two backends that keep connections. What is compared first is requests
 * a CPU second of the proxy: it also holds where the load or the backends are the limit.
 */
export const proxyBench: Bench = {
  name: "proxy",
  summary: "our proxy process next to haproxy (and nginx), requests on loopback",
  loads: loads.map(({ name }) => name),
  defaults: { rounds: 5, seconds: 3 },
  run: runProxyBench,
};

async function runProxyBench(options: BenchOptions): Promise<readonly Case[]> {
  const programs = findPrograms(needed);
  const pathOf = (program: string) => programs.get(program) ?? program;
  await using started = new AsyncDisposableStack();
  const directory = await mkdtemp(join(tmpdir(), "skein-bench-"));
  started.defer(() => rm(directory, { recursive: true, force: true }));
  const { signal, say } = options;
  const [oursPort = 0, edgePort = 0, haproxyPort = 0, nginxPort = 0, ...backendPorts] =
    await freePorts(6);
  const sizes = [...new Set(loads.map(({ bodyBytes }) => bodyBytes))];
  const given = { directory, host, backendPorts, signal };
  started.use(await startBackends({ ...given, nginx: pathOf("nginx"), sizes }));
  const haproxy = started.use(
    await startHaproxy({ ...given, haproxy: pathOf("haproxy"), port: haproxyPort }),
  );
  const nginx = started.use(
    await startNginx({ ...given, nginx: pathOf("nginx"), port: nginxPort }),
  );
  const ours = started.use(await startOurProxy({ ...given, port: oursPort, edgePort }));

  say(`${describeLoad()}; ${options.rounds} rounds of ${options.seconds} s`);
  const cases: Case[] = [];
  for (const load of loads.filter(({ name }) => options.loads.includes(name))) {
    const contenders = [haproxy, nginx, ours];
    for (const contender of contenders) await checkAnswer(contender, load, signal);
    const samples = await alternate(load, contenders, { ...options, wrk: pathOf("wrk") });
    cases.push(...casesOf(load, samples));
  }
  return cases;
}

/** A proxy that answers wrongly may do so very fast. */
async function checkAnswer(
  { name, port }: Contender,
  { bodyBytes }: ProxyLoad,
  signal: AbortSignal,
): Promise<void> {
  const path = `/${bodyBytes}`;
  // Not by fetch(), which does not let the host be chosen.
  const request = get({ host: "127.0.0.1", port, path, headers: { host }, agent: false, signal });
  const [answer] = (await once(request, "response")) as [IncomingMessage];
  let received = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) received += chunk.byteLength;
  if (answer.statusCode === 200 && received === bodyBytes) return;
  throw new UnableToRun(
    `${name} answers ${path} with status ${answer.statusCode} and ${received} octets.`,
  );
}

type Sample = {
  readonly perCpuSecond: number;
  readonly perSecond: number;
  readonly p99Ms: number;
};

/** Long enough for compilers to have seen the code. */
const warmUpSeconds = 2;

/** All of them once in each round, after a warm-up. */
async function alternate(
  load: ProxyLoad,
  contenders: readonly Contender[],
  options: BenchOptions & { readonly wrk: string },
): Promise<ReadonlyMap<string, readonly Sample[]>> {
  const { rounds, seconds, wrk, say, signal } = options;
  const measure = async ({ port, pid }: Contender, forSeconds: number): Promise<Sample> => {
    const wanted: LoadOptions = {
      wrk,
      url: `http://127.0.0.1:${port}/${load.bodyBytes}`,
      connections: load.connections,
      seconds: forSeconds,
      headers: [`Host: ${host}`, ...load.headers],
      core: 1,
      signal,
    };
    const before = cpuSeconds(pid);
    const { requests, perSecond, p99Ms } = await measureLoad(wanted);
    return { perCpuSecond: requests / (cpuSeconds(pid) - before), perSecond, p99Ms };
  };
  for (const contender of contenders) await measure(contender, warmUpSeconds);
  const samples = new Map<string, Sample[]>(contenders.map(({ name }) => [name, []]));
  for (let round = 1; round <= rounds; round += 1) {
    for (const contender of contenders) {
      samples.get(contender.name)?.push(await measure(contender, seconds));
    }
    const shown = [...samples].map(([name, list]) => `${name} ${describe(list.at(-1))}`);
    say(`${load.name}, round ${round}: ${shown.join(", ")}`);
  }
  return samples;
}

function describe(sample: Sample | undefined): string {
  return sample === undefined ? "-" : `${Math.round(sample.perSecond)}/s`;
}

function casesOf(load: ProxyLoad, samples: ReadonlyMap<string, readonly Sample[]>): Case[] {
  const { name, bodyBytes, bar, p99Bar } = load;
  const of = (contender: string, pick: (sample: Sample) => number) =>
    (samples.get(contender) ?? []).map(pick);
  const against = (peerName: string, pick: (sample: Sample) => number) => ({
    ours: of("ours", pick),
    peer: of(peerName, pick),
    peerName,
  });
  // Big bodies are about octets, small ones about requests.
  const isBig = bodyBytes >= kibibyte * kibibyte;
  const scale = isBig ? bodyBytes / (kibibyte * kibibyte) : 1;
  const what = isBig ? "MiB" : "requests";
  const more = { better: "more" as const };
  const perCpuSecond = (sample: Sample) => sample.perCpuSecond * scale;
  const perSecond = (sample: Sample) => sample.perSecond * scale;
  const p99 = (sample: Sample) => sample.p99Ms;
  return [
    toCase({
      name: `${name}: per CPU second`,
      unit: `${what}/CPU-s`,
      ...more,
      bar,
      ...against("haproxy", perCpuSecond),
    }),
    toCase({
      name: `${name}: per second`,
      unit: `${what}/s`,
      ...more,
      bar: null,
      ...against("haproxy", perSecond),
    }),
    toCase({
      name: `${name}: p99`,
      unit: "ms",
      better: "less",
      bar: p99Bar,
      ...against("haproxy", p99),
    }),
    toCase({
      name: `${name}: per CPU second`,
      unit: `${what}/CPU-s`,
      ...more,
      bar: null,
      ...against("nginx", perCpuSecond),
    }),
  ];
}
