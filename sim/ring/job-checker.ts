import type { ClusterState, JobRun, Service, Task } from "../../src/cluster/index.ts";
import type { ServiceKey } from "../../src/kernel/index.ts";
import { isJobMode, lastDueMs, parseCron } from "../../src/spec/index.ts";
import type { Ring } from "./ring.ts";

/** So late a due time may be dealt with, where all is well. */
const cronLateMs = 15_000;

type Seen = {
  /** When its first run began, as an index of the log. */
  readonly sinceIndex: number;
  readonly dueMs: Set<number>;
  readonly runs: Map<number, JobRun>;
};

/** Watches the runs of jobs against what was promised. */
export class JobChecker {
  runs = 0;
  readonly #ring: Ring;
  readonly #seen = new Map<ServiceKey, Seen>();

  constructor(ring: Ring) {
    this.#ring = ring;
  }

  /** Something was agreed. */
  take(before: ClusterState, state: ClusterState): void {
    for (const [key, service] of state.services) this.#checkRuns(before, state, key, service);
  }

  /** A due time that nobody dealt with, once nothing goes wrong any more. */
  missedDueTime(): string | undefined {
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

  /** Tasks of a job were created: none that is done, nor too many. */
  created(state: ClusterState, { spec }: Service, created: readonly Task[]): void {
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
    if (slots.size < spec.mode.completions) {
      this.#fail(`run ${run.number} of ${key} has succeeded with ${slots.size} of its tasks`);
    }
  }

  #fail(text: string): void {
    this.#ring.violated(text);
  }
}
