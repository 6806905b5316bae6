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
    seeds: 80,
    file: rollout,
    find: "const isDone = isProven(draft, service, position, kept);",
    replace: "const isDone = kept !== undefined;",
  },
  {
    name: "takes a task for proven when it has just come up",
    seeds: 80,
    file: rollout,
    find: "const provenAtMs = sinceMs + forMs;",
    replace: "const provenAtMs = sinceMs + 0 * forMs;",
  },
  {
    name: "updates all places at once",
    seeds: 30,
    file: rollout,
    find: "(parallelism === 0 ? positions.length : parallelism) - busy, forCanary);",
    replace: "positions.length + 0 * (parallelism + busy), forCanary);",
  },
  {
    name: "goes on with an update while those that it has stopped still end",
    seeds: 80,
    file: "scheduler/fill.ts",
    find: "draft.explain(explainWaitingForStop(position, before.id));\n    return true;",
    replace: "draft.explain(explainWaitingForStop(position, before.id));\n    return false;",
  },
  {
    name: "forgets which places an update has emptied when their room is gone",
    seeds: 80,
    file: rollout,
    find: "fillPosition(draft, service, position, all) || isOwed(draft, service, position);",
    replace: "fillPosition(draft, service, position, all);",
  },
  {
    name: "does not watch what it has started where the old task stopped first",
    seeds: 150,
    file: rollout,
    find: "isEstablished(draft, task, rolloutOf(service).monitorMs),\n  );",
    replace: "true,\n  );",
  },
  {
    name: "relies on tasks that do not serve yet",
    seeds: 120,
    file: "scheduler/facts.ts",
    find: 'return isServing(status) || status.phase === "completed";',
    replace: 'return isServing(status) || status.phase !== "failed";',
  },
  {
    name: "never takes a failed node for lost",
    seeds: 100,
    file: "scheduler/facts.ts",
    find: 'if (status !== "failed" && status !== "left") return undefined;',
    replace: 'if (status !== "left") return undefined;',
  },
  {
    name: "leaves the task of a lost node running",
    seeds: 100,
    file: "scheduler/fill.ts",
    find: 'if (first.cause === "lost" || first.cause === "constraint") {',
    replace: 'if (first.cause === "constraint") {',
  },
  {
    name: "leaves tasks on a node that drains",
    seeds: 80,
    file: "scheduler/positions.ts",
    find: 'if (node?.node.eligibility === "drain") return "drain";',
    replace: "",
  },
  {
    name: "leaves one replica too many",
    seeds: 60,
    file: "scheduler/replicas.ts",
    find: "while (slots.length > wanted && !draft.isFull) {",
    replace: "while (slots.length > wanted + 1 && !draft.isFull) {",
  },
  {
    name: "leaves one replica out",
    seeds: 5,
    file: "scheduler/replicas.ts",
    find: "const missing = replicasOf(service) - occupied.length;",
    replace: "const missing = replicasOf(service) - occupied.length - 1;",
  },
  {
    name: "forgets stopped tasks before they have ended",
    seeds: 10,
    file: "scheduler/facts.ts",
    find: 'return status === undefined || status.phase === "completed" || status.phase === "failed";',
    replace: "return status === undefined || status.phase.length > 0;",
  },
  {
    name: "keeps the unfinished step of an update that was overtaken",
    seeds: 300,
    file: rollout,
    find: 'const mayStop = cause !== "lost" && (isServed || facts.isAlive(task.nodeId));',
    replace: "const mayStop = cause !== cause && (isServed || facts.isAlive(task.nodeId));",
  },
];

const jobs: readonly Draft[] = [
  {
    name: "does again what a job has done already",
    seeds: 40,
    file: job,
    find: 'if (known.some(({ result }) => result?.outcome === "succeeded")) continue;',
    replace: "",
  },
  {
    name: "tries a job once more than it may",
    seeds: 40,
    file: job,
    find: "else if (failures.length > mode.retries) {",
    replace: "else if (failures.length > mode.retries + 1) {",
  },
  {
    name: "runs more of a job at once than it may",
    seeds: 40,
    file: job,
    find: "places.length : mode.parallelism;",
    replace: "places.length : mode.parallelism + 1;",
  },
  {
    name: "runs a job again after it has ended",
    seeds: 40,
    file: "scheduler/job-schedule.ts",
    find: "if (runs.some((run) => run.revision === revision)) return runs;",
    replace:
      'if (runs.some((run) => run.revision === revision && run.state === "active")) return runs;',
  },
];

const apply: readonly Draft[] = [
  {
    name: "notes the time of the machine when it applies",
    seeds: 5,
    file: "cluster/apply-tasks.ts",
    find: "createdAtIndex: state.index });",
    replace: "createdAtIndex: Math.floor(performance.now() * 1_000) });",
  },
  {
    name: "leaves something out when it takes over a snapshot",
    seeds: 20,
    file: "cluster/cluster-store.ts",
    find: "this.#state.set({ ...state, index });",
    replace: "this.#state.set({ ...state, index, tokens: new Map() });",
  },
];

const node: readonly Draft[] = [
  {
    name: "stops a task at once, though requests come",
    seeds: 5,
    file: planNode,
    find: "!containers.some(isRunning) || input.isDrained(task) || stopAtMs <= input.monotonicMs;",
    replace: "containers.length >= 0 || input.isDrained(task) || stopAtMs <= input.monotonicMs;",
  },
  {
    name: "waits for no proxy before it stops a task",
    seeds: 5,
    file: "daemon/drain-watch.ts",
    find: "if ((reports.get(node)?.routesIndex ?? 0) < stoppedAt) return false;",
    replace: "if ((reports.get(node)?.routesIndex ?? 0) < stoppedAt - 1e9) return false;",
  },
  {
    name: "does not wait for requests that are under way",
    seeds: 10,
    file: "daemon/drain-watch.ts",
    find: "unreachable.filter((id) => (counts?.get(id) ?? 0) === 0)",
    replace: "unreachable.filter((id) => (counts?.get(id) ?? 0) >= 0)",
  },
  {
    name: "reports only how its tasks were at first",
    seeds: 5,
    file: "daemon/report-loop.ts",
    find: "      tasks: statuses.get(),",
    replace: "      tasks: last === undefined ? statuses.get() : last.tasks,",
  },
];

const fencing: readonly Draft[] = [
  {
    name: "runs a fenced task on though nobody answers",
    seeds: 150,
    file: "daemon/fence-watch.ts",
    find: "const off = tasks.filter((task) => stopAtMs(task) <= now)",
    replace: "const off = tasks.filter((task) => stopAtMs(task) <= now - 1e9)",
  },
  {
    name: "does not wait for the lease of a fenced task",
    seeds: 20,
    file: "scheduler/fencing.ts",
    find: "return leftMs > 0;",
    replace: "return leftMs > 1e9;",
  },
];

const priorities: readonly Draft[] = [
  {
    name: "stops tasks of the same priority to make room",
    seeds: 20,
    file: "scheduler/preemption.ts",
    find: "} else if (itsPriority < priority) {",
    replace: "} else if (itsPriority <= priority) {",
  },
  {
    name: "makes no room for those of a higher priority",
    seeds: 240,
    file: "scheduler/preemption.ts",
    find: "if (priority <= draft.facts.lowestPriority) return false;",
    replace: "if (priority >= draft.facts.lowestPriority) return false;",
  },
];

const intents: readonly Draft[] = [
  {
    name: "forgets what is queued when the daemon ends",
    seeds: 60,
    file: "intents/intent-queue.ts",
    find: "this.#save(encodeIntents({ next: this.#next, intents }));",
    replace: "this.#save(encodeIntents({ next: this.#next, intents: [] }));",
  },
  {
    name: "proposes what is queued under a new name each time",
    seeds: 150,
    file: "intents/intent-desk.ts",
    find: "await submit(command, { signal, id: proposalId }).catch(refusedForGood);",
    replace: "await submit(command, { signal }).catch(refusedForGood);",
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
  ...of("fencing", fencing),
  ...of("priorities", priorities),
  ...of("queued changes", intents),
];
