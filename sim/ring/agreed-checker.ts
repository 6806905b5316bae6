import type { ClusterState, JobRun, Service, Task } from "../../src/cluster/index.ts";
import { encodeState } from "../../src/cluster/snapshot.ts";
import type { ServiceKey, TaskId } from "../../src/kernel/index.ts";
import { isUpToDate } from "../../src/scheduler/facts.ts";
import { isJobMode, lastDueMs, parseCron } from "../../src/spec/index.ts";
import type { Ring } from "./ring.ts";
import { isGood } from "./services.ts";
import { lookMs, type Sightings } from "./sightings.ts";

/** At indexes that these divide, the states of all nodes are compared byte by byte. */
const compareEvery = 8;
/** A node that was disturbed so shortly ago may have been given up, or have given up a task. */
const troubledMs = 60_000;
/** A node that nothing has disturbed for so long is alive in everybody's eyes. */
export const knownMs = 20_000;
/** What was seen to serve so shortly ago may not have been missed yet. */
const freshMs = 5_000;
/** Reports and commands take their time. */
const lateMs = 10_000;
/** So late a due time may be dealt with, where all is well. */
const cronLateMs = 15_000;

type Seen = {
  /** When its first run began, as an index of the log. */
  readonly sinceIndex: number;
  readonly dueMs: Set<number>;
  readonly runs: Map<number, JobRun>;
};

/** Watches what is agreed, step by step, against what was promised. */
export class AgreedChecker {
  runs = 0;
  /** Whether a wall clock was ever set: then no time in the state can be relied on. */
  hasJumped = false;
  readonly #ring: Ring;
  readonly #sightings: Sightings;
  readonly #bytes = new Map<number, Buffer>();
  readonly #endedAtMs = new Map<TaskId, number>();
  readonly #forgotten = new Set<TaskId>();
  readonly #seen = new Map<ServiceKey, Seen>();
  readonly #revisedAtMs = new Map<ServiceKey, readonly number[]>();

  constructor(ring: Ring, sightings: Sightings) {
    this.#ring = ring;
    this.#sightings = sightings;
  }

  /** A node has applied an entry. */
  take(state: ClusterState): void {
    const before = this.#ring.agreed;
    this.#compare(state);
    if (state.index <= before.index) return;
    this.#ring.agreed = state;
    this.#checkTasks(before, state);
    for (const [key, service] of state.services) this.#checkRuns(before, state, key, service);
  }

  /** Since when it has been agreed that the task should not run; undefined when it should. */
  endedForMs(id: TaskId): number | undefined {
    const atMs = this.#endedAtMs.get(id);
    return atMs === undefined ? undefined : this.#ring.queue.now - atMs;
  }

  /** A due time that nobody dealt with, once nothing goes wrong any more. */
  missedDueTime(): string | undefined {
    if (this.hasJumped) return undefined;
    const nowMs = this.#ring.leader?.machine.clock.now() ?? 0;
    for (const [key, { spec, dueAfterMs }] of this.#ring.agreed.services) {
      const { schedule } = spec;
      if (schedule === undefined || schedule.isSuspended || dueAfterMs === undefined) continue;
      const parsed = parseCron(schedule.cron);
      if (parsed.kind === "invalid") continue;
      const times = { afterMs: dueAfterMs, untilMs: nowMs - cronLateMs };
      const due = lastDueMs(parsed.cron, schedule.timezone, times);
      if (due !== undefined) return `${key} was due at ${due.dueMs} and was not run`;
    }
    return undefined;
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
      if (task.desired === "running" && next?.desired !== "running") {
        this.#checkStop(before, state, task);
      }
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
      else if (isJobMode(service.spec.mode)) this.#checkAttempts(state, service, tasks);
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

  /** Never fewer than wanted because of us: what serves is stopped only when others do its work. */
  #checkStop(before: ClusterState, state: ClusterState, task: Task): void {
    const service = state.services.get(task.service);
    const { mode, update } = service?.spec ?? {};
    if (service === undefined || mode === undefined || isJobMode(mode)) return;
    const isGlobal = mode.kind === "global";
    if (isGlobal && state.nodes.get(task.nodeId)?.eligibility === "drain") return;
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
      const places = new Set(running.map(placeOf)).size;
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
    const servedMs = Math.max(0, ...newest.map(({ id }) => this.#sightings.servesForMs(id)));
    if (servedMs + 4 * lookMs < monitorMs) {
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

  #checkAttempts(state: ClusterState, { spec }: Service, created: readonly Task[]): void {
    const { mode } = spec;
    if (!isJobMode(mode)) return;
    for (const task of created) {
      const others = [...state.tasks.values()]
        .filter(
          (each) => each.service === task.service && each.run === task.run && each.id !== task.id,
        )
        .filter(({ desired }) => desired === "running");
      const isGlobal = mode.kind === "global-job";
      const mates = others.filter((each) =>
        isGlobal ? each.nodeId === task.nodeId : each.slot === task.slot,
      );
      const failed = mates.filter(({ result }) => result?.outcome === "failed");
      if (mates.some(({ result }) => result?.outcome === "succeeded")) {
        this.#fail(`${task.service} does again what had succeeded`);
      }
      if (failed.length > mode.retries) {
        this.#fail(`${task.service} tries ${failed.length} times again, not ${mode.retries}`);
      }
      const active = [...others, task].filter(({ result }) => result === undefined);
      if (mode.kind === "replicated-job" && active.length > mode.parallelism) {
        this.#fail(`${task.service} runs ${active.length} tasks at once, not ${mode.parallelism}`);
      }
    }
  }

  /** Each due time at most once, and what has ended stays so. */
  #checkRuns(before: ClusterState, state: ClusterState, key: ServiceKey, service: Service): void {
    if (!before.services.has(key)) this.#seen.delete(key);
    if (service === before.services.get(key) || service.runs === undefined) return;
    const seen = this.#seen.get(key) ?? {
      sinceIndex: state.index,
      dueMs: new Set(),
      runs: new Map(),
    };
    this.#seen.set(key, seen);
    for (const run of service.runs) {
      const known = seen.runs.get(run.number);
      seen.runs.set(run.number, run);
      if (known === undefined) this.#checkNewRun(key, service, run, seen);
      else if (known.state !== "active" && known.state !== run.state) {
        this.#fail(`run ${run.number} of ${key} was ${known.state} and is ${run.state}`);
      }
      const hasSucceeded = run.state === "succeeded" && known?.state !== "succeeded";
      if (hasSucceeded) this.#checkSuccess([before, state], key, service, run);
    }
    const active = service.runs.filter((run) => run.state === "active");
    const { schedule } = service.spec;
    if (active.length > 1 && schedule?.overlap !== "allow") {
      this.#fail(`${active.length} runs of ${key} go on at once`);
    }
  }

  #checkNewRun(key: ServiceKey, { spec }: Service, run: JobRun, seen: Seen): void {
    const { number, dueAtMs, state, trigger, revision } = run;
    const isRepeated = [...seen.runs.values()].some(
      (other) => other !== run && other.trigger === "deploy" && other.revision === revision,
    );
    if (trigger === "deploy" && isRepeated) this.#fail(`${key} was run twice for ${revision}`);
    if (trigger === "schedule" && spec.schedule?.isSuspended !== false) {
      this.#fail(`${key} was run though it is suspended`);
    }
    if (state !== "skipped") this.runs += 1;
    if (number < Math.max(...seen.runs.keys())) this.#fail(`run ${number} of ${key} came late`);
    if (dueAtMs === undefined) return;
    if (seen.dueMs.has(dueAtMs)) this.#fail(`${key} was run twice for ${dueAtMs}`);
    if ([...seen.dueMs].some((other) => other > dueAtMs)) {
      this.#fail(`${key} was run for ${dueAtMs} after a later due time`);
    }
    seen.dueMs.add(dueAtMs);
    const parsed = parseCron(spec.schedule?.cron ?? "");
    if (parsed.kind === "invalid") return;
    const times = { afterMs: dueAtMs - 1, untilMs: dueAtMs };
    if (lastDueMs(parsed.cron, "UTC", times) === undefined) {
      this.#fail(`${key} was run for ${dueAtMs}, when nothing was due`);
    }
  }

  #checkSuccess(
    states: readonly ClusterState[],
    key: ServiceKey,
    { spec }: Service,
    run: JobRun,
  ): void {
    if (spec.mode.kind !== "replicated-job") return;
    const sinceIndex = this.#seen.get(key)?.sinceIndex ?? 0;
    const tasks = states
      .flatMap((state) => [...state.tasks.values()])
      .filter((task) => task.service === key && task.run === run.number)
      .filter(({ createdAtIndex = 0 }) => createdAtIndex >= sinceIndex);
    const done = tasks.filter(({ result }) => result?.outcome === "succeeded");
    const slots = new Set(done.map(({ slot }) => slot));
    // Fewer may have been asked for when it began.
    if (slots.size < spec.mode.completions) {
      this.#fail(`run ${run.number} of ${key} has succeeded with ${slots.size} of its tasks`);
    }
  }

  #fail(text: string): void {
    this.#ring.violated(text);
  }
}
