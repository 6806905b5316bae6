import type { SourceEdit } from "../planted-source.ts";

/** A mistake, put in on purpose: a simulator that misses it proves nothing. */
export type PlantedRingBug = SourceEdit & {
  readonly name: string;
  /** What it breaks. */
  readonly section: string;
  /** The runs within which it must be found. */
  readonly seeds: number;
};

type Draft = Omit<PlantedRingBug, "section">;

const rollout = "scheduler/rollout.ts";
const job = "scheduler/job.ts";
const planNode = "agent/plan-node.ts";

const scheduler: readonly Draft[] = [
  {
    name: "stops the old task as soon as there is a new one",
    seeds: 25,
    file: rollout,
    find: "const isDone = isProven(draft, service, position, kept);",
    replace: "const isDone = kept !== undefined;",
  },
  {
    name: "takes a task for proven when it has just come up",
    seeds: 25,
    file: rollout,
    find: "const provenAtMs = sinceMs + forMs;",
    replace: "const provenAtMs = sinceMs + 0 * forMs;",
  },
  {
    name: "updates all places at once",
    seeds: 25,
    file: rollout,
    find: "(parallelism === 0 ? positions.length : parallelism) - busy, forCanary);",
    replace: "positions.length + 0 * (parallelism + busy), forCanary);",
  },
  {
    name: "relies on tasks that do not serve yet",
    seeds: 25,
    file: "scheduler/facts.ts",
    find: 'return isServing(status) || status.phase === "completed";',
    replace: 'return isServing(status) || status.phase !== "failed";',
  },
  {
    name: "never takes a failed node for lost",
    seeds: 25,
    file: "scheduler/facts.ts",
    find: 'const isGone = member.status === "failed" || member.status === "left";',
    replace: 'const isGone = member.status === "left";',
  },
  {
    name: "leaves the task of a lost node running",
    seeds: 25,
    file: "scheduler/fill.ts",
    find: 'if (first.cause === "lost" || first.cause === "constraint") {',
    replace: 'if (first.cause === "constraint") {',
  },
  {
    name: "leaves tasks on a node that drains",
    seeds: 25,
    file: "scheduler/positions.ts",
    find: 'if (node?.node.eligibility === "drain") return "drain";',
    replace: "",
  },
  {
    name: "leaves one replica too many",
    seeds: 25,
    file: "scheduler/replicas.ts",
    find: "while (slots.length > wanted && !draft.isFull) {",
    replace: "while (slots.length > wanted + 1 && !draft.isFull) {",
  },
  {
    name: "never replaces a task that its node gave up",
    seeds: 25,
    file: "scheduler/failures.ts",
    find: 'if (status?.phase === "failed" && isReplaceable(draft.facts, task)) {',
    replace: 'if (status?.phase === "completed" && isReplaceable(draft.facts, task)) {',
  },
  {
    name: "forgets stopped tasks before they have ended",
    seeds: 25,
    file: "scheduler/forget.ts",
    find: 'return status === undefined || status.phase === "completed" || status.phase === "failed";',
    replace: "return status === undefined || status.phase.length > 0;",
  },
  {
    name: "plans before its members have reported",
    seeds: 25,
    file: "scheduler/scheduler-loop.ts",
    find: "if (graceLeftMs > 0 && !hasAllReports(state.get(), observations.get())) {",
    replace: "if (graceLeftMs > 1e9 && !hasAllReports(state.get(), observations.get())) {",
  },
];

const jobs: readonly Draft[] = [
  {
    name: "does again what a job has done already",
    seeds: 25,
    file: job,
    find: 'if (known.some(({ result }) => result?.outcome === "succeeded")) continue;',
    replace: "",
  },
  {
    name: "takes a failed task of a job for done",
    seeds: 25,
    file: job,
    find: 'const outcome = status.phase === "completed" ? "succeeded" : "failed";',
    replace: 'const outcome = status.phase.length > 0 ? "succeeded" : "failed";',
  },
  {
    name: "tries a job once more than it may",
    seeds: 25,
    file: job,
    find: "else if (failures.length > mode.retries) {",
    replace: "else if (failures.length > mode.retries + 1) {",
  },
  {
    name: "runs all tasks of a job at once",
    seeds: 25,
    file: job,
    find: 'mode.kind === "global-job" ? places.length : mode.parallelism;',
    replace: "places.length;",
  },
  {
    name: "runs a job again after it has ended",
    seeds: 25,
    file: "scheduler/job-schedule.ts",
    find: "if (runs.some((run) => run.revision === revision)) return runs;",
    replace:
      'if (runs.some((run) => run.revision === revision && run.state === "active")) return runs;',
  },
  {
    name: "starts a scheduled run for the time of its start",
    seeds: 25,
    file: "scheduler/job-schedule.ts",
    find: "dueAtMs: due.dueMs,",
    replace: "dueAtMs: now,",
  },
  {
    name: "starts what is suspended",
    seeds: 25,
    file: "scheduler/job-schedule.ts",
    find: "if (schedule === undefined || schedule.isSuspended) return runs;",
    replace: "if (schedule === undefined) return runs;",
  },
  {
    name: "lets runs overlap that must not",
    seeds: 25,
    file: "scheduler/job-schedule.ts",
    find: 'if (active === undefined || schedule.overlap === "allow") {',
    replace: 'if (active === undefined || schedule.overlap !== "replace") {',
  },
  {
    name: "forgets which due time was dealt with",
    seeds: 25,
    file: "cluster/apply-jobs.ts",
    find: "    dueAfterMs = dueAtMs;\n",
    replace: "",
  },
  {
    name: "looks for due times from the last change on",
    seeds: 25,
    file: "scheduler/job-schedule.ts",
    find: "const afterMs = service.dueAfterMs ?? service.updatedAtMs;",
    replace: "const afterMs = service.updatedAtMs;",
  },
];

const apply: readonly Draft[] = [
  {
    name: "lets two plans fill the same place",
    seeds: 25,
    file: "cluster/apply-tasks.ts",
    find: '      other.desired === "running" &&\n      other.result === undefined &&\n',
    replace: '      other.desired !== "running" &&\n      other.result === undefined &&\n',
  },
  {
    name: "accepts plans for an older version of the service",
    seeds: 25,
    file: "cluster/apply-tasks.ts",
    find: "    if (now !== version) {",
    replace: "    if (now < version) {",
  },
  {
    name: "leaves stopped tasks out of the snapshot",
    seeds: 25,
    file: "cluster/snapshot.ts",
    find: "    tasks: [...state.tasks],",
    replace: '    tasks: [...state.tasks].filter(([, { desired }]) => desired === "running"),',
  },
  {
    name: "notes the time of the machine when it applies",
    seeds: 25,
    file: "cluster/apply-tasks.ts",
    find: "createdAtIndex: state.index });",
    replace: "createdAtIndex: Math.floor(performance.now() * 1_000) });",
  },
  {
    name: "lets a later result of a task win",
    seeds: 25,
    file: "cluster/apply-tasks.ts",
    find: "if (task !== undefined && task.result === undefined) tasks",
    replace: "if (task !== undefined) tasks",
  },
];

const node: readonly Draft[] = [
  {
    name: "stops a task at once, though requests come",
    seeds: 25,
    file: planNode,
    find: "!containers.some(isRunning) || input.isDrained(task) || stopAtMs <= input.monotonicMs;",
    replace: "containers.length >= 0 || input.isDrained(task) || stopAtMs <= input.monotonicMs;",
  },
  {
    name: "does not adopt what ran before the daemon",
    seeds: 25,
    file: planNode,
    find: "adoptedRecord(containers);\n  const template =",
    replace: "adoptedRecord([]);\n  const template =",
  },
  {
    name: "leaves containers of unknown tasks running",
    seeds: 25,
    file: planNode,
    find: "if (known.has(taskId) || input.busy.has(taskId)) continue;",
    replace: "if (known.has(taskId) || taskId.length > 0) continue;",
  },
  {
    name: "starts the next container beside an unhealthy one",
    seeds: 25,
    file: planNode,
    find: "if (overdue.length > 0) return { record, action: stopAll(task.id, overdue, template) };",
    replace: "",
  },
  {
    name: "acts before it knows what was agreed",
    seeds: 25,
    file: "agent/agent-loop.ts",
    find: "if (isSettled.get()) for (const action of plan.actions)",
    replace: "for (const action of plan.actions)",
  },
  {
    name: "reports phases that go back",
    seeds: 25,
    file: "agent/report.ts",
    find: "return isBack ? { ...next, restarts, phase, sinceMs: previous.sinceMs } : next;",
    replace: "return isBack && restarts > 1e9 ? previous : next;",
  },
  {
    name: "goes on starting what should stop",
    seeds: 25,
    file: "agent/action-runner.ts",
    find: 'if (kind === "start" && !wanted.has(taskId)) abort.abort();',
    replace: 'if (kind === "stop" && wanted.size > 1e9) abort.abort();',
  },
  {
    name: "does not miss a container that is gone",
    seeds: 25,
    file: planNode,
    find: ": recordEnd(record, template, endOfMissing(record, now), monotonicMs);",
    replace: ": record;",
  },
  {
    name: "waits for no proxy before it stops a task",
    seeds: 25,
    file: "daemon/drain-watch.ts",
    find: "if ((reports.get(node)?.routesIndex ?? 0) < stoppedAt) return false;",
    replace: "if ((reports.get(node)?.routesIndex ?? 0) < stoppedAt - 1e9) return false;",
  },
  {
    name: "does not wait for requests that are under way",
    seeds: 25,
    file: "daemon/drain-watch.ts",
    find: "unreachable.filter((id) => (counts?.get(id) ?? 0) === 0)",
    replace: "unreachable.filter((id) => (counts?.get(id) ?? 0) >= 0)",
  },
  {
    name: "confirms routes that the proxy has not taken over",
    seeds: 25,
    file: "daemon/route-loop.ts",
    find: "        if (!sameValue(routes, confirmed)) {",
    replace: "        routesIndex.set(stateIndex);\n        if (!sameValue(routes, confirmed)) {",
  },
  {
    name: "routes to tasks that should stop",
    seeds: 25,
    file: "proxy/plan-routes.ts",
    find: '  if (task.desired !== "running") return [];\n',
    replace: "",
  },
  {
    name: "reports only how its tasks were at first",
    seeds: 25,
    file: "daemon/report-loop.ts",
    find: "      tasks: statuses.get(),",
    replace: "      tasks: last === undefined ? statuses.get() : last.tasks,",
  },
  {
    name: "says nothing when somebody waits for its routes",
    seeds: 25,
    file: "daemon/report-loop.ts",
    find: "    if (stoppedAtIndex !== undefined && stoppedAtIndex > last.routesIndex) return true;",
    replace: "    if (stoppedAtIndex !== undefined && stoppedAtIndex < 0) return true;",
  },
];

function of(section: string, drafts: readonly Draft[]): readonly PlantedRingBug[] {
  return drafts.map((draft) => ({ ...draft, section }));
}

export const plantedRingBugs: readonly PlantedRingBug[] = [
  ...of("scheduler", scheduler),
  ...of("jobs", jobs),
  ...of("agreed state", apply),
  ...of("node", node),
];
