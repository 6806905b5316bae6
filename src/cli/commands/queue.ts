import { ApiError, type IntentView } from "../../api/index.ts";
import { codeOf, messageOf } from "../../kernel/index.ts";
import { CliError } from "../cli-error.ts";
import { exitCode } from "../exit-code.ts";
import { type Session, show } from "../session.ts";
import { age, table } from "../table.ts";

/** `--no-queue`: fail at once where there is no quorum. */
export type QueueFlags = { readonly queue?: boolean };

export function queueQuery({ queue = true }: QueueFlags): { readonly queue: "true" | "false" } {
  return { queue: queue ? "true" : "false" };
}

/** One after the other; that one was queued keeps the others from nothing. */
export async function eachEvenIfQueued<Item>(
  items: readonly Item[],
  act: (item: Item) => Promise<void>,
): Promise<void> {
  const queued: string[] = [];
  for (const item of items) {
    try {
      await act(item);
    } catch (error) {
      if (codeOf(error) !== "queued") throw error;
      queued.push(messageOf(error));
    }
  }
  if (queued.length > 0) throw new ApiError("queued", queued.join("\n"));
}

/** `skein queue ls` */
export async function listQueue(session: Session): Promise<void> {
  const intents = await session.client.call("listIntents", { signal: session.signal });
  show(session, intents, (views) =>
    views.length === 0 ? "nothing is queued on this node\n" : queueTable(views, session.now()),
  );
}

/** Beneath the services: what somebody asked for and nobody has agreed to. */
export async function showQueued(session: Session): Promise<void> {
  if (session.output === "json") return;
  const intents = await session.client.call("listIntents", { signal: session.signal });
  const shown = intents.filter(
    ({ services }) =>
      session.namespace === undefined ||
      services.some((service) => service.startsWith(`${session.namespace}/`)),
  );
  if (shown.length > 0) session.print(`\n${queueTable(shown, session.now())}`);
}

function queueTable(intents: readonly IntentView[], nowMs: number): string {
  return table(
    ["QUEUED", "NODE", "CHANGE", "BY", "AGE", "STATE"],
    intents.map(({ number, node, change, author, takenAt, message }) => [
      String(number),
      node,
      change,
      author,
      age(takenAt, nowMs),
      message,
    ]),
  );
}

/** `skein queue cancel NUMBER …` */
export async function cancelQueued(session: Session, numbers: readonly string[]): Promise<void> {
  const wanted = numbers.map(numberOf);
  for (const number of wanted) {
    const params = { number };
    const cancelled = await session.client.call("cancelIntent", { params, signal: session.signal });
    session.print(
      session.output === "json"
        ? `${JSON.stringify({ cancelled: number })}\n`
        : `cancelled ${number}: ${cancelled.change}\n`,
    );
  }
}

/** `skein queue apply NUMBER`: also over what others have changed since. */
export async function applyQueued(session: Session, text: string): Promise<void> {
  const params = { number: numberOf(text) };
  const { left } = await session.client.call("applyIntent", {
    params,
    body: {},
    signal: session.signal,
  });
  if (session.output === "json") session.print(`${JSON.stringify({ left }, undefined, 2)}\n`);
  else if (left === null) session.print(`applied ${params.number}. See: skein ls\n`);
  else session.print(queueTable([left], session.now()));
  if (left !== null) {
    session.setExitCode(left.state === "refused" ? exitCode.conflict : exitCode.noQuorum);
  }
}

function numberOf(text: string): number {
  const number = Number(text);
  if (Number.isSafeInteger(number) && number > 0) return number;
  throw new CliError("usage", `"${text}" is no number of a queued change. See: skein queue ls`);
}
