import type { TaskId } from "../../src/kernel/index.ts";
import type { Container } from "../../src/runtime/index.ts";
import { taskOf } from "./engine.ts";
import type { Host } from "./host.ts";
import type { Ring } from "./ring.ts";

type Serving = { readonly sinceMs: number; lastMs: number };

/** How far apart two looks are. */
export const lookMs = 250;

/** Which task served when, whatever its node says of it. */
export class Sightings {
  readonly #ring: Ring;
  readonly #serving = new Map<TaskId, Serving>();
  /** When something was last done to a container of the task. */
  readonly #hurtAtMs = new Map<TaskId, number>();

  constructor(ring: Ring) {
    this.#ring = ring;
  }

  look(): void {
    const nowMs = this.#ring.queue.now;
    for (const host of this.#ring.hosts) {
      for (const container of host.engine.running()) {
        if (!isServing(host, container)) continue;
        const id = taskOf(container);
        const known = this.#serving.get(id);
        if (known !== undefined && nowMs - known.lastMs <= lookMs) known.lastMs = nowMs;
        else this.#serving.set(id, { sinceMs: nowMs, lastMs: nowMs });
      }
    }
  }

  hurt(id: TaskId): void {
    this.#hurtAtMs.set(id, this.#ring.queue.now);
  }

  wasHurtWithin(id: TaskId, ms: number): boolean {
    return this.#ring.queue.now - (this.#hurtAtMs.get(id) ?? Number.NEGATIVE_INFINITY) <= ms;
  }

  servedWithin(id: TaskId, ms: number): boolean {
    const lastMs = this.#serving.get(id)?.lastMs;
    return lastMs !== undefined && this.#ring.queue.now - lastMs <= ms;
  }

  /** For how long it has been serving without a break; 0 when it does not. */
  servesForMs(id: TaskId): number {
    return this.servedForMs(id, { endedWithinMs: lookMs });
  }

  /** The same, also where that ended so shortly ago. */
  servedForMs(id: TaskId, { endedWithinMs }: { readonly endedWithinMs: number }): number {
    const known = this.#serving.get(id);
    const nowMs = this.#ring.queue.now;
    if (known === undefined || nowMs - known.lastMs > endedWithinMs) return 0;
    return nowMs - known.lastMs > lookMs ? known.lastMs - known.sinceMs : nowMs - known.sinceMs;
  }
}

function isServing(host: Host, container: Container): boolean {
  const name = host.engine.nameOf(container.id);
  return !hasCheck(host, container) || host.engine.isHealthy(name);
}

function hasCheck({ engine }: Host, { id }: Container): boolean {
  return engine.memory.find(id)?.request.template.healthCheck !== undefined;
}
