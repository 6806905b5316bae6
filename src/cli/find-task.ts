import type { TaskView } from "../api/index.ts";
import { CliError } from "./cli-error.ts";
import { findService, type Session } from "./session.ts";

/**
 * The task that a text means: `[NAMESPACE/]SERVICE`, then `.3` or `/3` for the third replica,
 * or `/ID`. Of a service alone it is the first task that runs.
 */
export async function findTask(session: Session, text: string): Promise<TaskView> {
  const { client, signal } = session;
  const { service: wanted, task: asked } = await split(session, text);
  const service = await findService(session, wanted);
  const query = { namespace: service.namespace, service: service.name };
  const tasks = await client.call("listTasks", { query, signal });
  const running = tasks.filter(({ status }) => status === "running");
  const isAsked = ({ id, name, slot }: TaskView) =>
    asked === undefined || [id, name, String(slot)].includes(asked);
  // What is asked for by name is found though it does not run: to say so is better.
  const found =
    running.find(isAsked) ?? (asked === undefined ? undefined : tasks.findLast(isAsked));
  if (found !== undefined) return found;
  const what =
    asked === undefined ? `No task of ${service.name} runs.` : `There is no task ${text}.`;
  throw new CliError("not_found", `${what} See: skein ps ${service.name}`);
}

async function split(
  session: Session,
  text: string,
): Promise<{ readonly service: string; readonly task: string | undefined }> {
  const parts = text.split("/");
  if (parts.length > 3 || parts.includes("")) {
    throw new CliError("usage", `"${text}" names no task. Write SERVICE, SERVICE/TASK or web.3`);
  }
  const [first = "", second, third] = parts;
  if (third !== undefined) return { service: `${first}/${second}`, task: third };
  if (second === undefined) return withSlot(first);
  // `a/b` is a service of a namespace where there is such a one.
  const services = await session.client.call("listServices", {
    query: { namespace: first },
    signal: session.signal,
  });
  const inNamespace = withSlot(second);
  return services.some(({ name }) => name === inNamespace.service)
    ? { ...inNamespace, service: `${first}/${inNamespace.service}` }
    : { service: first, task: second };
}

/** `web.3`: no service has a dot in its name. */
function withSlot(text: string): { readonly service: string; readonly task: string | undefined } {
  const dot = text.indexOf(".");
  return dot < 0 ? { service: text, task: undefined } : { service: text.slice(0, dot), task: text };
}
