import type { NodeDetail } from "../../api/index.ts";
import { CliError } from "../cli-error.ts";
import { parseDurationMs } from "../duration.ts";
import { type Session, show } from "../session.ts";
import { age, bytes, cores, table } from "../table.ts";

/** `skein node inspect NAME` */
export async function inspectNode(session: Session, name: string): Promise<void> {
  const node = await session.client.call("getNode", {
    params: { node: name },
    signal: session.signal,
  });
  show(session, node, (view) => nodeText(view, session.now()));
}

function nodeText(node: NodeDetail, nowMs: number): string {
  const { cpu, memory, disk, digest } = node;
  const labels = Object.entries(node.labels).map(([name, value]) => `${name}=${value}`);
  const usedCpu = cpu.usedMillis === null ? "" : `${cores(cpu.usedMillis)} used, `;
  const usedMemory = memory.usedBytes === null ? "" : `${bytes(memory.usedBytes)} used, `;
  const rows: readonly (readonly [string, string])[] = [
    ["name", `${node.name}${node.isSelf ? " (the node you talk to)" : ""}`],
    ["id", node.id],
    ["address", node.address],
    ["status", stateText(node)],
    ["last seen", node.lastSeenAt === null ? "never" : seenText(node, nowMs)],
    ...(node.isDialOutOnly
      ? [["reached", "only over connections that it opens itself"] as const]
      : []),
    ["role", node.feeder === null ? node.role : `${node.role}, gets the log from ${node.feeder}`],
    ["version", node.version === "" ? "not known" : `skein ${node.version}`],
    ["runtime", node.runtime],
    ["platform", node.platform],
    ["labels", labels.length === 0 ? "none" : labels.join(", ")],
    ["cpu", `${usedCpu}${cores(cpu.reservedMillis)} reserved of ${cores(cpu.capacityMillis)}`],
    [
      "memory",
      `${usedMemory}${bytes(memory.reservedBytes)} reserved of ${bytes(memory.capacityBytes)}`,
    ],
    [
      "disk",
      disk === null ? "not known" : `${bytes(disk.usedBytes)} used of ${bytes(disk.capacityBytes)}`,
    ],
    [
      "log",
      node.logIndex === null
        ? "not known"
        : `applied up to ${node.logIndex}${digest === null ? "" : `, digest ${digest.value} at ${digest.index}`}`,
    ],
    ["joined", `${age(node.admittedAt, nowMs)} ago`],
    ...node.pending.map((reason) => ["pending", reason] as const),
  ];
  const head = rows.map(([name, value]) => `${name.padEnd(11)}${value}\n`).join("");
  return `${head}\n${taskText(node)}`;
}

function stateText({ status, eligibility }: NodeDetail): string {
  return eligibility === "drain" ? `${status}, drained: gets no work` : status;
}

function seenText({ status, lastSeenAt }: NodeDetail, nowMs: number): string {
  return status === "ready" ? "now" : `${age(lastSeenAt ?? "", nowMs)} ago`;
}

function taskText({ taskList }: NodeDetail): string {
  if (taskList.length === 0) return "no tasks\n";
  const headings = ["NAMESPACE", "TASK", "STATUS", "HEALTH", "RESTARTS", "LAST EXIT", "MESSAGE"];
  return table(
    headings,
    taskList.map((task) => [
      task.namespace,
      task.name,
      task.desired === "stopped" ? "draining" : task.status,
      task.health === "none" ? "-" : task.health,
      String(task.restarts),
      task.exitCode === null ? "-" : String(task.exitCode),
      task.message,
    ]),
  );
}

/** `skein node label NAME key=value key- …` */
export async function labelNode(
  session: Session,
  name: string,
  changes: readonly string[],
): Promise<void> {
  const node = await session.client.call("labelNode", {
    params: { node: name },
    body: { labels: Object.fromEntries(changes.map(parseLabel)) },
    signal: session.signal,
  });
  show(session, node, ({ labels }) => {
    const lines = Object.entries(labels).map(([key, value]) => `${key}=${value}\n`);
    return lines.length === 0 ? "no labels\n" : lines.join("");
  });
}

function parseLabel(text: string): readonly [string, string | null] {
  const match = /^([A-Za-z0-9][\w./-]{0,127}?)(?:=(.{0,255})|-)$/.exec(text);
  if (match?.[1] === undefined) {
    throw new CliError(
      "usage",
      `"${text}" is no label. Write NAME=VALUE, or NAME- to take the label away`,
    );
  }
  return [match[1], match[2] ?? null];
}

type DrainOptions = { readonly wait?: string; readonly detach?: boolean };

const pollMs = 300;
/** Without any progress for this long, what nobody else can take counts as stuck. */
const patienceMs = 10_000;

/** `skein node drain NAME`: gives its work to others and follows that to its end. */
export async function drainNode(
  session: Session,
  name: string,
  { wait, detach }: DrainOptions,
): Promise<void> {
  const limitMs = wait === undefined ? undefined : parseDurationMs(wait);
  const node = await session.client.call("setEligibility", {
    params: { node: name },
    body: { eligibility: "drain" },
    signal: session.signal,
  });
  const isDone = detach === true || node.taskList.length === 0;
  const end = isDone ? node : await followDrain(session, node, limitMs);
  show(session, end, ({ name: shown, taskList }) =>
    taskList.length === 0
      ? `${shown} is drained: nothing runs there. Give it work again with: skein node resume ${shown}\n`
      : `${shown} is being drained, ${countOf(taskList)} left. See: skein node inspect ${shown}\n`,
  );
}

async function followDrain(
  session: Session,
  first: NodeDetail,
  limitMs: number | undefined,
): Promise<NodeDetail> {
  const { name } = first;
  const startedAt = session.now();
  let progressedAt = startedAt;
  let shown = "";
  for (;;) {
    const node = await lookAt(session, name);
    if (node.taskList.length === 0) return node;
    const text = progressOf(node);
    if (text !== shown) {
      const seconds = ((session.now() - startedAt) / 1_000).toFixed(1);
      session.note(`${seconds.padStart(6)}s  ${text}\n`);
      shown = text;
      progressedAt = session.now();
    }
    if (node.status === "failed" || node.status === "left") {
      throw new CliError(
        "failed",
        `${name} is ${node.status}: its tasks start elsewhere, but it cannot be told to stop its own. If it is gone for good: skein node rm ${name}`,
      );
    }
    if (node.pending.length > 0 && session.now() - progressedAt > patienceMs) {
      const reasons = node.pending.map((reason) => `\n  ${reason}`).join("");
      throw new CliError(
        "not_placeable",
        `${name} stays drained, but ${countOf(node.taskList)} cannot run elsewhere now and run on there. They move when there is room; or take it back with: skein node resume ${name}${reasons}`,
      );
    }
    if (limitMs !== undefined && session.now() - startedAt > limitMs) {
      throw new CliError(
        "timed_out",
        `${name} is not empty yet: ${countOf(node.taskList)} left. The drain goes on; see: skein node inspect ${name}`,
      );
    }
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
}

async function lookAt(session: Session, name: string): Promise<NodeDetail> {
  const { client, signal } = session;
  try {
    signal.throwIfAborted();
    return await client.call("getNode", { params: { node: name }, signal });
  } catch (error) {
    if (signal.aborted) {
      const way = `skein node inspect ${name}, or take it back with: skein node resume ${name}`;
      throw new CliError("interrupted", `Detached; the drain goes on. See: ${way}`);
    }
    throw error;
  }
}

function progressOf({ name, taskList }: NodeDetail): string {
  const names = taskList.map((task) => `${task.namespace}/${task.name}`);
  const some = names.slice(0, 5).join(", ");
  const more = names.length > 5 ? ` and ${names.length - 5} others` : "";
  return `${name}: ${countOf(taskList)} left: ${some}${more}`;
}

function countOf(tasks: readonly unknown[]): string {
  return tasks.length === 1 ? "1 task" : `${tasks.length} tasks`;
}

/** `skein node resume NAME` */
export async function resumeNode(session: Session, name: string): Promise<void> {
  const node = await session.client.call("setEligibility", {
    params: { node: name },
    body: { eligibility: "active" },
    signal: session.signal,
  });
  show(session, node, (view) => `${view.name} gets work again\n`);
}
