import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { ConsoleEnd, ServiceView, TaskView } from "../../api/index.ts";
import { codeOf, messageOf, taskId } from "../../kernel/index.ts";
import { CliError } from "../cli-error.ts";
import { passExitCode, requireTerminal, runConsole } from "../console.ts";
import { oneOffSpec, type RunOptions } from "../one-off.ts";
import type { Session } from "../session.ts";

const defaultNamespace = "default";
const pollMs = 100;
/** After this long what cannot be placed is said not to be. */
const pendingPatienceMs = 10_000;
const maxNameLength = 50;
/** What the process gets instead of this client, as with `docker run`. */
const handedOn = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"] as const;

type OneOff = { readonly namespace: string; readonly name: string };

/** `skein run [-d] [--rm] [-it] IMAGE [CMD...]` */
export async function run(
  session: Session,
  image: string,
  command: readonly string[],
  options: RunOptions,
): Promise<void> {
  const { detach = false, tty = false, interactive = false } = options;
  if (detach && (tty || interactive)) {
    throw new CliError("usage", "With -d nobody is there to type: leave -i and -t out.");
  }
  if (tty && interactive) requireTerminal(process);
  const namespace = session.namespace ?? defaultNamespace;
  const name = options.name ?? `${nameOf(image)}-${randomBytes(3).toString("hex")}`;
  const spec = oneOffSpec(session, { image, command, name, namespace }, options);
  const submit = async () => {
    const body = { services: [spec], dryRun: false, onlyNew: true };
    await session.client.call("applyServices", { body, signal: session.signal });
  };
  const oneOff = { namespace, name };
  if (!detach) {
    await passExitCode(session, async () => {
      await submit();
      return await runHere(session, oneOff, options);
    });
    return;
  }
  await submit();
  await waitForTask(session, oneOff, ({ status }) =>
    ["running", "completed", "failed"].includes(status),
  );
  session.print(session.output === "json" ? `${JSON.stringify(oneOff)}\n` : `${name}\n`);
}

/** With this terminal, to the end of the process. */
async function runHere(
  session: Session,
  oneOff: OneOff,
  { tty = false, interactive: stdin = false, rm = false }: RunOptions,
): Promise<ConsoleEnd> {
  let end: ConsoleEnd | undefined;
  try {
    const task = await waitForTask(session, oneOff, () => true);
    end = await runConsole(
      session.client,
      { kind: "attach", taskId: taskId(task.id), stdin },
      // Not the session's signal: what Ctrl-C means is for the process to decide.
      { terminal: process, tty, signals: handedOn, signal: new AbortController().signal },
    );
    return end;
  } finally {
    // What never ran leaves nothing behind. With --rm the cluster would clear up as well, some
    // seconds later and also without this client.
    const hasRun = end !== undefined && end.kind !== "error";
    if (!hasRun || (rm && end?.kind === "exited")) await removeQuietly(session, oneOff);
    else if (end?.kind === "detached") session.note(`${oneOff.name} goes on. See: skein ps\n`);
  }
}

/** The task of the one-off, once there is one that fits. */
async function waitForTask(
  session: Session,
  { namespace, name }: OneOff,
  fits: (task: TaskView) => boolean,
): Promise<TaskView> {
  const { client, signal } = session;
  const startedAt = session.now();
  for (;;) {
    const query = { namespace, service: name };
    const [task] = await client.call("listTasks", { query, signal });
    if (task !== undefined && fits(task)) return failedOr(task);
    const service = await client.call("getService", { params: { namespace, name }, signal });
    const reasons = service.pending;
    if (reasons.length > 0 && session.now() - startedAt > pendingPatienceMs) {
      throw new CliError("not_placeable", pendingText(service));
    }
    await sleep(pollMs, undefined, { signal });
  }
}

function failedOr(task: TaskView): TaskView {
  if (task.status !== "failed" || task.exitCode !== null) return task;
  throw new CliError("failed", `${task.name} was not started: ${task.message}`);
}

function pendingText({ name, pending }: ServiceView): string {
  return `${name} can be placed nowhere now:\n${pending.map((reason) => `  ${reason}`).join("\n")}`;
}

async function removeQuietly(session: Session, params: OneOff): Promise<void> {
  // Also after Ctrl-C.
  const signal = AbortSignal.timeout(10_000);
  try {
    await session.client.call("removeService", { params, signal });
  } catch (error) {
    if (codeOf(error) === "not_found") return;
    session.note(`${params.name} could not be removed: ${messageOf(error)}\n`);
  }
}

/** The image's own name, as a service can be named. */
function nameOf(image: string): string {
  const last = image.split("@")[0]?.split("/").at(-1)?.split(":")[0] ?? "";
  const plain = last.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-");
  return plain.slice(0, maxNameLength).replaceAll(/^-+|-+$/g, "") || "run";
}
