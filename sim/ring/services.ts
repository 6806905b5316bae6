import { type Random, randomBelow } from "../../src/kernel/index.ts";
import { leastFenceAfterMs } from "../../src/spec/fence.ts";
import type { ServiceSpec, TaskTemplate } from "../../src/spec/index.ts";

/** What an image does, told by the environment of its container. */
export type Behaviour = {
  /** Its health check passes after about so long. */
  readonly warmMs: number;
  /** It ends by itself after about so long; 0: never. */
  readonly endsAfterMs: number;
  readonly failRate: number;
  /** It takes up to so long to end when it is asked to; 0: it ends at once. */
  readonly stopMs: number;
};

export const namespace = "sim";

const variable = "BEHAVIOUR";

export function behaviourOf({ environment }: TaskTemplate): Behaviour {
  return JSON.parse(environment[variable] ?? "{}") as Behaviour;
}

/** What tells one file of a service from the next. */
export function versionOf({ environment }: TaskTemplate): string {
  return environment["VERSION"] ?? "0";
}

/** Whether nothing is wrong with the image: what does not come up is somebody else's fault. */
export function isGood(template: TaskTemplate): boolean {
  const { endsAfterMs, warmMs, failRate } = behaviourOf(template);
  return failRate === 0 && endsAfterMs === 0 && warmMs < 60_000;
}

type Kinds = {
  readonly hasJobs: boolean;
  readonly hasFences: boolean;
  readonly hasPriorities: boolean;
};

/** Draws what users write into their files. */
export class SpecMaker {
  readonly #random: Random;
  readonly #kinds: Kinds;
  #made = 0;

  constructor(random: Random, kinds: Kinds) {
    this.#random = random;
    this.#kinds = kinds;
  }

  /** A service that is not there yet. */
  fresh(): ServiceSpec {
    this.#made += 1;
    const name = `s${this.#made}`;
    const at = this.#random.next();
    const { hasJobs, hasFences } = this.#kinds;
    if (hasJobs && at < 0.15) return this.#job(name, undefined);
    if (hasJobs && at < 0.3) return this.#job(name, this.#one(["* * * * *", "*/2 * * * *"]));
    const server = this.#server(name, at > 0.9);
    return hasFences && at > 0.3 && at < 0.9 ? this.#fenced(server) : server;
  }

  /** The same service with another template. */
  updated(spec: ServiceSpec, { isBad }: { readonly isBad: boolean }): ServiceSpec {
    this.#made += 1;
    const isJob = spec.mode.kind !== "replicated" && spec.mode.kind !== "global";
    const behaviour = isBad && !isJob ? this.#bad() : this.#good();
    const before = behaviourOf(spec.template);
    const kept = isJob ? before : behaviour;
    const environment = { [variable]: JSON.stringify(kept), VERSION: String(this.#made) };
    return { ...spec, template: { ...spec.template, environment } };
  }

  replicas(): number {
    return randomBelow(this.#random, 7);
  }

  #server(name: string, isGlobal: boolean): ServiceSpec {
    const template = this.#template(this.#good(), name);
    const hasPort = this.#random.next() < 0.8;
    return {
      ...this.#base(name),
      mode: isGlobal ? { kind: "global" } : { kind: "replicated", replicas: 1 + this.replicas() },
      template: this.#random.next() < 0.7 ? { ...template, healthCheck: this.#check() } : template,
      ingress: hasPort ? [{ host: `${name}.test`, path: "/", port: 80 }] : [],
      update: {
        parallelism: this.#one([1, 1, 2, 0]),
        delayMs: this.#one([0, 0, 1_000]),
        order: this.#one(["start-first", "start-first", "stop-first"] as const),
        monitorMs: this.#one([0, 2_000, 5_000, 5_000]),
        failureAction: this.#one(["pause", "rollback", "continue"] as const),
        maxFailureRatio: 0,
      },
    };
  }

  /** Never twice at a time: the old one stops first, and the next one waits for its lease. */
  #fenced(spec: ServiceSpec): ServiceSpec {
    const leastMs = spec.template.stopGracePeriodMs + leastFenceAfterMs;
    return {
      ...spec,
      update: { ...spec.update, order: "stop-first" },
      failover: { isFenced: true, afterMs: leastMs + this.#one([0, 0, 5_000]) },
    };
  }

  #job(name: string, cron: string | undefined): ServiceSpec {
    const behaviour: Behaviour = {
      warmMs: 0,
      endsAfterMs: this.#one([500, 3_000, 12_000]),
      failRate: this.#one([0, 0, 0.3]),
      stopMs: 0,
    };
    const template = this.#template(behaviour, name);
    const completions = 1 + randomBelow(this.#random, 3);
    const retries = this.#one([0, 2, 4]);
    const overlap = this.#one(["forbid", "allow", "replace"] as const);
    const isGlobal = this.#random.next() < 0.2;
    return {
      ...this.#base(name),
      mode: isGlobal
        ? { kind: "global-job", retries }
        : { kind: "replicated-job", completions, parallelism: this.#one([1, 2, 3]), retries },
      template: { ...template, restart: { condition: "none", delayMs: 0, windowMs: 0 } },
      ...(cron === undefined
        ? {}
        : { schedule: { cron, timezone: "UTC", overlap, isSuspended: false } }),
    };
  }

  #base(name: string): Omit<ServiceSpec, "mode" | "template"> {
    return {
      namespace,
      name,
      labels: {},
      ports: [],
      ingress: [],
      update: {
        parallelism: 1,
        delayMs: 0,
        order: "start-first",
        monitorMs: 1_000,
        failureAction: "pause",
        maxFailureRatio: 0,
      },
      placement: { constraints: [], ...this.#priority() },
    };
  }

  #priority(): { readonly priority?: number } {
    const priority = this.#kinds.hasPriorities ? this.#one([0, 0, 10, -5]) : 0;
    return priority === 0 ? {} : { priority };
  }

  #template(behaviour: Behaviour, name: string): TaskTemplate {
    return {
      image: `${name}:1`,
      environment: { [variable]: JSON.stringify(behaviour) },
      labels: {},
      exposedPorts: [80],
      hostPorts: [],
      mounts: [],
      init: false,
      readOnlyRoot: false,
      capAdd: [],
      capDrop: [],
      limits: {},
      reservations: { cpuMillis: this.#one([100, 300, 800]) },
      restart: { condition: "any", delayMs: 0, windowMs: 0 },
      stopGracePeriodMs: this.#one([1_000, 5_000]),
    };
  }

  #good(): Behaviour {
    const warmMs = this.#one([0, 500, 3_000]);
    return { warmMs, endsAfterMs: 0, failRate: 0, stopMs: this.#one([0, 500, 8_000]) };
  }

  /** It crashes soon or when it has served for a while, or it never becomes healthy. */
  #bad(): Behaviour {
    const crashes = this.#random.next() < 0.7;
    return {
      warmMs: crashes ? 0 : 3_600_000,
      endsAfterMs: crashes ? this.#one([700, 3_500]) : 0,
      failRate: crashes ? 1 : 0,
      stopMs: 0,
    };
  }

  #check(): NonNullable<TaskTemplate["healthCheck"]> {
    return {
      test: { kind: "command", argv: ["check"] },
      intervalMs: 2_000,
      timeoutMs: 1_000,
      retries: 2,
      startPeriodMs: 3_000,
      startIntervalMs: 1_000,
    };
  }

  #one<Value>(values: readonly [Value, ...Value[]]): Value {
    return values[randomBelow(this.#random, values.length)] ?? values[0];
  }
}
