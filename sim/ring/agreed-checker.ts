import { type ClusterState, keyOf, type Service, type Task } from "../../src/cluster/index.ts";
import { encodeState } from "../../src/cluster/snapshot.ts";
import type { ServiceKey, TaskId } from "../../src/kernel/index.ts";
import { isUpToDate, priorityOf } from "../../src/scheduler/facts.ts";
import { wasPreempted } from "../../src/scheduler/reasons.ts";
import { isJobMode } from "../../src/spec/index.ts";
import { JobChecker } from "./job-checker.ts";
import type { Ring } from "./ring.ts";
import { isGood } from "./services.ts";
import { lookMs, type Sightings } from "./sightings.ts";
import { UpdateChecker } from "./update-checker.ts";

/** At indexes that these divide, the states of all nodes are compared byte by byte. */
const compareEvery = 8;
/** A node that was disturbed so shortly ago may have been given up, or have given up a task. */
const troubledMs = 60_000;
/** A node that nothing has disturbed for so long is alive in everybody's eyes. */
export const knownMs = 20_000;
/** What was seen to serve so shortly ago may not have been missed yet. */
const freshMs = 5_000;
/** So shortly ago a task may have ended that the leader still holds to serve. */
const newsMs = 1_000;
/** Reports and commands take their time. */
const lateMs = 10_000;
/** Watches what is agreed, step by step, against what was promised. */
export class AgreedChecker {
  readonly jobs: JobChecker;
  readonly #updates: UpdateChecker;
  /** Whether a wall clock was ever set: then no time in the state can be relied on. */
  hasJumped = false;
  readonly #ring: Ring;
  readonly #sightings: Sightings;
  readonly #bytes = new Map<number, Buffer>();
  readonly #endedAtMs = new Map<TaskId, number>();
  readonly #forgotten = new Set<TaskId>();
  readonly #revisedAtMs = new Map<ServiceKey, readonly number[]>();

  constructor(ring: Ring, sightings: Sightings) {
    this.#ring = ring;
    this.#sightings = sightings;
    this.jobs = new JobChecker(ring);
    this.#updates = new UpdateChecker(ring, sightings);
  }

  look(): void {
    this.#updates.look(this.hasJumped);
  }

  /** A node has applied an entry. */
  take(state: ClusterState): void {
    const before = this.#ring.agreed;
    this.#compare(state);
    if (state.index <= before.index) return;
    this.#ring.agreed = state;
    this.#checkTasks(before, state);
    this.jobs.take(before, state);
    this.#sightings.look();
    this.#updates.take(before, state, this.hasJumped);
  }

  /** Since when it has been agreed that the task should not run; undefined when it should. */
  endedForMs(id: TaskId): number | undefined {
    const atMs = this.#endedAtMs.get(id);
    return atMs === undefined ? undefined : this.#ring.queue.now - atMs;
  }

  #compare(state: ClusterState): void {
    const { index } = state;
    if (index % compareEvery !== 0) return;
    const bytes = Buffer.from(encodeState(state));
    const known = this.#bytes.get(index);
    if (known === undefined) this.#bytes.set(index, bytes);
    else if (!known.equals(bytes)) this.#fail(`two nodes hold different states at ${index}`);
  }

  #checkTasks(before: ClusterState, state: ClusterState): void {
    const nowMs = this.#ring.queue.now;
    for (const [id, task] of before.tasks) {
      const next = state.tasks.get(id);
      if (next === task) continue;
      const hasEnded = next === undefined || next.desired === "stopped" || next.result;
      if (hasEnded && !this.#endedAtMs.has(id)) this.#endedAtMs.set(id, nowMs);
      if (next === undefined) this.#forgotten.add(id);
      else this.#checkStep(task, next);
      if (task.desired !== "running" || next?.desired === "running") continue;
      if (next !== undefined && wasPreempted(next)) this.#checkPreempted(state, next);
      else this.#checkStop(before, state, task);
    }
    const created = [...state.tasks.values()].filter(({ id }) => !before.tasks.has(id));
    for (const { id } of created) {
      if (this.#forgotten.has(id)) this.#fail(`${id} was forgotten and is there again`);
    }
    for (const [key, service] of state.services) {
      const old = before.services.get(key);
      if (old !== undefined && old.revision !== service.revision) {
        this.#revisedAtMs.set(key, [...(this.#revisedAtMs.get(key) ?? []), nowMs]);
      }
    }
    for (const [key, tasks] of Map.groupBy(created, ({ service }) => service)) {
      const service = state.services.get(key);
      if (service === undefined) this.#fail(`a task of ${key} was created, which is not there`);
      else if (isJobMode(service.spec.mode)) this.jobs.created(state, service, tasks);
      else this.#checkSurge(state, key, service);
    }
  }

  #checkStep(task: Task, next: Task): void {
    const { id } = task;
    if (task.result === undefined && next.result?.outcome === "succeeded") {
      const host = this.#ring.hosts.find((each) => each.id === task.nodeId);
      const container = host?.engine.lastOf(id);
      if (container?.kind === "exited" && container.exitCode !== 0) {
        this.#fail(`${id} is said to have succeeded with exit code ${container.exitCode}`);
      }
    }
    if (task.desired === "stopped" && next.desired === "running") {
      this.#fail(`${id} was stopped and should run again`);
    }
    if (task.result !== undefined && next.result?.outcome !== task.result.outcome) {
      this.#fail(`${id} had ${task.result.outcome} and is ${next.result?.outcome} now`);
    }
    if (task.nodeId !== next.nodeId || task.revision !== next.revision || task.slot !== next.slot) {
      this.#fail(`${id} was moved`);
    }
  }

  /** Room is made for those of a higher priority only. */
  #checkPreempted({ services }: ClusterState, { id, service, stopReason = "" }: Task): void {
    const by = services.get(/^Preempted by (.+)\.\d+ \(/.exec(stopReason)?.[1] as ServiceKey);
    // Either may have been removed at the same time.
    const own = services.get(service);
    if (by === undefined || own === undefined || priorityOf(by) > priorityOf(own)) return;
    this.#fail(`${id} of ${service} had to make room for no higher one: ${stopReason}`);
  }

  /** Never fewer than wanted because of us: what serves is stopped only when others do its work. */
  #checkStop(before: ClusterState, state: ClusterState, task: Task): void {
    const service = state.services.get(task.service);
    const { mode, update } = service?.spec ?? {};
    if (service === undefined || mode === undefined || isJobMode(mode)) return;
    const isGlobal = mode.kind === "global";
    // Neither can start first: one is bound to its node, the other may never run twice.
    const stopsFirst = isGlobal || service.spec.failover?.isFenced === true;
    if (stopsFirst && state.nodes.get(task.nodeId)?.eligibility === "drain") return;
    const template = before.services.get(task.service)?.templates.get(task.revision);
    if (template === undefined || !isGood(template)) return;
    // Its successor may have come up since the last look.
    this.#sightings.look();
    const isWell = this.#sightings.servesForMs(task.id) >= freshMs;
    if (!isWell || this.#sightings.wasHurtWithin(task.id, knownMs)) return;
    const stopReason = state.tasks.get(task.id)?.stopReason ?? "";
    const isGivenUp = stopReason.startsWith("Its node was lost") || stopReason.startsWith("Failed");
    if (this.#quietMs(task) < (isGivenUp ? troubledMs : knownMs)) return;
    const name = `${task.id} of ${task.service}`;
    if (isGivenUp) this.#fail(`${name} was given up: ${stopReason}`);
    const placeOf = ({ slot, nodeId }: Task) => (isGlobal ? nodeId : slot);
    const running = [...state.tasks.values()].filter(
      (each) => each.service === task.service && each.desired === "running",
    );
    const mates = running.filter((each) => placeOf(each) === placeOf(task));
    if (mates.length === 0) {
      // A place whose task stops at the same moment, to be updated, is none that is missing.
      const updated = update?.order === "stop-first" ? stoppedOutdated(before, state, service) : [];
      const places = new Set([...running, ...updated].map(placeOf)).size;
      if (mode.kind === "replicated" && places >= mode.replicas) return;
      if (update?.order === "stop-first" && !isUpToDate(service, task.revision)) return;
      this.#fail(`${name} was stopped, and nothing takes its place: ${stopReason}`);
      return;
    }
    const isServed = mates.some(
      (mate) => this.#sightings.servedWithin(mate.id, lateMs) || this.#quietMs(mate) < knownMs,
    );
    if (!isServed) this.#fail(`${name} was stopped before another one served: ${stopReason}`);
    this.#checkMonitor(service, task, mates);
  }

  /** How long nothing has kept the task's node from doing its work and being heard. */
  #quietMs({ nodeId }: Task): number {
    const host = this.#ring.hosts.find(({ id }) => id === nodeId);
    return host === undefined ? 0 : this.#ring.quietMs(host);
  }

  #checkMonitor(service: Service, task: Task, mates: readonly Task[]): void {
    if (this.hasJumped || isUpToDate(service, task.revision)) return;
    const newest = mates.filter(({ revision }) => revision === service.revision);
    const [mate] = newest;
    if (mate === undefined || this.#sightings.wasHurtWithin(mate.id, knownMs)) return;
    if (this.#quietMs(mate) < knownMs) return;
    const { monitorMs } = service.spec.update;
    const servedMs = Math.max(
      0,
      ...newest.map(({ id }) => this.#sightings.servedForMs(id, { endedWithinMs: newsMs })),
    );
    // The leader compares the time at which the node says that it came up with its own.
    if (servedMs + 4 * lookMs + this.#ring.driftMs < monitorMs) {
      this.#fail(`${task.id} was stopped ${servedMs} ms after its successor came up`);
    }
  }

  /** Never more than wanted and the surge of a roll-out. */
  #checkSurge(state: ClusterState, key: ServiceKey, service: Service): void {
    const { mode, update } = service.spec;
    if (mode.kind !== "replicated") return;
    const running = [...state.tasks.values()].filter(
      (task) => task.service === key && task.desired === "running",
    );
    const bySlot = Map.groupBy(running, ({ slot }) => slot);
    if (bySlot.size > mode.replicas) {
      this.#fail(`${key} has tasks in ${bySlot.size} places instead of ${mode.replicas}`);
    }
    const nowMs = this.#ring.queue.now;
    const isDrained = ({ nodeId }: Task) => state.nodes.get(nodeId)?.eligibility === "drain";
    const doubled = [...bySlot.values()].filter(
      (tasks) => tasks.length > 1 && !tasks.some(isDrained),
    );
    const revised = this.#revisedAtMs.get(key) ?? [];
    const recent = revised.filter((atMs) => nowMs - atMs < 2 * troubledMs).length;
    const surge = update.parallelism === 0 ? mode.replicas : update.parallelism;
    if (doubled.length > surge * Math.max(1, recent)) {
      this.#fail(`${key} replaces ${doubled.length} tasks at once instead of ${surge}`);
    }
  }

  #fail(text: string): void {
    this.#ring.violated(text);
  }
}

/** The tasks that one step stops, of an older revision than is wanted. */
function stoppedOutdated(
  before: ClusterState,
  state: ClusterState,
  service: Service,
): readonly Task[] {
  return [...before.tasks.values()].filter(
    ({ id, service: key, desired, revision }) =>
      key === keyOf(service.spec) &&
      desired === "running" &&
      state.tasks.get(id)?.desired !== "running" &&
      !isUpToDate(service, revision),
  );
}
