import type { Change, JobView, RunView, ServiceView } from "../api/index.ts";
import { CliError } from "./cli-error.ts";
import type { Session } from "./session.ts";
import { StallWatch } from "./stalled.ts";

/** After this long without any progress, a service that cannot be placed counts as stuck. */
const pendingPatienceMs = 10_000;

/** A process that dies at once was running for a moment: as it should be means to stay so. */
const settledForMs = 1_000;

/** A service that was accepted and that no view shows for so long is not there any more. */
const unseenPatienceMs = 10_000;

/** Events bear the clocks of the nodes that saw them. */
const earlyMs = 5_000;
const maxReasons = 3;
/** Of a task that is gone it does not matter when it would have been tried again. */
const nextStep = / (?:Restart|Attempt) \d+, (?:at once|in [\d.]+ s)\.$/;

/**
 * Follows services until each is as it should be, with a line for every step.
 * @throws CliError `failed` for a roll-out that stopped, or whose tasks do not stay up,
 *   `not_placeable` for one that waits for room, `timed_out` for one that comes no further,
 *   `conflict` when somebody removes the service meanwhile, or updates it to something else.
 */
export async function followRollout(
  session: Session,
  names: ReadonlySet<string>,
  options: {
    readonly namespace: string;
    /** Whether a roll-out that was stopped is the one that is followed. */
    readonly isUpdate: boolean;
    /** What was accepted; absent: the revisions that are seen first are the ones to follow. */
    readonly changes?: readonly Change[];
    /** The run of a job that is followed; absent: the one of its present revision. */
    readonly run?: { readonly name: string; readonly number: number };
  },
): Promise<readonly ServiceView[]> {
  const { namespace, isUpdate } = options;
  const startedAt = session.now();
  const shown = new Map<string, string>();
  let progressedAt = startedAt;
  let settledAt: number | undefined;
  const stall = new StallWatch(session, namespace);
  const others = new OthersWatch(names, options.changes ?? []);
  const done = new AbortController();
  const signal = AbortSignal.any([session.signal, done.signal]);
  const stream = session.client.stream("watchServices", { signal, query: { namespace } });
  let newest: readonly ServiceView[] = [];
  for await (const all of withTicks(stream, { everyMs: 250, end: () => done.abort() })) {
    if (all !== undefined) newest = all.filter((service) => names.has(service.name));
    others.look(newest, session.now() - startedAt);
    if (newest.length < names.size) continue;
    for (const service of newest) {
      const text = progressOf(service);
      if (shown.get(service.name) === text) continue;
      shown.set(service.name, text);
      progressedAt = session.now();
      const seconds = ((session.now() - startedAt) / 1_000).toFixed(1);
      session.note(`${seconds.padStart(6)}s  ${service.name}: ${text}\n`);
    }
    const stopped = newest.find(
      (service) => service.rollout !== "normal" && service.pauseCause !== "canary",
    );
    // Before all else: what was rolled back runs as it should, but not what was asked for.
    if (isUpdate && stopped !== undefined) {
      throw await stoppedRollout(session, stopped, new Date(startedAt - earlyMs));
    }
    if (isUpdate) others.compare(newest);
    const failed = newest.find((service) => runOf(service, options.run)?.state === "failed");
    if (failed !== undefined) throw failedRun(failed, runOf(failed, options.run));
    if (newest.every((service) => isSettled(service, options.run))) {
      settledAt ??= session.now();
      if (session.now() - settledAt >= settledForMs) {
        for (const service of newest) noteCanary(session, service);
        return newest;
      }
    } else {
      settledAt = undefined;
    }
    const unsettled = new Set(
      newest.flatMap((each) => (isSettled(each, options.run) ? [] : [each.name])),
    );
    // Who waits for another service waits for that one's progress, not for room.
    const stuck = newest.filter(
      ({ pending, spec }) =>
        pending.length > 0 && !spec.dependsOn?.some(({ service }) => unsettled.has(service)),
    );
    if (stuck.length > 0 && session.now() - progressedAt > pendingPatienceMs) {
      throw new CliError("not_placeable", pendingText(stuck));
    }
    await stall.look(newest);
  }
  throw new CliError("interrupted", "The daemon ended the watch. See: skein ls");
}

/** Tells when what is followed is taken away, or changed into something else, by others. */
class OthersWatch {
  readonly #names: ReadonlySet<string>;
  readonly #seen = new Set<string>();
  readonly #revisions: Map<string, number>;

  constructor(names: ReadonlySet<string>, changes: readonly Change[]) {
    this.#names = names;
    this.#revisions = new Map(
      changes.flatMap(({ name, revision }) =>
        revision === undefined ? [] : [[name, revision] as const],
      ),
    );
  }

  look(services: readonly ServiceView[], waitedMs: number): void {
    const present = new Set(services.map(({ name }) => name));
    const gone = [...this.#names].find(
      // Another node than the one that accepted it may not know of it yet.
      (name) => !present.has(name) && (this.#seen.has(name) || waitedMs > unseenPatienceMs),
    );
    if (gone !== undefined) {
      throw new CliError("conflict", `${gone} was removed meanwhile, by another command.`);
    }
    for (const name of present) this.#seen.add(name);
  }

  compare(services: readonly ServiceView[]): void {
    for (const { name, revision } of services) {
      const followed = this.#revisions.get(name) ?? revision;
      this.#revisions.set(name, followed);
      if (revision <= followed) continue;
      const what = `${name} was changed meanwhile, by another command: it is at revision ${revision} now, and this was about revision ${followed}. See: skein history ${name}`;
      throw new CliError("conflict", what);
    }
  }
}

type FollowedRun = { readonly name: string; readonly number: number } | undefined;

/** Of a job: the run that is followed. A schedule runs when it is due, nobody waits for that. */
function runOf({ name, revision, job }: ServiceView, followed: FollowedRun): RunView | undefined {
  if (job === null || (job.schedule !== null && followed === undefined)) return undefined;
  return followed?.name === name
    ? job.runs.find(({ number }) => number === followed.number)
    : job.runs.findLast((run) => run.revision === revision);
}

function failedRun({ name }: ServiceView, run: RunView | undefined): CliError {
  const reason = run?.message.replace(/\.$/, "");
  const what = `Run ${run?.number} of ${name} failed: ${reason}. See: skein logs ${name}`;
  return new CliError("failed", what);
}

function noteCanary(session: Session, { name, pauseCause }: ServiceView): void {
  if (pauseCause !== "canary") return;
  session.note(
    `The canary of ${name} stays healthy. When you are content: skein rollout resume ${name}\n`,
  );
}

function isSettled(service: ServiceView, followed: FollowedRun): boolean {
  if (service.pauseCause === "canary") return true;
  if (service.job !== null) {
    if (service.job.schedule !== null && followed === undefined) return true;
    return !["active", undefined].includes(runOf(service, followed)?.state);
  }
  return (
    service.updated === service.desired &&
    service.running === service.desired &&
    service.stopping === 0
  );
}

function progressOf({ desired, running, updated, standby, stopping, job }: ServiceView): string {
  if (job !== null) return jobProgress(job, running);
  const old = running - updated;
  const parts = [`${updated}/${desired} running`];
  if (standby > 0) parts.push(`${standby} standing by`);
  if (old > 0) parts.push(`${old} of the old version`);
  if (stopping > 0) parts.push(`${stopping} stopping`);
  return parts.join(", ");
}

function jobProgress({ runs, completions, nextDueAt }: JobView, running: number): string {
  const run = runs.at(-1);
  if (run === undefined) return nextDueAt === null ? "waits" : `due next at ${nextDueAt}`;
  const of = completions === null ? "" : ` of ${completions}`;
  const failed = run.failed === 0 ? "" : `, ${run.failed} failed`;
  return `run ${run.number} ${run.state}: ${running} running, ${run.succeeded}${of} completed${failed}`;
}

async function stoppedRollout(
  session: Session,
  service: ServiceView,
  since: Date,
): Promise<CliError> {
  const { name } = service;
  const why = await whatFailed(session, service, since);
  const reasons = why.map((text) => `\n  ${text}`).join("");
  const what =
    service.rollout === "rolled_back"
      ? "was rolled back: new tasks failed"
      : service.pauseCause === "asked"
        ? `was paused by hand; it goes on with: skein rollout resume ${name}`
        : "was paused: new tasks failed";
  return new CliError("failed", `The update of ${name} ${what}. See: skein ps ${name}${reasons}`);
}

/** The tasks that failed are gone after a roll-back; what happened to them is known still. */
async function whatFailed(
  session: Session,
  { namespace, name }: ServiceView,
  since: Date,
): Promise<readonly string[]> {
  const { signal, client } = session;
  const when = { since: since.toISOString(), limit: 100 };
  const query = { namespace, object: name, type: "Warning", reason: "", ...when } as const;
  const { events } = await client.call("listEvents", { query, signal });
  const failures = events.filter(({ object }) => object.startsWith("task/"));
  // The last words of each kind; a pause by hand needs no reason.
  const texts = failures.map(({ message }) => message.replace(nextStep, ""));
  return [...new Set(texts.reverse())].slice(0, maxReasons);
}

function pendingText(services: readonly ServiceView[]): string {
  const lines = services.flatMap((service) =>
    service.pending.map((reason) => `  ${service.name}: ${reason}`),
  );
  return `Accepted, but not everything can be placed now; it will be when there is room.\n${lines.join("\n")}`;
}

/** The stream's values, and `undefined` whenever `everyMs` pass without one. */
async function* withTicks<T>(
  stream: AsyncIterable<T>,
  { everyMs, end }: { readonly everyMs: number; readonly end: () => void },
): AsyncIterable<T | undefined> {
  const iterator = stream[Symbol.asyncIterator]();
  let next = iterator.next();
  try {
    for (;;) {
      const timer = new AbortController();
      const tick = new Promise<undefined>((resolve) => {
        const handle = setTimeout(() => resolve(undefined), everyMs);
        timer.signal.addEventListener("abort", () => clearTimeout(handle));
      });
      const result = await Promise.race([next, tick]);
      timer.abort();
      if (result === undefined) {
        yield undefined;
      } else if (result.done === true) {
        return;
      } else {
        next = iterator.next();
        yield result.value;
      }
    }
  } finally {
    // A stream that waits for its next value can only be ended from outside.
    end();
    await next.catch(() => undefined);
    await iterator.return?.();
  }
}
