import type { ServiceView, TaskView } from "../api/index.ts";
import { CliError } from "./cli-error.ts";
import type { Session } from "./session.ts";

/** From here on without progress it is looked into. */
const quietMs = 30_000;
const lookEveryMs = 5_000;
/** What has been started so often and does not stay is not about to. */
const hopelessRestarts = 3;
/** On top of what its health check and its update's monitor take. */
const startMs = 60_000;
/** An image may be large and the line to it thin. */
const pullMs = 600_000;

/**
 * Notices that services that are waited for do not come any further. What counts is the best
 * that was reached: a task that starts and dies, over and over, is no progress.
 */
export class StallWatch {
  readonly #session: Session;
  readonly #namespace: string;
  readonly #best = new Map<string, number>();
  #advancedAt: number;
  #lookedAt = 0;

  constructor(session: Session, namespace: string) {
    this.#session = session;
    this.#namespace = namespace;
    this.#advancedAt = session.now();
  }

  /** @throws CliError `failed` when tasks die, `timed_out` when nothing says why. */
  async look(services: readonly ServiceView[]): Promise<void> {
    const now = this.#session.now();
    for (const service of services) {
      const score =
        2 * service.updated +
        service.standby -
        (service.running - service.updated) -
        service.stopping;
      const best = this.#best.get(service.name);
      if (best !== undefined && score <= best) continue;
      this.#best.set(service.name, score);
      this.#advancedAt = now;
    }
    const waitedMs = now - this.#advancedAt;
    if (waitedMs < quietMs || now - this.#lookedAt < lookEveryMs) return;
    this.#lookedAt = now;
    for (const service of services) {
      if (service.updated < service.desired) await this.#judge(service, waitedMs);
    }
  }

  async #judge(service: ServiceView, waitedMs: number): Promise<void> {
    const { client, signal } = this.#session;
    const query = { namespace: this.#namespace, service: service.name };
    const tasks = await client.call("listTasks", { query, signal });
    const waiting = tasks.filter((task) => task.desired === "running" && !isServing(task));
    if (waiting.length === 0) return;
    const { name } = service;
    const isHopeless = waiting.every(
      ({ restarts, status }) => restarts >= hopelessRestarts || status === "failed",
    );
    if (isHopeless) {
      throw new CliError("failed", `The tasks of ${name} do not stay up.${wayOn(name, waiting)}`);
    }
    const isPulling = waiting.some(({ status }) => status === "preparing");
    const limitMs = isPulling ? pullMs : startMs + provingMs(service);
    if (waitedMs < limitMs) return;
    const seconds = Math.round(waitedMs / 1_000);
    throw new CliError(
      "timed_out",
      `${name} has come no further for ${seconds} s: ${service.updated} of ${service.desired} run.${wayOn(name, waiting)}`,
    );
  }
}

function isServing({ status, health }: TaskView): boolean {
  return status === "running" && (health === "none" || health === "healthy");
}

/** How long a new task may take until it counts. */
function provingMs({ spec }: ServiceView): number {
  const { healthCheck } = spec.template;
  const monitorMs = Math.max(spec.update.monitorMs, spec.rollback?.monitorMs ?? 0);
  if (healthCheck === undefined) return monitorMs;
  const { startPeriodMs, retries, intervalMs, timeoutMs } = healthCheck;
  return monitorMs + startPeriodMs + (retries + 1) * (intervalMs + timeoutMs);
}

function wayOn(name: string, waiting: readonly TaskView[]): string {
  const lines = waiting.slice(0, 5).map(({ name: task, node, status, health, message }) => {
    const state = status === "running" && health !== "none" ? health : status;
    return `\n  ${task} on ${node}: ${state}${message === "" ? "" : `, ${message}`}`;
  });
  return ` The cluster goes on trying. See: skein logs ${name}, skein ps ${name}${lines.join("")}`;
}
