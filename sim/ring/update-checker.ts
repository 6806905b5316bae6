import type { ClusterState, Service, Task } from "../../src/cluster/index.ts";
import type { NodeId, ServiceKey } from "../../src/kernel/index.ts";
import { wasStoppedFirst } from "../../src/scheduler/reasons.ts";
import { isJobMode } from "../../src/spec/index.ts";
import type { Ring } from "./ring.ts";
import { isGood } from "./services.ts";
import { lookMs, type Sightings } from "./sightings.ts";

/** A node that nothing has disturbed for so long is alive in everybody's eyes. */
const knownMs = 20_000;
/** What was seen to serve so shortly ago may not have been heard of yet. */
const freshMs = 5_000;

/** A place whose task served until an update stopped it. */
type Emptied = {
  readonly service: ServiceKey;
  /** Of the task that served. */
  readonly nodeId: NodeId;
  /** What was started there since; the newest. */
  successor?: Task;
};

/**
 * Where updates stop first, watches that they never have more places empty than their parallelism
 * says. A place counts from when what served there is stopped to be updated until its successor has
 * served for the time of `monitor`. It counts no more when anything else than the update may be why
 * it is empty: its machine or the successor's is disturbed, the successor was harmed, has failed or
 * had to go for another reason, or the place is not wanted any more.
 */
export class UpdateChecker {
  readonly #ring: Ring;
  readonly #sightings: Sightings;
  readonly #emptied = new Map<string, Emptied>();

  constructor(ring: Ring, sightings: Sightings) {
    this.#ring = ring;
    this.#sightings = sightings;
  }

  /** Forgets what is made up for, or excused; called often, so that no disturbance is missed. */
  look(hasJumped: boolean): void {
    for (const [place, emptied] of this.#emptied) {
      if (this.#isOver(emptied, hasJumped)) this.#emptied.delete(place);
    }
  }

  /** An entry was agreed. */
  take(before: ClusterState, state: ClusterState, hasJumped: boolean): void {
    this.look(hasJumped);
    const updated = new Set<ServiceKey>();
    for (const [id, task] of before.tasks) {
      const next = state.tasks.get(id);
      const service = state.services.get(task.service);
      if (task.desired !== "running" || next?.desired === "running") continue;
      if (service === undefined || isJobMode(service.spec.mode)) continue;
      const place = placeOf(service, task);
      if (next === undefined || !wasStoppedFirst(next)) this.#emptied.delete(place);
      else if (this.#hasServed(task)) {
        this.#emptied.set(place, { service: task.service, nodeId: task.nodeId });
        updated.add(task.service);
      }
    }
    for (const [id, task] of state.tasks) {
      const service = state.services.get(task.service);
      if (before.tasks.has(id) || service === undefined) continue;
      const emptied = this.#emptied.get(placeOf(service, task));
      if (emptied !== undefined) emptied.successor = task;
      else if (service.spec.mode.kind === "replicated") this.#giveRoom(task.service);
    }
    for (const key of updated) this.#check(state, key);
  }

  /** The room of an empty place has gone to another place of the same service: one for one. */
  #giveRoom(key: ServiceKey): void {
    const [place] = [...this.#emptied].find(
      ([, { service, successor }]) => service === key && successor === undefined,
    ) ?? [undefined];
    if (place !== undefined) this.#emptied.delete(place);
  }

  #check(state: ClusterState, key: ServiceKey): void {
    const service = state.services.get(key);
    const { update, mode } = service?.spec ?? {};
    if (service === undefined || update?.order !== "stop-first" || update.parallelism === 0) return;
    const empty = [...this.#emptied].filter(([, emptied]) => emptied.service === key);
    const places = new Set(empty.map(([place]) => place));
    const running = [...state.tasks.values()].filter(
      (task) => task.service === key && task.desired === "running",
    );
    const others = new Set(running.map((task) => placeOf(service, task))).difference(places).size;
    const lacking = mode?.kind === "replicated" ? mode.replicas - others : places.size;
    const count = Math.min(places.size, lacking);
    if (count <= update.parallelism) return;
    const names = [...places].join(", ");
    this.#ring.violated(
      `the update of ${key} has emptied ${count} places at once (${names}) instead of ${update.parallelism}`,
    );
  }

  #hasServed({ id, nodeId }: Task): boolean {
    const isKnown = this.#sightings.servesForMs(id) >= freshMs && this.#isQuiet(nodeId);
    return isKnown && !this.#sightings.wasHurtWithin(id, knownMs);
  }

  #isOver({ service: key, nodeId, successor }: Emptied, hasJumped: boolean): boolean {
    const service = this.#ring.agreed.services.get(key);
    if (service === undefined || !this.#isQuiet(nodeId)) return true;
    if (this.#ring.agreed.nodes.get(nodeId)?.eligibility !== "active") return true;
    if (successor === undefined) return false;
    if (!this.#isQuiet(successor.nodeId)) return true;
    if (this.#sightings.wasHurtWithin(successor.id, Number.MAX_SAFE_INTEGER)) return true;
    return this.#hasShown(service, successor, hasJumped);
  }

  /**
   * A bad one is judged by its failures, and by those of the others. Of an update that was overtaken
   * nothing is to be shown any more: that it serves is enough.
   */
  #hasShown(service: Service, { id, revision }: Task, hasJumped: boolean): boolean {
    const servedMs = this.#sightings.servesForMs(id);
    const isNewest = revision === service.revision;
    const isWatched = !hasJumped && isNewest && isGood(service.spec.template);
    // The leader compares the time at which the node says that it came up with its own.
    const slackMs = 4 * lookMs + this.#ring.driftMs;
    const neededMs = isWatched ? Math.max(0, service.spec.update.monitorMs - slackMs) : 0;
    return this.#sightings.servedWithin(id, lookMs) && servedMs >= neededMs;
  }

  #isQuiet(nodeId: NodeId): boolean {
    const host = this.#ring.hosts.find(({ id }) => id === nodeId);
    return host !== undefined && this.#ring.quietMs(host) >= knownMs;
  }
}

function placeOf({ spec: { mode } }: Service, { service, slot, nodeId }: Task): string {
  return mode.kind === "global" ? `${service} on ${nodeId}` : `${service}.${slot}`;
}
