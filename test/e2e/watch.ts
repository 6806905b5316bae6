import { availableParallelism, loadavg } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import type { Test } from "tap";
import type { NodeView, TaskView } from "../../src/api/index.ts";
import type { CommandResult, Machines } from "./machines.ts";

const pollMs = 100;

/**
 * What was promised for machines of their own, on this one that plays all of them: longer while
 * more wants to run than it has cores.
 */
export function allowedMs(promisedMs: number): number {
  const [load = 0] = loadavg();
  return promisedMs * Math.max(1, load / availableParallelism());
}

/** Looks at a cluster on test machines from outside, as a person with a command line does. */
export class Watch {
  readonly #t: Test;
  readonly #machines: Machines;
  readonly #numbers: readonly number[];
  readonly #hostFlags: readonly string[];

  /** `socketPath` where the daemons do not have the system's data directory. */
  constructor(
    t: Test,
    machines: Machines,
    numbers: readonly number[],
    { socketPath }: { readonly socketPath?: string } = {},
  ) {
    this.#hostFlags = socketPath === undefined ? [] : [`--host=${socketPath}`];
    this.#t = t;
    this.#machines = machines;
    this.#numbers = numbers;
  }

  /** Resolves with how long it took, ms. Past the limit it shows the daemons' logs and throws. */
  async until(
    what: string,
    limitMs: number,
    test: () => boolean | Promise<boolean>,
  ): Promise<number> {
    const from = performance.now();
    for (;;) {
      if (await test()) {
        const tookMs = Math.round(performance.now() - from);
        this.#t.comment(`${what}: after ${tookMs} ms`);
        return tookMs;
      }
      if (performance.now() - from > limitMs) {
        for (const number of this.#numbers) {
          this.#t.comment(`m${number}: ${this.#machines.daemonLog(number).slice(-3_000)}`);
        }
        throw new Error(`after ${limitMs} ms still not: ${what}`);
      }
      await sleep(pollMs);
    }
  }

  /** The command line on a machine. */
  async skein(from: number, ...args: readonly string[]): Promise<CommandResult> {
    // Behind the name of a service, flags are those of the command that runs in its container.
    const at = args[0] === "exec" ? 1 : args.length;
    return await this.#machines.skein(from, ...args.toSpliced(at, 0, ...this.#hostFlags));
  }

  /** None while its daemon does not answer. */
  async nodes(from: number): Promise<readonly NodeView[]> {
    const { status, stdout } = await this.skein(from, "node", "ls", "--json");
    return status === 0 ? (JSON.parse(stdout) as NodeView[]) : [];
  }

  /** Every machine is seen ready from this one; a daemon that does not answer sees nothing. */
  async seesAllReady(from: number): Promise<boolean> {
    const list = await this.nodes(from);
    return list.length === this.#numbers.length && list.every(({ status }) => status === "ready");
  }

  /** How many can vote, the leader included. */
  async voters(from: number): Promise<number> {
    const list = await this.nodes(from);
    return list.filter(({ role }) => role === "leader" || role === "voter").length;
  }

  /** The machine that leads; 0 when none is known. */
  async leader(from: number): Promise<number> {
    const list = await this.nodes(from);
    return Number(list.find(({ role }) => role === "leader")?.name.slice(1) ?? 0);
  }

  /** Tasks that should run. */
  async tasks(from: number): Promise<readonly TaskView[]> {
    const { status, stdout } = await this.skein(from, "ps", "--json");
    const list = status === 0 ? (JSON.parse(stdout) as TaskView[]) : [];
    return list.filter(({ desired }) => desired === "running");
  }

  /** What the engines run, by machine: the truth that the cluster has to match. */
  containers(on: readonly number[] = this.#numbers): ReadonlyMap<number, readonly string[]> {
    const filter = ["--no-trunc", "--filter", "label=skein.task"];
    return new Map(
      on.map((number) => {
        const { stdout } = this.#machines.docker(number, "ps", "-q", ...filter);
        return [number, stdout.split("\n").filter((id) => id !== "")] as const;
      }),
    );
  }

  allContainers(on?: readonly number[]): readonly string[] {
    return [...this.containers(on).values()].flat();
  }
}
