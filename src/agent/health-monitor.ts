import { type Clock, codeOf, messageOf } from "../kernel/index.ts";
import type { Container, ContainerRuntime } from "../runtime/index.ts";
import type { HealthCheckSpec } from "../spec/index.ts";
import {
  type ContainerHealth,
  nextHealth,
  type ProbeResult,
  probePauseMs,
  startingHealth,
} from "./health.ts";
import { withTimeout } from "./with-timeout.ts";

const maxMessageLength = 500;

/** What asks a container from outside. Resolves with the result; rejects only at the abort. */
export interface Probes {
  /** Passes with any status from 200 to 399. */
  http(
    target: { readonly address: string; readonly port: number; readonly path: string },
    options: { readonly signal: AbortSignal },
  ): Promise<ProbeResult>;
  /** Passes when a connection can be made. */
  tcp(
    target: { readonly address: string; readonly port: number },
    options: { readonly signal: AbortSignal },
  ): Promise<ProbeResult>;
}

export type HealthTarget = {
  readonly containerId: string;
  readonly spec: HealthCheckSpec;
  readonly startedAtMs: number;
  readonly endpoints: Container["endpoints"];
};

type Watch = {
  readonly target: HealthTarget;
  readonly stopping: AbortController;
  readonly done: Promise<void>;
  health: ContainerHealth;
};

export type HealthMonitorOptions = {
  readonly runtime: Pick<ContainerRuntime, "exec">;
  readonly probes: Probes;
  readonly clock: Clock;
  readonly onChange: () => void;
};

/** Probes containers one by one, each at its own pace, and knows what came of it. */
export class HealthMonitor implements AsyncDisposable {
  readonly #options: HealthMonitorOptions;
  readonly #watches = new Map<string, Watch>();

  constructor(options: HealthMonitorOptions) {
    this.#options = options;
  }

  /** Undefined for a container that is not watched. */
  of(containerId: string): ContainerHealth | undefined {
    return this.#watches.get(containerId)?.health;
  }

  /** From now on exactly these are probed; one that was probed before goes on as it is. */
  watch(targets: readonly HealthTarget[]): void {
    const wanted = new Map(targets.map((target) => [target.containerId, target]));
    for (const [id, { stopping }] of this.#watches) {
      if (wanted.has(id)) continue;
      stopping.abort();
      this.#watches.delete(id);
    }
    for (const [id, target] of wanted) {
      if (!this.#watches.has(id)) this.#watches.set(id, this.#begin(target));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const watches = [...this.#watches.values()];
    this.watch([]);
    await Promise.all(watches.map(({ done }) => done));
  }

  #begin(target: HealthTarget): Watch {
    const stopping = new AbortController();
    const { promise, resolve } = Promise.withResolvers<void>();
    const watch: Watch = { target, stopping, done: promise, health: startingHealth };
    // A probe that fails is a result; what is thrown here is the abort.
    this.#run(watch)
      .catch(() => undefined)
      .finally(resolve);
    return watch;
  }

  async #run(watch: Watch): Promise<void> {
    const { target, stopping } = watch;
    const { clock, onChange } = this.#options;
    const { signal } = stopping;
    while (!signal.aborted) {
      const result = await this.#probe(target, signal);
      if (signal.aborted) return;
      const before = watch.health;
      const times = { now: clock.now(), startedAtMs: target.startedAtMs };
      if (result !== undefined) watch.health = nextHealth(target.spec, before, result, times);
      if (watch.health.health !== before.health) onChange();
      await clock.sleep(probePauseMs(target.spec, watch.health), { signal });
    }
  }

  /** Undefined when the engine does not answer: then nothing is known of the container. */
  async #probe(target: HealthTarget, signal: AbortSignal): Promise<ProbeResult | undefined> {
    const { timeoutMs } = target.spec;
    try {
      return await withTimeout(this.#options.clock, { timeoutMs, signal }, (limited) =>
        this.#ask(target, limited),
      );
    } catch (error) {
      if (codeOf(error) === "engine_unreachable") return undefined;
      return failed(messageOf(error));
    }
  }

  async #ask(target: HealthTarget, signal: AbortSignal): Promise<ProbeResult> {
    const { test } = target.spec;
    if (test.kind === "command") {
      const { exitCode, output } = await this.#options.runtime.exec(target.containerId, test.argv, {
        signal,
      });
      if (exitCode === 0) return { kind: "passed" };
      return failed(`The command ended with exit code ${exitCode}. ${output.trim()}`.trim());
    }
    const endpoint = target.endpoints.find((each) => each.target === test.port);
    if (endpoint === undefined) {
      return failed(`Port ${test.port} is not exposed. Name it in the service's file.`);
    }
    const { address, port } = endpoint;
    return test.kind === "http"
      ? await this.#options.probes.http({ address, port, path: test.path }, { signal })
      : await this.#options.probes.tcp({ address, port }, { signal });
  }
}

function failed(message: string): ProbeResult {
  return { kind: "failed", message: message.slice(0, maxMessageLength) };
}
