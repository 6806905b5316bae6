import type { ClusterState, Command, Observations, Outcome } from "../cluster/index.ts";
import {
  Cell,
  type Clock,
  type Logger,
  messageOf,
  type Random,
  type ReadableCell,
  randomName,
  runReconcileLoop,
  taskId,
  Wakeup,
} from "../kernel/index.ts";
import type { Explanations } from "./explain.ts";
import { defaultSchedulerSettings, type SchedulerSettings } from "./facts.ts";
import { plan } from "./plan.ts";
import { SilenceWatch } from "./silence-watch.ts";
import { StopWatch } from "./stop-watch.ts";
import { WallTimes } from "./wall-times.ts";

/** Changes come in bursts; so long are they gathered. */
const coalesceMs = 20;
const resyncMs = 5_000;
const retryMaxMs = 5_000;
/** A new leader waits at most so long for the reports of its members. */
const graceMs = 2_000;
const taskIdLength = 12;

export type SchedulerLoopOptions = {
  readonly isLeader: ReadableCell<boolean>;
  readonly state: ReadableCell<ClusterState>;
  readonly observations: ReadableCell<Observations>;
  /** Resolves once this node has applied the command. */
  readonly submit: (
    command: Command,
    options: { readonly signal: AbortSignal },
  ) => Promise<Outcome>;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly settings?: SchedulerSettings;
};

/** A running scheduler. Disposing it stops it; what it decided stays. */
export interface SchedulerLoop extends AsyncDisposable {
  /** Why replicas are pending, as of the last pass; empty on a node that does not lead. */
  readonly explanations: ReadableCell<Explanations>;
}

type Leadership = { readonly monotonicMs: number };

/** Plans after every change for as long as this node leads, and submits what it decides. */
export async function startSchedulerLoop(options: SchedulerLoopOptions): Promise<SchedulerLoop> {
  const loop = new RunningSchedulerLoop(options);
  loop.start();
  return loop;
}

class RunningSchedulerLoop implements SchedulerLoop {
  readonly #options: SchedulerLoopOptions;
  readonly #explanations = new Cell<Explanations>(new Map());
  readonly #wallTimes = new WallTimes();
  readonly #wakeup = new Wakeup();
  readonly #stopping = new AbortController();
  #running: Promise<void> = Promise.resolve();
  #undo: readonly (() => void)[] = [];
  #isGathering = false;
  #timer: AbortController | undefined;
  #leadership: Leadership | undefined;
  readonly #silences = new SilenceWatch();
  readonly #stops = new StopWatch();

  constructor(options: SchedulerLoopOptions) {
    this.#options = options;
  }

  get explanations(): ReadableCell<Explanations> {
    return this.#explanations;
  }

  start(): void {
    const { isLeader, state, observations, clock, logger } = this.#options;
    this.#noteLeadership();
    this.#undo = [
      isLeader.subscribe(() => {
        this.#noteLeadership();
        this.#gather();
      }),
      state.subscribe(() => this.#gather()),
      observations.subscribe(() => this.#gather()),
    ];
    this.#running = runReconcileLoop(
      this.#wakeup,
      {
        reconcile: ({ signal }) => this.#reconcile(signal),
        onError: (error, retryInMs) =>
          logger.warn({ error: messageOf(error), retryInMs }, "scheduler pass failed"),
        clock,
        resyncMs,
        retryMaxMs,
      },
      this.#stopping.signal,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const undo of this.#undo) undo();
    this.#stopping.abort();
    this.#timer?.abort();
    await this.#running;
  }

  async #reconcile(signal: AbortSignal): Promise<void> {
    const { state, observations, submit, clock, random, logger } = this.#options;
    this.#timer?.abort();
    const leadership = this.#leadership;
    if (leadership === undefined) {
      if (this.#explanations.get().size > 0) this.#explanations.set(new Map());
      return;
    }
    const graceLeftMs = leadership.monotonicMs + graceMs - clock.monotonic();
    if (graceLeftMs > 0 && !hasAllReports(state.get(), observations.get())) {
      this.#wakeIn(graceLeftMs);
      return;
    }
    const now = { wallMs: clock.now(), monotonicMs: clock.monotonic() };
    const facts = { state: state.get(), observations: observations.get() };
    const { command, explanations, nextWakeMs } = plan({
      ...this.#wallTimes.inThePast(facts, now),
      now: now.wallMs,
      newTaskId: () => taskId(randomName(random, taskIdLength)),
      settings: this.#options.settings ?? defaultSchedulerSettings,
      leaderSinceMs: now.wallMs - (now.monotonicMs - leadership.monotonicMs),
      silentForMs: this.#silences.ages(facts.observations, now.monotonicMs),
      stoppedForMs: this.#stops.ages(facts.state, now.monotonicMs),
    });
    this.#explanations.set(explanations);
    if (nextWakeMs !== undefined) this.#wakeIn(nextWakeMs - now.wallMs);
    if (command === undefined) return;
    const outcome = await submit(command, { signal });
    const { create, stop, forget, rollouts } = command;
    const counts = { create: create.length, stop: stop.length, forget: forget.length, rollouts };
    if (outcome.kind === "accepted") {
      logger.info({ index: outcome.index, ...counts }, "tasks updated");
    } else {
      // As an error it makes the loop plan anew, with a pause that grows while it goes on.
      throw new Error(`The plan was refused (${outcome.code}): ${outcome.message}`);
    }
  }

  #noteLeadership(): void {
    const { isLeader, clock } = this.#options;
    if (!isLeader.get()) {
      this.#leadership = undefined;
      this.#silences.forget();
      this.#stops.forget();
    } else this.#leadership ??= { monotonicMs: clock.monotonic() };
  }

  #gather(): void {
    if (this.#isGathering) return;
    this.#isGathering = true;
    this.#after(coalesceMs, this.#stopping.signal, () => {
      this.#isGathering = false;
      this.#wakeup.wake();
    });
  }

  /** Wakes the loop once after `ms`; the pass that it causes, or an earlier one, undoes it. */
  #wakeIn(ms: number): void {
    this.#timer?.abort();
    this.#timer = new AbortController();
    this.#after(Math.max(1, ms), this.#timer.signal, () => this.#wakeup.wake());
  }

  #after(ms: number, signal: AbortSignal, action: () => void): void {
    // Rejects only by the abort, which means that nobody waits any more.
    this.#options.clock.sleep(ms, { signal }).then(action, () => undefined);
  }
}

/** Whether every member that is alive has reported, and every node has been heard of. */
function hasAllReports(state: ClusterState, { members, reports }: Observations): boolean {
  for (const node of state.nodes.keys()) if (!members.has(node)) return false;
  for (const [node, { status }] of members) {
    if (status === "alive" && !reports.has(node)) return false;
  }
  return true;
}
