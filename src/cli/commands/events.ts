import type { EventsView, EventView } from "../../api/index.ts";
import { CliError } from "../cli-error.ts";
import { clockText } from "../clock-text.ts";
import { parseDurationMs } from "../duration.ts";
import type { Session } from "../session.ts";
import { table } from "../table.ts";
import { noteMissing } from "./past.ts";

type EventsOptions = {
  readonly follow?: boolean;
  readonly since?: string;
  readonly reason?: readonly string[];
  readonly type?: string;
  readonly tail?: string;
  readonly allNamespaces?: boolean;
};

/** The API gives no more at once. */
const maxTail = 10_000;
const defaultTail = 1_000;
const headings = ["TIME", "TYPE", "REASON", "OBJECT", "NODE", "MESSAGE"];

/** `skein events [-f] [OBJECT...]` */
export async function events(
  session: Session,
  objects: readonly string[],
  options: EventsOptions,
): Promise<void> {
  const { signal, client } = session;
  const query = queryOf(session, objects, options);
  if (!options.follow) {
    const view = await client.call("listEvents", { query, signal });
    session.print(
      session.output === "json"
        ? `${JSON.stringify(view.events, undefined, 2)}\n`
        : new EventTable(session.now()).text(view.events),
    );
    noteWhatLacks(session, view);
    return;
  }
  const shown = new EventTable(session.now());
  try {
    for await (const view of client.stream("watchEvents", { query, signal })) {
      session.print(
        session.output === "json"
          ? view.events.map((event) => `${JSON.stringify(event)}\n`).join("")
          : shown.text(view.events),
      );
      noteWhatLacks(session, view);
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

function queryOf(session: Session, objects: readonly string[], options: EventsOptions) {
  const { since, reason = [], type, tail, allNamespaces } = options;
  const wanted = [undefined, "normal", "warning"].indexOf(type?.toLowerCase());
  if (wanted < 0) throw new CliError("usage", `--type takes Normal or Warning, not "${type}"`);
  const limit = tail === undefined ? defaultTail : Number(tail);
  if (!(Number.isInteger(limit) && limit >= 1 && limit <= maxTail)) {
    throw new CliError("usage", `--tail takes a whole number from 1 to ${maxTail}, not "${tail}"`);
  }
  const namespace = allNamespaces ? undefined : session.namespace;
  return {
    object: objects.join(","),
    reason: reason.join(","),
    ...(namespace === undefined ? {} : { namespace }),
    ...(wanted === 0 ? {} : { type: wanted === 1 ? ("Normal" as const) : ("Warning" as const) }),
    limit,
    ...(since === undefined
      ? {}
      : { since: new Date(session.now() - parseDurationMs(since)).toISOString() }),
  };
}

function noteWhatLacks(session: Session, { unreachable, isCut }: EventsView): void {
  if (isCut) session.note("older ones are left out; see --since, --tail and OBJECT\n");
  noteMissing(session, unreachable);
}

/** Parcels of one table: the columns of a later one are as wide as those before. */
class EventTable {
  readonly #nowMs: number;
  #widths: readonly number[] = headings.map(() => 0);
  #isFirst = true;

  constructor(nowMs: number) {
    this.#nowMs = nowMs;
  }

  text(events: readonly EventView[]): string {
    const rows = events.map((event) => [
      clockText(event.time, this.#nowMs),
      event.type,
      event.reason,
      event.object,
      event.node ?? "-",
      event.message,
    ]);
    this.#widths = headings.map((heading, column) =>
      Math.max(
        this.#widths[column] ?? 0,
        heading.length,
        ...rows.map((row) => row[column]?.length ?? 0),
      ),
    );
    const last = headings.length - 1;
    const padded = [headings, ...rows].map((row) =>
      row.map((cell, column) => (column === last ? cell : cell.padEnd(this.#widths[column] ?? 0))),
    );
    const [first = [], ...others] = padded;
    const lines = table(first, others).split("\n");
    const shown = this.#isFirst ? lines : lines.slice(1);
    this.#isFirst = false;
    return shown.join("\n");
  }
}
