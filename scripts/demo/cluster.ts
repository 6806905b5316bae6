import { type ChildProcess, spawn } from "node:child_process";
import { createWriteStream, existsSync, readFileSync } from "node:fs";
import http from "node:http";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { root } from "../run.ts";

export const skein = join(root, "bin", "skein");

type Result = { readonly status: number; readonly stdout: string; readonly stderr: string };

/** One of the demo's daemons, at a loopback address of its own. */
export class DemoNode {
  readonly name: string;
  readonly address: string;
  readonly dataDirectory: string;
  readonly #program: readonly string[];
  readonly #args: readonly string[];
  #process: ChildProcess | undefined;

  constructor(options: {
    readonly name: string;
    readonly address: string;
    readonly directory: string;
    readonly runtime: string;
    /** More of the daemon's flags. */
    readonly flags?: readonly string[];
    /** What starts Skein; absent: from its sources. */
    readonly program?: readonly string[];
  }) {
    this.#program = options.program ?? [skein];
    this.name = options.name;
    this.address = options.address;
    this.dataDirectory = join(options.directory, options.name);
    this.#args = [
      "daemon",
      `--name=${this.name}`,
      `--data-dir=${this.dataDirectory}`,
      `--listen=${this.address}:7946`,
      "--http-port=8080",
      `--runtime=${options.runtime}`,
      "--timing=local",
      ...(options.flags ?? []),
    ];
  }

  get socketPath(): string {
    return join(this.dataDirectory, "skein.sock");
  }

  /** Of the daemon; undefined while it does not run. */
  get pid(): number | undefined {
    return this.#process?.exitCode === null ? this.#process.pid : undefined;
  }

  /** Starts the daemon and waits until its API answers. */
  async start(join: { readonly seed: string; readonly token: string } | undefined): Promise<void> {
    const args = [...this.#args, ...(join === undefined ? [] : [`--join=${join.seed}`])];
    const log = createWriteStream(`${this.dataDirectory}.log`, { flags: "a" });
    const [program = skein, ...before] = this.#program;
    const child = spawn(program, [...before, ...args], {
      stdio: ["ignore", "pipe", "pipe"],
      // A terminal's Ctrl-C goes to the demo, which stops the daemons itself.
      detached: true,
      env: { ...process.env, ...(join === undefined ? {} : { SKEIN_TOKEN: join.token }) },
    });
    child.stdout?.pipe(log);
    child.stderr?.pipe(log);
    this.#process = child;
    const deadline = Date.now() + 60_000;
    while (!existsSync(this.socketPath) || (await this.get("/v1/status")) === undefined) {
      if (child.exitCode !== null || Date.now() > deadline) {
        const last = readFileSync(`${this.dataDirectory}.log`, "utf8").trimEnd().split("\n").at(-1);
        throw new Error(`${this.name} does not start; see ${this.dataDirectory}.log: ${last}`);
      }
      await sleep(100);
    }
  }

  /** What the API answers to a path; undefined while it does not. Cheaper than a process each. */
  get<T>(path: string): Promise<T | undefined> {
    const { promise, resolve } = Promise.withResolvers<T | undefined>();
    const options = { socketPath: this.socketPath, path, agent: false, timeout: 5_000 };
    const outgoing = http.get(options, (response) => {
      let body = "";
      response.on("data", (chunk) => {
        body += chunk;
      });
      response.on("error", () => resolve(undefined));
      response.on("end", () =>
        resolve(response.statusCode === 200 ? (JSON.parse(body) as T) : undefined),
      );
    });
    outgoing.on("timeout", () => outgoing.destroy(new Error("no answer within 5 s")));
    outgoing.on("error", () => resolve(undefined));
    return promise;
  }

  /** Ends the daemon with a signal and waits for it. */
  async stop(signal: NodeJS.Signals): Promise<void> {
    const child = this.#process;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill(signal);
    await ended;
  }

  /** Resolves with the exit status of the daemon that runs. */
  async ended(): Promise<number | null> {
    const child = this.#process;
    if (child === undefined || child.exitCode !== null) return child?.exitCode ?? null;
    return await new Promise((resolve) => child.once("exit", resolve));
  }

  /** Ends the daemon if it runs, and its proxy, which would outlive a daemon that was killed. */
  async remove(): Promise<void> {
    await this.stop("SIGINT");
    await capture(skein, ["proxy", "--stop", "--socket", join(this.dataDirectory, "proxy.sock")]);
  }

  /** Runs the command line against this node. */
  async skein(...args: readonly string[]): Promise<Result> {
    return await capture(skein, [...args], { SKEIN_HOST: this.socketPath });
  }

  /** The same, as data. */
  async json<T>(...args: readonly string[]): Promise<T> {
    const { status, stdout, stderr } = await this.skein(...args, "--json");
    if (status !== 0) throw new Error(`skein ${args.join(" ")}: ${stderr}`);
    return JSON.parse(stdout) as T;
  }
}

export async function capture(
  command: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<Result> {
  const child = spawn(command, args, {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, ...env },
  });
  let stdout = "";
  let stderr = "";
  child.stdout.on("data", (chunk) => {
    stdout += chunk;
  });
  child.stderr.on("data", (chunk) => {
    stderr += chunk;
  });
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  child.on("error", reject);
  child.on("close", (code) => resolve(code ?? 128));
  return { status: await promise, stdout, stderr };
}

/** One request over a connection of its own; the body, or an error. */
export async function request(options: {
  readonly host: string;
  readonly port: number;
  readonly hostHeader?: string;
}): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const headers = options.hostHeader === undefined ? {} : { host: options.hostHeader };
  const outgoing = http.get(
    { host: options.host, port: options.port, headers, agent: false, timeout: 5_000 },
    (response) => {
      let body = "";
      response.on("data", (chunk) => {
        body += chunk;
      });
      response.on("error", reject);
      response.on("end", () => {
        if (response.statusCode === 200) resolve(body.trim());
        else reject(new Error(`status ${response.statusCode}: ${body.trim()}`));
      });
    },
  );
  outgoing.on("timeout", () => outgoing.destroy(new Error("no answer within 5 s")));
  outgoing.on("error", reject);
  return await promise;
}
