import type { NodeView, ServiceView, StatusView, TaskView } from "../../api/index.ts";
import { findService, type Session, show, warnWithoutQuorum } from "../session.ts";
import { age, bytes, cores, table } from "../table.ts";

/** `skein status` */
export async function status(session: Session): Promise<void> {
  show(session, await session.client.call("status", { signal: session.signal }), statusText);
}

function statusText(view: StatusView): string {
  const { quorum } = view;
  const voters = `${quorum.votersAlive} of ${quorum.voters} voters`;
  const state = quorum.hasQuorum ? `healthy: ${voters}` : `degraded: ${voters}`;
  const rows: readonly (readonly [string, string])[] = [
    ["cluster", view.clusterId],
    ["node", `${view.node.name} (skein ${view.version})`],
    ["state", state],
    ["leader", view.leader ?? "none"],
    ...(view.feeder === null ? [] : [["follows", view.feeder] as const]),
    ["nodes", `${view.nodes.alive} of ${view.nodes.total} alive`],
    ["services", String(view.services)],
    ["tasks", `${view.tasks.running} of ${view.tasks.desired} running`],
    ...view.warnings.map((warning) => ["warning", warning] as const),
    ["log", `term ${view.term}, committed ${view.commitIndex}, applied ${view.appliedIndex}`],
  ];
  return rows.map(([name, value]) => `${name.padEnd(10)}${value}\n`).join("");
}

/** `skein node ls` */
export async function listNodes(session: Session): Promise<void> {
  const nodes = await session.client.call("listNodes", { signal: session.signal });
  show(session, nodes, (views) => nodeTable(views, session.now()));
  await warnWithoutQuorum(session);
}

function nodeTable(nodes: readonly NodeView[], nowMs: number): string {
  const headings = ["NAME", "STATUS", "ROLE", "TASKS", "CPU", "MEMORY", "ADDRESS", "AGE"];
  return table(
    headings,
    nodes.map((node) => [
      `${node.name}${node.isSelf ? "*" : ""}`,
      node.eligibility === "drain" ? `${node.status},drain` : node.status,
      node.role,
      String(node.tasks),
      `${cores(node.cpu.capacityMillis)} (req ${cores(node.cpu.reservedMillis)})`,
      `${bytes(node.memory.capacityBytes)} (req ${bytes(node.memory.reservedBytes)})`,
      node.address,
      age(node.admittedAt, nowMs),
    ]),
  );
}

/** `skein ls` */
export async function listServices(session: Session): Promise<void> {
  const query = { namespace: session.namespace };
  const services = await session.client.call("listServices", { query, signal: session.signal });
  show(session, services, (views) => serviceTable(views, session.now()));
  await warnWithoutQuorum(session);
}

function serviceTable(services: readonly ServiceView[], nowMs: number): string {
  const headings = [
    "NAMESPACE",
    "NAME",
    "MODE",
    "REPLICAS",
    "UPDATED",
    "IMAGE",
    "ENDPOINTS",
    "AGE",
  ];
  return table(
    headings,
    services.map((service) => [
      service.namespace,
      service.name,
      service.mode,
      replicasText(service),
      String(service.updated),
      service.image,
      service.endpoints.join(","),
      age(service.createdAt, nowMs),
    ]),
  );
}

/** `3/3`, and of a job also what is done: `1/1 (3/5 completed)`. */
function replicasText({ running, desired, job }: ServiceView): string {
  const now = `${running}/${desired}`;
  const run = job?.runs.at(-1);
  if (run === undefined) return now;
  const of = job?.completions ?? run.succeeded;
  return `${now} (${run.succeeded}/${of} completed)`;
}

/** `skein ps [SERVICE]` */
export async function listTasks(session: Session, service: string | undefined): Promise<void> {
  const query =
    service === undefined
      ? { namespace: session.namespace }
      : { namespace: (await findService(session, service)).namespace, service };
  const tasks = await session.client.call("listTasks", { query, signal: session.signal });
  show(session, tasks, (views) => taskTable(views, session.now()));
  await warnWithoutQuorum(session);
}

function taskTable(tasks: readonly TaskView[], nowMs: number): string {
  const headings = ["TASK", "STATUS", "HEALTH", "RESTARTS", "NODE", "PORTS", "AGE", "MESSAGE"];
  return table(
    headings,
    tasks.map((task) => [
      task.name,
      statusWord(task),
      task.health === "none" ? "-" : task.health,
      String(task.restarts),
      task.node,
      task.ports.join(","),
      age(task.createdAt, nowMs),
      task.message,
    ]),
  );
}

function statusWord({ desired, status, run }: TaskView): string {
  if (desired === "stopped" && status === "running") return "draining";
  // What a job is there for; of others it only says that they ended.
  return status === "completed" && run !== null ? "succeeded" : status;
}

/** `skein logs [-f] SERVICE` */
export async function logs(
  session: Session,
  name: string,
  options: { readonly follow?: boolean; readonly tail?: string },
): Promise<void> {
  const service = await findService(session, name);
  const stream = session.client.stream("logs", {
    params: { namespace: service.namespace, name: service.name },
    query: {
      follow: options.follow ? "true" : "false",
      ...(options.tail === undefined ? {} : { tail: Number(options.tail) }),
    },
    signal: session.signal,
  });
  try {
    for await (const entry of stream) {
      session.print(
        session.output === "json"
          ? `${JSON.stringify(entry)}\n`
          : `${entry.task} (${entry.node}) | ${entry.text}\n`,
      );
    }
  } catch (error) {
    if (!session.signal.aborted) throw error;
  }
}
