import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

/**
 * N "machines" on this host for end-to-end tests: each with its own network namespace on a
 * shared switch (addresses 10.98.0.1, .2, …), process, mount and host name namespaces, a
 * private /run and /var/lib/skein, and its own Docker engine. They can be unplugged, and
 * lose power.
 */

const here = dirname(fileURLToPath(import.meta.url));
const root = dirname(dirname(here));
const subnet = "10.98.0";

const tools = ["dockerd", "docker", "ip", "unshare", "nsenter", "setpriv", "busybox", "tar"];

/** Why no machines can be made here; undefined when they can. */
export function machinesUnavailable(): string | undefined {
  if (process.platform !== "linux") return "needs Linux";
  if (process.getuid?.() !== 0) return "needs root, to make network namespaces";
  for (const tool of tools) {
    if (spawnSync("which", [tool]).status !== 0) return `needs ${tool}`;
  }
  const probe = spawnSync("unshare", ["--net", "--mount", "--uts", "--pid", "--fork", "true"]);
  return probe.status === 0 ? undefined : "may not make namespaces here";
}

export type CommandResult = {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
};

/** One request of the outside client. */
export type Sample = {
  readonly atMs: number;
  readonly tookMs: number;
  readonly target: string;
  readonly status?: number;
  readonly body?: string;
  readonly error?: string;
};

type MachinesOptions = {
  /** The program that they run; by default that of this checkout. */
  readonly skein?: string;
  /** Whether a question for a name fails at once; else it goes to this host's name server. */
  readonly refusesLookups?: boolean;
};

type Target = { readonly host: string; readonly port: number; readonly hostHeader?: string };

/**
 * Images that every machine has: `skein-test/web:1` and `:2` answer "HOSTNAME VERSION" on port
 * 80 and end at once on SIGTERM; `:bad` does the same and is never healthy.
 */
const images: readonly { readonly version: string; readonly changes: readonly string[] }[] = [
  { version: "1", changes: [] },
  { version: "2", changes: [] },
  {
    version: "bad",
    changes: ["HEALTHCHECK --interval=1s --timeout=1s --retries=1 CMD exit 1"],
  },
];
// The shell is PID 1: it takes SIGTERM, which httpd there would ignore.
const imageCommand =
  'echo "$(hostname) $VERSION" > /www/index.html; trap "exit 0" TERM; httpd -f -p 80 -h /www & wait';

export class Machines implements AsyncDisposable {
  readonly #prefix: string;
  readonly #directory: string;
  readonly #skein: string;
  readonly #refusesLookups: boolean;
  readonly #inits = new Map<number, ChildProcess>();
  readonly #daemons = new Map<number, ChildProcess>();

  constructor(options: MachinesOptions = {}) {
    const { skein = join(root, "bin", "skein"), refusesLookups = false } = options;
    this.#refusesLookups = refusesLookups;
    this.#skein = skein;
    this.#prefix = `skein-e2e-${process.pid}`;
    this.#directory = mkdtempSync(join(tmpdir(), `${this.#prefix}-`));
  }

  /** Boots machines 1 to `count`, with the test images loaded. */
  static async start(count: number, options: { readonly skein?: string } = {}): Promise<Machines> {
    removeLeftovers();
    const machines = new Machines(options);
    try {
      machines.#makeSwitch();
      const numbers = Array.from({ length: count }, (_, i) => i + 1);
      for (const number of numbers) machines.#boot(number);
      await Promise.all(numbers.map((number) => machines.#engineReady(number)));
      const archive = makeImageArchive(machines.#directory);
      await Promise.all(numbers.map((number) => machines.#loadImages(number, archive)));
      return machines;
    } catch (error) {
      await machines[Symbol.asyncDispose]();
      throw error;
    }
  }

  address(number: number): string {
    return `${subnet}.${number}`;
  }

  /** Runs a command on a machine and waits for its end. */
  exec(
    number: number,
    argv: readonly string[],
    options: { readonly input?: string; readonly env?: Readonly<Record<string, string>> } = {},
  ): CommandResult {
    const { status, stdout, stderr } = spawnSync("nsenter", this.#enter(number, argv), {
      encoding: "utf8",
      input: options.input ?? "",
      env: { ...process.env, ...options.env },
      timeout: 120_000,
      maxBuffer: 64 << 20,
    });
    return { status: status ?? 128, stdout, stderr };
  }

  /** The same without blocking this process, for what runs while something else happens. */
  async execAsync(number: number, argv: readonly string[]): Promise<CommandResult> {
    return await collect(spawn("nsenter", this.#enter(number, argv), { stdio: "pipe" }));
  }

  /** The command line on a machine, through its local socket. */
  async skein(number: number, ...args: readonly string[]): Promise<CommandResult> {
    return await this.execAsync(number, [this.#skein, ...args]);
  }

  /** The same as data; throws when it fails. */
  async skeinJson<T>(number: number, ...args: readonly string[]): Promise<T> {
    const result = await this.skein(number, ...args, "--json");
    if (result.status !== 0) throw new Error(`skein ${args.join(" ")}: ${result.stderr}`);
    return JSON.parse(result.stdout) as T;
  }

  /** Docker's command line against a machine's engine. */
  docker(number: number, ...args: readonly string[]): CommandResult {
    return this.exec(number, ["docker", ...args]);
  }

  /** Starts a program on a machine that goes on by itself; its output is appended to a file. */
  spawn(
    number: number,
    argv: readonly string[],
    { logFile }: { readonly logFile: string },
  ): ChildProcess {
    const log = openSync(logFile, "a");
    const child = spawn("nsenter", this.#enter(number, argv), { stdio: ["ignore", log, log] });
    closeSync(log);
    return child;
  }

  /** Starts a daemon; returns at once. Its output goes to {@link daemonLog}. */
  startDaemon(number: number, ...args: readonly string[]): ChildProcess {
    const argv = [this.#skein, "daemon", ...args];
    const child = this.spawn(number, argv, { logFile: this.#daemonLogFile(number) });
    this.#daemons.set(number, child);
    return child;
  }

  daemonLog(number: number): string {
    const file = this.#daemonLogFile(number);
    return existsSync(file) ? readFileSync(file, "utf8") : "";
  }

  /** Where a machine's /var/lib/skein is on this host. */
  dataPath(number: number): string {
    return join(this.#home(number), "skein");
  }

  /** The socket of a machine's engine, as this host reaches it: cheaper than a process a question. */
  engineSocket(number: number): string {
    return this.pathOf(number, "/run/docker.sock");
  }

  /** Where this host sees a file of a machine, sockets too; elsewhere after each boot. */
  pathOf(number: number, path: string): string {
    return `/proc/${this.#initPid(number)}/root${path}`;
  }

  /** Freezes a machine's daemon, or lets it go on. */
  freezeDaemon(number: number, signal: "SIGSTOP" | "SIGCONT"): void {
    const { child, pid } = this.#daemonOf(number);
    process.kill(pid, signal);
    // nsenter stops itself with its child, and has to be woken by itself.
    if (signal === "SIGCONT" && child.pid !== undefined) process.kill(child.pid, signal);
  }

  /** Signals a machine's daemon (not its proxy) and waits for its end. */
  async signalDaemon(number: number, signal: NodeJS.Signals): Promise<number | null> {
    const { child, pid } = this.#daemonOf(number);
    const ended = new Promise<number | null>((resolve) => {
      child.once("exit", (code) => resolve(code));
    });
    process.kill(pid, signal);
    return await ended;
  }

  /** Unplugs a machine: it keeps running and sees no link go down. */
  cut(number: number): void {
    ip("-n", this.#namespace(0), "link", "set", `m${number}`, "nomaster");
  }

  heal(number: number): void {
    ip("-n", this.#namespace(0), "link", "set", `m${number}`, "master", "lan");
  }

  /** Power loss: silence on the wire, then everything in the machine dies at once. */
  async kill(number: number): Promise<void> {
    ip("-n", this.#namespace(0), "link", "del", `m${number}`);
    await this.#destroyInit(number);
    ip("netns", "del", this.#namespace(number));
  }

  /** Boots a machine again, its disk as it was. Its daemon is the caller's to start. */
  async start(number: number): Promise<void> {
    this.#boot(number);
    await this.#engineReady(number);
  }

  /** A fixed number of requests from outside the cluster, one after the other. */
  async request(
    targets: readonly Target[],
    count: number,
    { timeoutMs = 5_000 }: { readonly timeoutMs?: number } = {},
  ): Promise<readonly Sample[]> {
    const job = { targets, count, intervalMs: 0, timeoutMs };
    const { status, stdout, stderr } = await collect(this.#client(job));
    if (status !== 0) throw new Error(stderr);
    return JSON.parse(stdout);
  }

  /** Requests at an interval until stopped; `started` resolves when the first is answered. */
  startLoad(options: {
    readonly targets: readonly Target[];
    readonly intervalMs: number;
    readonly keepAlive?: boolean;
    readonly timeoutMs?: number;
  }): { readonly started: Promise<void>; stop(): Promise<readonly Sample[]> } {
    const child = this.#client(options);
    const result = collect(child);
    const started = new Promise<void>((resolve) => child.stdout?.once("data", () => resolve()));
    return {
      started,
      stop: async () => {
        child.stdin?.end();
        return JSON.parse((await result).stdout);
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#inits.keys()].map((number) => this.#destroyInit(number)));
    for (const name of namespaces()) {
      if (name.startsWith(`${this.#prefix}-`)) ip("netns", "del", name);
    }
    removeControlGroups(this.#prefix);
    rmSync(this.#directory, { recursive: true, force: true, maxRetries: 5 });
  }

  #daemonOf(number: number): { readonly child: ChildProcess; readonly pid: number } {
    const child = this.#daemons.get(number);
    // nsenter forks into the pid namespace: its child there is the daemon.
    const pid = child?.exitCode === null ? childOf(child) : undefined;
    if (child === undefined || pid === undefined) {
      const log = this.daemonLog(number).slice(-2_000);
      throw new Error(`machine ${number} runs no daemon; the end of its log:\n${log}`);
    }
    return { child, pid };
  }

  #client(job: object): ChildProcess {
    const command = [process.execPath, join(here, "http-client.mjs"), JSON.stringify(job)];
    const namespace = `--net=/run/netns/${this.#namespace(0)}`;
    return spawn("nsenter", [namespace, ...command], { stdio: "pipe" });
  }

  #namespace(number: number): string {
    return `${this.#prefix}-${number}`;
  }

  #home(number: number): string {
    return join(this.#directory, String(number));
  }

  #daemonLogFile(number: number): string {
    return join(this.#home(number), "daemon.log");
  }

  #makeSwitch(): void {
    const namespace = this.#namespace(0);
    ip("netns", "add", namespace);
    ip("-n", namespace, "link", "set", "lo", "up");
    ip("-n", namespace, "link", "add", "lan", "type", "bridge");
    ip("-n", namespace, "addr", "add", `${subnet}.254/24`, "dev", "lan");
    ip("-n", namespace, "link", "set", "lan", "up");
  }

  #boot(number: number): void {
    const home = this.#home(number);
    for (const folder of ["etc", "docker", "skein"]) {
      mkdirSync(join(home, folder), { recursive: true });
    }
    const settings = {
      "data-root": join(home, "docker"),
      "exec-root": "/run/docker",
      pidfile: "/run/docker.pid",
      hosts: ["unix:///run/docker.sock"],
      bip: `172.29.${number}.1/24`,
      "cgroup-parent": `/${this.#prefix}/${number}`,
      "log-level": "warn",
    };
    writeFileSync(join(home, "etc", "daemon.json"), JSON.stringify(settings));
    if (this.#refusesLookups) {
      writeFileSync(join(home, "etc", "resolv.conf"), "nameserver 127.0.0.1\n");
    }
    const namespace = this.#namespace(number);
    const [lan, link] = [this.#namespace(0), `m${number}`];
    ip("netns", "add", namespace);
    // One hardware address for life: with a new one after a power loss, the others would go on
    // sending to the old one until they ask again.
    const hardware = `02:00:0a:62:00:${number.toString(16).padStart(2, "0")}`;
    const peer = ["peer", "name", "eth0", "netns", namespace, "address", hardware];
    ip("-n", lan, "link", "add", link, "type", "veth", ...peer);
    ip("-n", lan, "link", "set", link, "master", "lan", "up");
    ip("-n", namespace, "link", "set", "lo", "up");
    ip("-n", namespace, "addr", "add", `${this.address(number)}/24`, "dev", "eth0");
    ip("-n", namespace, "link", "set", "eth0", "up");
    ip("-n", namespace, "route", "add", "default", "via", `${subnet}.254`);
    const log = openSync(join(home, "boot.log"), "a");
    const isolate = ["--mount", "--uts", "--pid", "--fork", "--kill-child"];
    const init = [join(here, "machine-boot.sh"), link, home];
    // The machine dies with this process, also when that is killed and cannot clean up.
    const child = spawn(
      "setpriv",
      [
        ...["--pdeathsig", "KILL", "nsenter", `--net=/run/netns/${namespace}`],
        ...["unshare", ...isolate, ...init],
      ],
      { stdio: ["ignore", log, log] },
    );
    closeSync(log);
    this.#inits.set(number, child);
  }

  /** Process id, on this host, of a machine's PID 1. */
  #initPid(number: number): number | undefined {
    const child = this.#inits.get(number);
    if (child === undefined) throw new Error(`machine ${number} is off`);
    return childOf(child);
  }

  #enter(number: number, argv: readonly string[]): string[] {
    const spaces = ["--mount", "--uts", "--net", "--pid"];
    return ["-t", String(this.#initPid(number)), ...spaces, `--wdns=${process.cwd()}`, ...argv];
  }

  async #engineReady(number: number): Promise<void> {
    const deadline = Date.now() + 60_000;
    for (;;) {
      if (this.#initPid(number) !== undefined && this.docker(number, "version").status === 0)
        return;
      if (Date.now() > deadline) {
        throw new Error(
          `the engine of machine ${number} does not start; see ${this.#home(number)}`,
        );
      }
      await sleep(100);
    }
  }

  async #loadImages(number: number, archive: string): Promise<void> {
    for (const { version, changes } of images) {
      const settings = [
        ...[`ENV VERSION=${version}`, "ENV PATH=/bin", "EXPOSE 80"],
        ...[`CMD ${JSON.stringify(["sh", "-c", imageCommand])}`, ...changes],
      ].flatMap((change) => ["--change", change]);
      const argv = ["docker", "import", ...settings, archive, `skein-test/web:${version}`];
      const { status, stderr } = await this.execAsync(number, argv);
      if (status !== 0) throw new Error(`docker import on machine ${number}: ${stderr}`);
    }
  }

  async #destroyInit(number: number): Promise<void> {
    const child = this.#inits.get(number);
    this.#inits.delete(number);
    if (child === undefined || child.exitCode !== null) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    const pid = childOf(child);
    if (pid !== undefined) process.kill(pid, "SIGKILL");
    else child.kill("SIGKILL");
    await ended;
  }
}

/** Process id, on this host, of the one process that `unshare` or `nsenter` forked. */
function childOf({ pid }: ChildProcess): number | undefined {
  const { stdout } = spawnSync("pgrep", ["-P", String(pid)], { encoding: "utf8" });
  return stdout.trim() === "" ? undefined : Number(stdout);
}

function ip(...args: readonly string[]): void {
  execFileSync("ip", args, { stdio: ["ignore", "ignore", "pipe"] });
}

function namespaces(): readonly string[] {
  return existsSync("/run/netns") ? readdirSync("/run/netns") : [];
}

/** What is left of runs that were killed before they could clean up. Their machines are dead. */
function removeLeftovers(): void {
  const controlGroups = readdirSync("/sys/fs/cgroup").flatMap((name) => {
    const folder = join("/sys/fs/cgroup", name);
    return [name, ...(statSync(folder).isDirectory() ? readdirSync(folder) : [])];
  });
  for (const name of new Set([...namespaces(), ...readdirSync(tmpdir()), ...controlGroups])) {
    const [, prefix, pid] = /^(skein-e2e-(\d+))(?:-|$)/.exec(name) ?? [];
    if (prefix === undefined || pid === undefined || existsSync(`/proc/${pid}`)) continue;
    if (namespaces().includes(name)) ip("netns", "del", name);
    removeControlGroups(prefix);
    rmSync(join(tmpdir(), name), { recursive: true, force: true });
  }
}

/** Removes the control groups that the engines of a run made; those in use stay. */
function removeControlGroups(prefix: string): void {
  const mount = "/sys/fs/cgroup";
  const isUnified = existsSync(join(mount, "cgroup.controllers"));
  const hierarchies = isUnified ? [mount] : readdirSync(mount).map((name) => join(mount, name));
  for (const group of hierarchies.map((each) => join(each, prefix))) {
    if (!existsSync(group)) continue;
    spawnSync("find", [group, "-depth", "-type", "d", "-exec", "rmdir", "{}", "+"]);
  }
}

/** What the test images are made from: busybox and room for a page. */
function makeImageArchive(directory: string): string {
  const content = join(directory, "image");
  const bin = join(content, "bin");
  mkdirSync(bin, { recursive: true });
  mkdirSync(join(content, "www"));
  const busybox = spawnSync("which", ["busybox"], { encoding: "utf8" }).stdout.trim();
  copyFileSync(busybox, join(bin, "busybox"));
  chmodSync(join(bin, "busybox"), 0o755);
  for (const tool of ["sh", "httpd", "hostname", "sleep", "wget", "cat", "echo", "ls", "ps"]) {
    symlinkSync("busybox", join(bin, tool));
  }
  const archive = join(directory, "image.tar");
  execFileSync("tar", ["-C", content, "-cf", archive, "bin", "www"]);
  return archive;
}

async function collect(child: ChildProcess): Promise<CommandResult> {
  let stdout = "";
  let stderr = "";
  child.stdout?.setEncoding("utf8").on("data", (chunk) => {
    stdout += chunk;
  });
  child.stderr?.setEncoding("utf8").on("data", (chunk) => {
    stderr += chunk;
  });
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  child.on("error", reject);
  child.on("close", (code) => resolve(code ?? 128));
  return { status: await promise, stdout, stderr };
}
