import type { Task } from "../../src/cluster/index.ts";
import type { TaskId } from "../../src/kernel/index.ts";
import type { Container, ContainerRequest } from "../../src/runtime/index.ts";
import { type AgreedChecker, knownMs } from "./agreed-checker.ts";
import { restartsOf, taskOf } from "./engine.ts";
import { FenceChecker } from "./fence-checker.ts";
import type { Host } from "./host.ts";
import type { Ring } from "./ring.ts";
import type { Sightings } from "./sightings.ts";

/** As the agent's default: after so long a task is stopped though requests may still reach it. */
const drainMs = 10_000;
/**
 * What should not run has ended so long after that was agreed, on a node that nothing keeps from
 * knowing it: 10 s to drain, a grace period of 5 s, and the rest for the log and the engine.
 */
export const endWithinMs = 35_000;
/** A fenced task may run for 12 s without an answer; and a leader may be new, or held up. */
const answeredMs = 15_000;
/** An unhealthy container may have recovered by the time that it is stopped. */
const recoveredMs = 8_000;

/** Watches what each node's agent does to its containers. */
export class EngineChecker {
  started = 0;
  readonly #ring: Ring;
  readonly #agreed: AgreedChecker;
  readonly #sightings: Sightings;
  readonly #fences: FenceChecker;
  /** When this life of a node's daemon learnt that a task should stop. */
  readonly #toldAtMs = new Map<string, number>();
  readonly #startedJobs = new Map<TaskId, string>();
  #leaderlessAtMs = 0;

  constructor(ring: Ring, agreed: AgreedChecker, sightings: Sightings) {
    this.#ring = ring;
    this.#agreed = agreed;
    this.#sightings = sightings;
    this.#fences = new FenceChecker(ring, agreed);
    for (const host of ring.hosts) {
      host.engine.watch = {
        onRun: (request) => this.#onRun(host, request),
        onEnd: (container, how) => this.#onEnd(host, container, how),
      };
    }
  }

  /** A node's daemon has applied an entry. */
  told(host: Host, tasks: Iterable<Task>): void {
    for (const task of tasks) {
      if (task.nodeId !== host.id || task.desired !== "stopped") continue;
      const key = `${host.id} ${host.startedAtMs} ${task.id}`;
      if (!this.#toldAtMs.has(key)) this.#toldAtMs.set(key, this.#ring.queue.now);
    }
  }

  look(): void {
    if (this.#ring.leader === undefined) this.#leaderlessAtMs = this.#ring.queue.now;
    this.#fences.look();
    for (const host of this.#ring.hosts) {
      if (this.#ring.quietMs(host) < endWithinMs) continue;
      const seen = new Set<TaskId>();
      for (const container of host.engine.running()) {
        const id = taskOf(container);
        const endedMs = this.#agreed.endedForMs(id) ?? 0;
        const name = host.engine.nameOf(container.id);
        if (endedMs > endWithinMs) this.#fail(`${name} still runs on ${host.id}`);
        if (seen.has(id)) this.#fail(`${name} runs twice on ${host.id}`);
        seen.add(id);
      }
    }
  }

  #onRun(host: Host, request: ContainerRequest): void {
    const { taskId, name, template } = request;
    this.started += 1;
    this.#ring.context.note(() => `${host.id} runs ${name}`);
    const task = host.daemon?.store.state.get().tasks.get(taskId);
    const isWanted =
      task?.desired === "running" && task.result === undefined && task.nodeId === host.id;
    if (!isWanted) this.#fail(`${host.id} starts ${name}, which should not run`);
    const other = host.engine.running().find((each) => taskOf(each) === taskId);
    if (other !== undefined) {
      this.#fail(`${host.id} starts ${name} beside ${host.engine.nameOf(other.id)}`);
    }
    this.#checkReturn(host, taskId, name);
    this.#fences.onRun(host, request);
    if (template.restart.condition !== "none") return;
    const before = this.#startedJobs.get(taskId);
    this.#startedJobs.set(taskId, name);
    const isExcused =
      this.#ring.quietMs(host) < knownMs * 3 || this.#sightings.wasHurtWithin(taskId, knownMs);
    if (before !== undefined && !isExcused) this.#fail(`${host.id} runs ${before} a second time`);
  }

  /** A machine that was away must not start again what was given to another meanwhile. */
  #checkReturn(host: Host, taskId: TaskId, name: string): void {
    const { now } = this.#ring.queue;
    const endedMs = this.#agreed.endedForMs(taskId);
    const sinceStartMs = now - host.startedAtMs;
    const couldKnow =
      this.#ring.quietMs(host) >= sinceStartMs && now - this.#leaderlessAtMs > sinceStartMs + 2_000;
    if (endedMs !== undefined && endedMs > sinceStartMs && couldKnow) {
      this.#fail(`${host.id} came back and starts ${name}, which had been stopped`);
    }
  }

  #onEnd(host: Host, container: Container, how: "stop" | "remove"): void {
    const { engine } = host;
    const id = taskOf(container);
    const name = engine.nameOf(container.id);
    this.#ring.context.note(() => `${host.id} ${how}s ${name}`);
    const task = host.daemon?.store.state.get().tasks.get(id);
    const agreed = this.#ring.agreed.tasks.get(id);
    const isKnown = task !== undefined || (this.#agreed.endedForMs(id) ?? drainMs) < drainMs;
    const isFencedOff = agreed !== undefined && this.#mayBeFencedOff(host, agreed);
    // That it ends in time counts for more than its requests.
    if (isKnown && task?.desired !== "running" && !isFencedOff) this.#checkDrained(host, id, name);
    const isRight = (task ?? agreed)?.desired === "running" && agreed?.desired === "running";
    if (!isRight || agreed.result !== undefined || isFencedOff) return;
    const template = engine.memory.find(container.id)?.request.template;
    const hasBetter = engine
      .running()
      .some((each) => taskOf(each) === id && restartsOf(each) > restartsOf(container));
    const isWell = template?.healthCheck === undefined || engine.wasHealthyFor(name, recoveredMs);
    if (isWell && !hasBetter) this.#fail(`${host.id} ${how}s ${name}, which is right`);
  }

  /** Whether it had to stop a fenced task by itself, as nobody answered it for long. */
  #mayBeFencedOff(host: Host, { service }: Task): boolean {
    if (this.#ring.agreed.services.get(service)?.spec.failover?.isFenced !== true) return false;
    const { now } = this.#ring.queue;
    return this.#ring.quietMs(host) < answeredMs || now - this.#leaderlessAtMs < answeredMs;
  }

  /** An old replica is stopped only when no proxy sends requests to it any more. */
  #checkDrained(host: Host, id: TaskId, name: string): void {
    const { now } = this.#ring.queue;
    const toldAtMs = this.#toldAtMs.get(`${host.id} ${host.startedAtMs} ${id}`) ?? now;
    if (now - toldAtMs >= drainMs - 1_000) return;
    if (host.proxy.isBusyWith(id)) {
      this.#fail(`${host.id} stops ${name} while a request is under way`);
    }
    for (const other of this.#ring.hosts) {
      const isKnown = this.#ring.quietMs(other) >= knownMs && this.#ring.quietMs(host) >= knownMs;
      if ((other === host || isKnown) && other.proxy.routesTo(id)) {
        this.#fail(`${host.id} stops ${name}, to which ${other.id} still sends requests`);
      }
    }
  }

  #fail(text: string): void {
    this.#ring.violated(text);
  }
}
