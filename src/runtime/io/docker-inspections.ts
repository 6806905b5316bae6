import type { ContainerInfo } from "dockerode";
import type { Container } from "../container-runtime.ts";

/** Containers of which it is known when they were named last; forgetting all costs one look each. */
const maxNamed = 10_000;

type Entry = { readonly fingerprint: string; readonly container: Container };

/**
 * What inspections said, so that a list costs one request and not one more for every
 * container that has not changed. An entry holds only while the engine's events are heard,
 * none has named the container since, and the list still shows the same.
 */
export class InspectionCache {
  readonly #entries = new Map<string, Entry>();
  /** What `heard` was when an event named the container last. */
  readonly #namedAt = new Map<string, number>();
  #isHearing = false;
  /** Counts what has been heard. */
  #heard = 0;
  /** What `heard` was when everything was forgotten last. */
  #forgottenAt = 0;

  get heard(): number {
    return this.#heard;
  }

  find(summary: ContainerInfo): Container | undefined {
    const entry = this.#entries.get(summary.Id);
    return entry?.fingerprint === fingerprintOf(summary) ? entry.container : undefined;
  }

  /**
   * Not when the container was named since the inspection began. Events of others do not matter:
   * while many containers start there is always one.
   */
  remember(
    summary: ContainerInfo,
    container: Container,
    { heardBefore }: { readonly heardBefore: number },
  ): void {
    const changedAt = Math.max(this.#forgottenAt, this.#namedAt.get(summary.Id) ?? 0);
    if (!this.#isHearing || heardBefore < changedAt) return;
    this.#entries.set(summary.Id, { fingerprint: fingerprintOf(summary), container });
  }

  /** Forgets what no longer exists. */
  keepOnly(containerIds: ReadonlySet<string>): void {
    for (const id of this.#entries.keys()) if (!containerIds.has(id)) this.#entries.delete(id);
  }

  hear(containerId: string): void {
    this.#heard += 1;
    this.#entries.delete(containerId);
    if (this.#namedAt.size >= maxNamed) this.#forget();
    this.#namedAt.set(containerId, this.#heard);
  }

  /** Events are heard from now on, or no longer: either way some have been missed. */
  setHearing(isHearing: boolean): void {
    this.#isHearing = isHearing;
    this.#heard += 1;
    this.#forget();
  }

  #forget(): void {
    this.#forgottenAt = this.#heard;
    this.#entries.clear();
    this.#namedAt.clear();
  }
}

function fingerprintOf({ State, Ports, NetworkSettings }: ContainerInfo): string {
  const addresses = Object.values(NetworkSettings?.Networks ?? {}).map((each) => each.IPAddress);
  return JSON.stringify([State, addresses, Ports]);
}
