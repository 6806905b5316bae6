import type { EventView, PastTaskView, PastView } from "../../api/index.ts";
import { clockText, parseTimeMs } from "../clock-text.ts";
import { type Session, show } from "../session.ts";
import { age } from "../table.ts";

/** `skein why NAME[.SLOT] --at TIME`: out of the history, as it was kept. */
export async function whyThen(session: Session, name: string, at: string): Promise<void> {
  const atMs = parseTimeMs(at, session.now());
  const view = await session.client.call("whyThen", {
    query: {
      object: name,
      at: new Date(atMs).toISOString(),
      ...(session.namespace === undefined ? {} : { namespace: session.namespace }),
    },
    signal: session.signal,
  });
  show(session, view, (past) => pastText(past, session.now()));
  noteMissing(session, view.unreachable);
}

/** Says on stderr whose observations are missing in what is shown. */
export function noteMissing(session: Session, unreachable: readonly string[]): void {
  if (unreachable.length === 0) return;
  session.note(`not answering, so what they saw is missing: ${unreachable.join(", ")}\n`);
}

function pastText(view: PastView, nowMs: number): string {
  const since = view.keptSince === null ? "none" : clockText(view.keptSince, nowMs);
  const head = `${view.object} at ${clockText(view.at, nowMs)}  (history since ${since})\n`;
  return [
    head,
    ...historyLines(view.service, nowMs),
    ...view.tasks.map((task) => taskText(task, view, nowMs)),
    ...view.pending.map((event) => {
      const waited = age(event.time, Date.parse(view.at));
      return `${nameOf(event)}  ${event.reason} for ${waited}\n  ${event.message}\n`;
    }),
  ].join("");
}

function taskText(task: PastTaskView, { at }: PastView, nowMs: number): string {
  const revision = task.revision === null ? "" : `revision ${task.revision}, `;
  const since = `placed ${age(task.placedAt, Date.parse(at))} before`;
  const head = `${task.name}  ${task.state} on ${task.node}, ${since}  (${revision}log index ${task.index})\n`;
  return [head, ...historyLines(task.events, nowMs)].join("");
}

/** What happened, one line each, as `skein why` shows it too. */
export function historyLines(events: readonly EventView[], nowMs: number): readonly string[] {
  const width = Math.max(0, ...events.map(({ reason }) => reason.length));
  return events.map((event) => {
    const index = event.isAgreed ? `  (log index ${event.index})` : "";
    const time = clockText(event.time, nowMs);
    return `  ${time}  ${event.reason.padEnd(width)}  ${event.message}${index}\n`;
  });
}

function nameOf({ object }: EventView): string {
  return object.slice(object.lastIndexOf("/") + 1);
}
