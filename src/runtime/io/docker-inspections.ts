import type { ContainerInfo } from "dockerode";
import type { Container } from "../container-runtime.ts";

type Entry = { readonly fingerprint: string; readonly container: Container };

/**
 * What inspections said, so that a list costs one request and not one more for every
 * container that has not changed. An entry holds only while the engine's events are heard,
 * none has named the container since, and the list still shows the same.
 */
export class InspectionCache {
  readonly #entries = new Map<string, Entry>();
  #isHearing = false;
  /** Counts what has been heard: an inspection from before it is not remembered. */
  #heard = 0;

  get heard(): number {
    return this.#heard;
  }

  find(summary: ContainerInfo): Container | undefined {
    const entry = this.#entries.get(summary.Id);
    return entry?.fingerprint === fingerprintOf(summary) ? entry.container : undefined;
  }

  remember(
    summary: ContainerInfo,
    container: Container,
    { heardBefore }: { readonly heardBefore: number },
  ): void {
    if (!this.#isHearing || heardBefore !== this.#heard) return;
    this.#entries.set(summary.Id, { fingerprint: fingerprintOf(summary), container });
  }

  /** Forgets what no longer exists. */
  keepOnly(containerIds: ReadonlySet<string>): void {
    for (const id of this.#entries.keys()) if (!containerIds.has(id)) this.#entries.delete(id);
  }

  hear(containerId: string): void {
    this.#heard += 1;
    this.#entries.delete(containerId);
  }

  /** Events are heard from now on, or no longer: either way some have been missed. */
  setHearing(isHearing: boolean): void {
    this.#isHearing = isHearing;
    this.#heard += 1;
    this.#entries.clear();
  }
}

function fingerprintOf({ State, Ports, NetworkSettings }: ContainerInfo): string {
  const addresses = Object.values(NetworkSettings?.Networks ?? {}).map((each) => each.IPAddress);
  return JSON.stringify([State, addresses, Ports]);
}
