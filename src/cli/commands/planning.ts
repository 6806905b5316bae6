import type { PendingView, RevisionView, TaskView, WhyView } from "../../api/index.ts";
import { describeChanges } from "../changes-text.ts";
import { CliError } from "../cli-error.ts";
import { followRollout } from "../follow.ts";
import { findService, type Session, show, warnWithoutQuorum } from "../session.ts";
import { age, shortImage, table } from "../table.ts";
import { historyLines, noteMissing } from "./past.ts";
import { type QueueFlags, queueQuery } from "./queue.ts";

/** `skein why NAME[.SLOT]` */
export async function why(session: Session, name: string): Promise<void> {
  const [service = "", slot] = name.split(".");
  const found = await findService(session, service);
  const view = await session.client.call("why", {
    params: { namespace: found.namespace, name: found.name },
    signal: session.signal,
  });
  const isAsked = (each: { readonly slot: number }) =>
    slot === undefined || String(each.slot) === slot;
  const isOfAsked = (id: string | null) =>
    view.tasks.some((task) => task.id === id && isAsked(task));
  const asked: WhyView = {
    ...view,
    tasks: view.tasks.filter((task) => isAsked(task) || task.name === name),
    pending: view.pending.filter(isAsked),
    events: view.events.filter(
      ({ objectId, object }) =>
        slot === undefined || object.endsWith(`/${name}`) || isOfAsked(objectId),
    ),
  };
  if (slot !== undefined && asked.tasks.length + asked.pending.length === 0) {
    throw new CliError("not_found", `There is no task ${name}. See: skein ps ${service}`);
  }
  show(session, asked, (answer) => whyText(answer, session.now()));
  noteMissing(session, view.unreachable);
  await warnWithoutQuorum(session);
}

function whyText(view: WhyView, nowMs: number): string {
  const where = `state of log index ${view.index}, leader ${view.leader ?? "none"}`;
  const nodes = view.nodes.map((node) => verdictLine(node));
  return [
    `${view.service}  revision ${view.revision}  (${where})\n`,
    ...view.tasks.map((task) => taskText(task, view.events, nowMs)),
    ...view.pending.map(pendingText),
    "One more task:\n",
    ...nodes,
  ].join("");
}

/** What `started`, `there` and the first line do not say yet. */
const told = new Set(["Placed", "Started", "Healthy"]);
const maxTold = 8;

function taskText(
  task: WhyView["tasks"][number],
  events: WhyView["events"],
  nowMs: number,
): string {
  const own = events.filter(({ objectId, reason }) => objectId === task.id && !told.has(reason));
  const decided = task.createdAtIndex === null ? "" : `, log index ${task.createdAtIndex}`;
  const lines = [
    `${task.name}  ${task.phase} on ${task.node} for ${age(task.createdAt, nowMs)}  (revision ${task.revision}${decided})`,
    `  started   ${task.reason}`,
    ...(task.placement === "" ? [] : [`  there     ${task.placement}`]),
    ...restartLines(task),
    ...(task.stopReason === "" ? [] : [`  stopped   ${task.stopReason}`]),
  ];
  const history = historyLines(own.slice(-maxTold), nowMs);
  return [...lines.map((line) => `${line}\n`), ...history].join("");
}

function restartLines({ restarts, message, exitCode: code }: TaskView): readonly string[] {
  const last = message === "" ? "" : ` Last: ${message}`;
  const times = restarts === 1 ? "once" : `${restarts} times`;
  if (restarts > 0) return [`  restarted ${times}.${last}`];
  if (message === "" && code === null) return [];
  return [`  ended     ${message || `exit code ${code}`}`];
}

/** Why a task waits, and what would help. */
export function pendingText({ message, nodes, wouldHelp }: PendingView): string {
  const help = wouldHelp === "" ? "" : `Would be placed by: ${wouldHelp}.\n`;
  const first = nodes.length === 0 ? message : `${message.split(":")[0]}:`;
  return `${first}\n${nodes.map((node) => verdictLine(node)).join("")}${help}`;
}

function verdictLine(node: {
  readonly node: string;
  readonly fits: boolean;
  readonly message: string;
}): string {
  return `  ${node.node}  ${node.fits ? "yes" : "no "}  ${node.message}\n`;
}

/** `skein history NAME` */
export async function history(session: Session, name: string): Promise<void> {
  const { namespace, name: service } = await findService(session, name);
  const params = { namespace, name: service };
  const revisions = await session.client.call("serviceHistory", {
    params,
    signal: session.signal,
  });
  show(session, revisions, (found) => historyTable(found, session.now()));
}

function historyTable(revisions: readonly RevisionView[], nowMs: number): string {
  const headings = ["REV", "CREATED", "BY", "IMAGE", "CHANGE", "STATUS"];
  return table(
    headings,
    revisions.map((each) => [
      String(each.revision),
      each.createdAt === null ? "-" : `${age(each.createdAt, nowMs)} ago`,
      each.by,
      shortImage(each.image) || "-",
      each.changes.join(", ") || "-",
      each.status,
    ]),
  );
}

/** `skein rollback NAME [--to REV]` */
export async function rollBack(
  session: Session,
  name: string,
  { to, detach, ...flags }: QueueFlags & { readonly to?: string; readonly detach?: boolean },
): Promise<void> {
  if (to !== undefined && !/^[1-9]\d{0,8}$/.test(to)) {
    throw new CliError("usage", `"${to}" is not a revision. See: skein history ${name}`);
  }
  const { namespace, name: service } = await findService(session, name);
  const applied = await session.client.call("rollBackService", {
    params: { namespace, name: service },
    query: queueQuery(flags),
    body: to === undefined ? {} : { revision: Number(to) },
    signal: session.signal,
  });
  show(session, applied, (changes) => describeChanges(changes, false));
  if (!detach) await followRollout(session, new Set([service]), { namespace, isUpdate: true });
}
