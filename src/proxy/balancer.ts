/** First pause of an endpoint that refused; doubled with each further refusal. */
const ejectMinMs = 250;
const ejectMaxMs = 5_000;

/** What connecting to one endpoint taught. Shared by all backends that contain it. */
export class EndpointHealth {
  #failures = 0;
  #skipUntilMs = 0;

  get skipUntilMs(): number {
    return this.#skipUntilMs;
  }

  isEjected(nowMs: number): boolean {
    return nowMs < this.#skipUntilMs;
  }

  succeeded(): void {
    this.#failures = 0;
    this.#skipUntilMs = 0;
  }

  failed(nowMs: number): void {
    this.#skipUntilMs = nowMs + pauseMs(this.#failures);
    this.#failures += 1;
  }

  /**
   * Called when it is chosen. The first request after a pause is the probe: until that
   * one has succeeded, the others go elsewhere for another pause.
   */
  chosen(nowMs: number): void {
    if (this.#failures > 0) this.#skipUntilMs = nowMs + pauseMs(this.#failures - 1);
  }
}

function pauseMs(failures: number): number {
  return Math.min(ejectMinMs * 2 ** Math.min(failures, 10), ejectMaxMs);
}

/**
 * Round robin over a backend's endpoints that passes over those which lately refused.
 * An endpoint on this machine is not preferred: replicas share the load evenly.
 */
export class Balancer<E extends { readonly health: EndpointHealth }> {
  #endpoints: readonly E[];
  #cursor: number;

  /** `start` is where the first turn begins; random, so that nodes do not all begin alike. */
  constructor(endpoints: readonly E[], start: number) {
    this.#endpoints = endpoints;
    this.#cursor = start;
  }

  get size(): number {
    return this.#endpoints.length;
  }

  replace(endpoints: readonly E[]): void {
    this.#endpoints = endpoints;
  }

  /**
   * The endpoint to try next, none of `tried`. When all that are left are ejected, the one
   * whose pause ends first: a last chance beats a certain refusal.
   */
  next(nowMs: number, tried?: ReadonlySet<E>): E | undefined {
    const count = this.#endpoints.length;
    let lastChance: E | undefined;
    for (let i = 0; i < count; i += 1) {
      const index = (this.#cursor + i) % count;
      const endpoint = this.#endpoints[index];
      if (endpoint === undefined || tried?.has(endpoint)) continue;
      if (!endpoint.health.isEjected(nowMs)) {
        // Behind the chosen one, not the skipped one, so that its successor is not favoured.
        this.#cursor = (index + 1) % count;
        endpoint.health.chosen(nowMs);
        return endpoint;
      }
      if (lastChance === undefined || endpoint.health.skipUntilMs < lastChance.health.skipUntilMs) {
        lastChance = endpoint;
      }
    }
    return lastChance;
  }
}
