import type { ServiceKey, TaskId } from "../../src/kernel/index.ts";
import { type Container, type ContainerRequest, containerLabels } from "../../src/runtime/index.ts";
import { leaseMs } from "../../src/spec/index.ts";
import type { AgreedChecker } from "./agreed-checker.ts";
import { taskOf } from "./engine.ts";
import type { Host } from "./host.ts";
import type { Ring } from "./ring.ts";

/**
 * By then a daemon has stopped what it has no lease for: 9 s in which it waits for its first
 * answer, 5 s until the agent asks an engine again that was away, and a grace period of 5 s.
 */
const stoppedWithinMs = 20_000;
/** The part of a lease by which two clocks may differ: one runs fast, the other slow. */
const clockSkew = 0.02;
/** What was under way when a process was held up goes on at once, before it knows better. */
const resumingMs = 1_000;

type Place = { readonly service: ServiceKey; readonly slot: string };
type Copy = { readonly host: Host; readonly id: TaskId; readonly name: string };

/**
 * Watches that of a fenced service no place ever has two containers. Excused are the machines
 * that cannot obey: while their daemon or their engine is away or held up, and shortly after.
 * That a node is cut off excuses nothing.
 */
export class FenceChecker {
  readonly #ring: Ring;
  readonly #agreed: AgreedChecker;

  constructor(ring: Ring, agreed: AgreedChecker) {
    this.#ring = ring;
    this.#agreed = agreed;
  }

  look(): void {
    for (const [service, { spec }] of this.#ring.agreed.services) {
      if (leaseMs(spec) === undefined) continue;
      const places = Map.groupBy(this.#copiesOf(service), ({ slot }) => slot);
      for (const copies of places.values()) if (copies.length > 1) this.#checkCopies(copies);
    }
  }

  /** A container of a fenced place is about to start. */
  onRun(host: Host, { taskId, name, labels }: ContainerRequest): void {
    const place = placeOf(labels);
    const lease = this.#leaseMs(place);
    if (lease === undefined) return;
    const leastMs = lease * (1 - clockSkew);
    const endedMs = this.#agreed.endedForMs(taskId) ?? 0;
    if (endedMs > lease * (1 + clockSkew) && host.unhinderedMs > resumingMs) {
      this.#fail(`${host.id} starts ${name}, which another node may run by now`);
    }
    if (endedMs > 0) return;
    for (const copy of this.#copiesOf(place.service)) {
      if (copy.slot !== place.slot || copy.id === taskId) continue;
      // Whether or not its machine can obey: before the lease is over only a report tells.
      const stoppedForMs = this.#agreed.endedForMs(copy.id) ?? 0;
      if (stoppedForMs < leastMs) {
        this.#fail(`${host.id} starts ${name} while ${copy.name} runs on ${copy.host.id}`);
      }
    }
  }

  #checkCopies(copies: readonly Copy[]): void {
    const wanted = copies.filter(({ id }) => this.#isWanted(id));
    const places = copies.map(({ host, name }) => `${name} on ${host.id}`).join(" and ");
    if (wanted.length > 1) this.#fail(`two are agreed of a fenced place: ${places}`);
    // The newest was started rightly, or else `onRun` has told: told to stop, it may take its time.
    const newest = copies.toSorted((a, b) => this.#madeAt(b.id) - this.#madeAt(a.id))[0];
    const late = copies.find(
      (copy) =>
        copy.id !== newest?.id &&
        !this.#isWanted(copy.id) &&
        copy.host.unhinderedMs > stoppedWithinMs,
    );
    if (late !== undefined) this.#fail(`${late.host.id} still runs a fenced copy: ${places}`);
  }

  #isWanted(id: TaskId): boolean {
    return this.#ring.agreed.tasks.get(id)?.desired === "running";
  }

  /** Its place in the order of the log; one that is forgotten is older than all that are not. */
  #madeAt(id: TaskId): number {
    return this.#ring.agreed.tasks.get(id)?.createdAtIndex ?? 0;
  }

  #copiesOf(service: ServiceKey): readonly (Copy & { readonly slot: string })[] {
    return this.#ring.hosts.flatMap((host) =>
      host.engine
        .running()
        .filter(({ labels }) => placeOf(labels).service === service)
        .map((each) => ({
          host,
          id: taskOf(each),
          name: host.engine.nameOf(each.id),
          slot: placeOf(each.labels).slot,
        })),
    );
  }

  #leaseMs({ service }: Place): number | undefined {
    const spec = this.#ring.agreed.services.get(service)?.spec;
    return spec === undefined ? undefined : leaseMs(spec);
  }

  #fail(text: string): void {
    this.#ring.violated(text);
  }
}

function placeOf(labels: Container["labels"]): Place {
  return {
    service: (labels[containerLabels.service] ?? "") as ServiceKey,
    slot: labels[containerLabels.slot] ?? "",
  };
}
