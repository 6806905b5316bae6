import type { NodeView, ServiceView, StatusView, TaskView } from "../../api/index.ts";
import { CliError } from "../cli-error.ts";
import { findService, type Session, show, warnWithoutQuorum } from "../session.ts";
import { age, bytes, cores, shortImage, table } from "../table.ts";
import { showQueued } from "./queue.ts";

/** `skein status` */
export async function status(session: Session): Promise<void> {
  const view = await session.client.call("status", { signal: session.signal });
  show(session, view, (shown) => statusText(shown, session.now()));
}

/** An end of the certificate that is nearer than this is told of. */
const certificateWarningMs = 3 * 86_400_000;

function statusText(view: StatusView, nowMs: number): string {
  const rows: readonly (readonly [string, string])[] = [
    ["cluster", view.clusterId],
    ["node", `${view.node.name} (skein ${view.version})`],
    ["state", healthText(view)],
    ["leader", view.leader ?? "none"],
    ...(view.feeder === null ? [] : [["follows", view.feeder] as const]),
    ["nodes", nodesText(view)],
    ["services", servicesText(view)],
    ...view.unsettled.flatMap(unsettledRows),
    ["tasks", `${view.tasks.running} of ${view.tasks.desired} running`],
    ...certificateRows(view, nowMs),
    ...view.warnings.map((warning) => ["warning", warning] as const),
    ["log", `term ${view.term}, committed ${view.commitIndex}, applied ${view.appliedIndex}`],
  ];
  return rows.map(([name, value]) => `${name.padEnd(12)}${value}\n`).join("");
}

function healthText({ quorum }: StatusView): string {
  const voters = `${quorum.votersAlive} of ${quorum.voters} voters`;
  if (!quorum.hasQuorum) {
    return `degraded: ${voters}, no quorum; containers run and traffic flows, changes have to wait. If the others are gone for good: skein recover`;
  }
  return quorum.votersAlive < quorum.voters ? `degraded: ${voters}` : `healthy: ${voters}`;
}

function nodesText({ nodes }: StatusView): string {
  const { total, alive, suspect, failed, left, draining } = nodes;
  const others = [
    [suspect, "suspect"],
    [failed, "failed"],
    [left, "left"],
  ] as const;
  const parts = others.filter(([count]) => count > 0).map(([count, what]) => `${count} ${what}`);
  if (draining.length > 0) parts.push(`drained: ${draining.join(" ")}`);
  return [`${alive} of ${total} alive`, ...parts].join(", ");
}

function servicesText({ services, unsettled }: StatusView): string {
  return unsettled.length === 0
    ? String(services)
    : `${services}, ${unsettled.length} not as ${unsettled.length === 1 ? "it" : "they"} should be`;
}

function unsettledRows({
  service,
  running,
  desired,
  reasons,
}: StatusView["unsettled"][number]): readonly (readonly [string, string])[] {
  return [
    ["", `${service} ${running}/${desired}`],
    ...reasons.map((reason) => ["", `  ${reason}`] as const),
  ];
}

function certificateRows(
  { certificateExpiresAt, node }: StatusView,
  nowMs: number,
): readonly (readonly [string, string])[] {
  if (certificateExpiresAt === null) return [];
  const leftMs = Date.parse(certificateExpiresAt) - nowMs;
  const text = leftMs <= 0 ? "has ended" : `ends in ${Math.floor(leftMs / 86_400_000)} days`;
  if (leftMs > certificateWarningMs) return [["certificate", text]];
  return [["warning", `The certificate of ${node.name} ${text}; restart its daemon to renew it.`]];
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
      cpuText(node),
      memoryText(node),
      node.address,
      age(node.admittedAt, nowMs),
    ]),
  );
}

/** Used of all, and what tasks have reserved. */
function cpuText({ cpu }: NodeView): string {
  const used = cpu.usedMillis === null ? "" : `${cores(cpu.usedMillis)}/`;
  return `${used}${cores(cpu.capacityMillis)} (req ${cores(cpu.reservedMillis)})`;
}

function memoryText({ memory }: NodeView): string {
  const used = memory.usedBytes === null ? "" : `${bytes(memory.usedBytes)}/`;
  return `${used}${bytes(memory.capacityBytes)} (req ${bytes(memory.reservedBytes)})`;
}

/** `skein ls` */
export async function listServices(session: Session): Promise<void> {
  const query = { namespace: session.namespace };
  const services = await session.client.call("listServices", { query, signal: session.signal });
  show(session, services, (views) => serviceTable(views, session.now()));
  await showQueued(session);
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
      shortImage(service.image),
      service.endpoints.join(","),
      age(service.createdAt, nowMs),
    ]),
  );
}

/** `3/3`, and of a job also what is done: `1/1 (3/5 completed)`. */
function replicasText({ running, desired, job, spec }: ServiceView): string {
  const now = `${running}/${desired}`;
  if (spec.isStopped === true) return `${now} (stopped)`;
  const run = job?.runs.at(-1);
  if (run === undefined) return now;
  const of = job?.completions ?? run.succeeded;
  return `${now} (${run.succeeded}/${of} completed)`;
}

/** `skein ps [SERVICE]` */
export async function listTasks(session: Session, service: string | undefined): Promise<void> {
  const found = service === undefined ? undefined : await findService(session, service);
  const query =
    found === undefined
      ? { namespace: session.namespace }
      : { namespace: found.namespace, service: found.name };
  const { client, signal } = session;
  const tasks = await client.call("listTasks", { query, signal });
  const inNamespace = { namespace: query.namespace };
  const services =
    session.output === "json"
      ? []
      : await client.call("listServices", { query: inNamespace, signal });
  const asked = services.filter((each) => found === undefined || each.name === found.name);
  show(session, tasks, (views) => taskTable(views, asked, session.now()));
  await warnWithoutQuorum(session);
}

function taskTable(
  tasks: readonly TaskView[],
  services: readonly ServiceView[],
  nowMs: number,
): string {
  const headings = [
    "TASK",
    "STATUS",
    "PHASE",
    "HEALTH",
    "RESTARTS",
    "NODE",
    "PORTS",
    "AGE",
    "MESSAGE",
  ];
  const rows = tasks.map((task) => [
    task.name,
    statusWord(task) + readyText(task),
    task.phase,
    task.health === "none" ? "-" : task.health,
    String(task.restarts),
    task.node,
    task.ports.join(","),
    age(task.createdAt, nowMs),
    task.message,
  ]);
  return table(headings, [...rows, ...services.flatMap((each) => unplacedRows(each, tasks))]);
}

/** What waits for room has no task yet; whoever looks for it looks here. */
function unplacedRows(service: ServiceView, tasks: readonly TaskView[]): readonly string[][] {
  const { namespace, name, desired, pending } = service;
  const placed = tasks.filter(
    (task) =>
      task.namespace === namespace &&
      task.service === name &&
      task.desired === "running" &&
      (task.phase === "Pending" || task.phase === "Running"),
  ).length;
  const [reason] = pending;
  if (reason === undefined || placed >= desired) return [];
  const text = `${reason} (skein why ${name})`;
  return [
    [`${name} (${desired - placed} more)`, "pending", "Pending", "-", "0", "-", "", "", text],
  ];
}

function statusWord({ desired, status, run }: TaskView): string {
  if (desired === "stopped" && status === "running") return "draining";
  // What a job is there for; of others it only says that they ended.
  return status === "completed" && run !== null ? "succeeded" : status;
}

/** Of a pod, how many of the containers that run as long as it does are as they should be: ` 1/2`. */
function readyText({ containers }: TaskView): string {
  const lasting = containers.filter(({ role }) => role !== "init");
  if (lasting.length === 0) return "";
  const ready = lasting.filter(
    ({ status, health, role }) =>
      (status === "running" && (health === "none" || health === "healthy")) ||
      (status === "succeeded" && role === "companion"),
  );
  return ` ${ready.length}/${lasting.length}`;
}

/** Of one task; the API refuses more. */
const maxTail = 100_000;

/** `skein logs [-f] SERVICE` */
export async function logs(
  session: Session,
  name: string,
  options: { readonly follow?: boolean; readonly tail?: string; readonly container?: string },
): Promise<void> {
  const tail = options.tail === undefined ? undefined : Number(options.tail);
  if (tail !== undefined && !(Number.isInteger(tail) && tail >= 0 && tail <= maxTail)) {
    throw new CliError(
      "usage",
      `--tail takes a whole number from 0 to ${maxTail}, not "${options.tail}"`,
    );
  }
  const service = await findService(session, name);
  const stream = session.client.stream("logs", {
    params: { namespace: service.namespace, name: service.name },
    query: {
      follow: options.follow ? "true" : "false",
      ...(tail === undefined ? {} : { tail }),
      ...(options.container === undefined ? {} : { container: options.container }),
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
