import { ApiError, type EventsView, type EventView, timeText, type WhyView } from "../api/index.ts";
import type { EventsBackend, Facts } from "../api/server.ts";
import type { ClusterState } from "../cluster/index.ts";
import {
  type ClusterEvent,
  identityOf,
  maxSelectedEvents,
  objectText,
  pastOf,
  placedEvent,
} from "../events/index.ts";
import type { ServiceKey } from "../kernel/index.ts";
import type { ClusterEvents, EventsFound } from "./cluster-events.ts";

/** So many of a task, and of its service, are shown of the past. */
const maxShownEvents = 20;

/** The history, as the API shows it. */
export function eventsBackend({
  events,
  facts,
}: {
  readonly events: ClusterEvents;
  readonly facts: () => Facts;
}): EventsBackend {
  return {
    events: async (query, wanted) => eventsView(await events.list(query, wanted)),
    followEvents: async function* (query, wanted) {
      for await (const found of events.follow(query, wanted)) yield eventsView(found);
    },
    whyThen: async ({ namespace, object, atMs }, wanted) => {
      const selection = {
        namespace,
        objects: [object],
        reasons: [],
        types: [],
        sinceMs: 0,
        untilMs: atMs,
        limit: maxSelectedEvents,
      };
      const found = await events.list(selection, wanted);
      const remembered = rememberedPlacings(facts().state, selection);
      const past = pastOf(withoutDoubles([...found.events, ...remembered]), atMs);
      if (past.tasks.length + past.pending.length + past.service.length === 0) {
        const what = `Nothing is known of ${object} at ${timeText(atMs)}.`;
        throw new ApiError("not_found", `${what} See: skein events`);
      }
      return {
        object,
        at: timeText(atMs),
        keptSince: found.events[0] === undefined ? null : timeText(found.events[0].timeMs),
        tasks: past.tasks.map((task) => ({
          name: task.name,
          id: task.id,
          node: task.node,
          revision: task.revision ?? null,
          state: task.events.at(-1)?.reason ?? "",
          placedAt: timeText(task.placed.timeMs),
          index: task.placed.index,
          events: lastOf(task.events),
        })),
        pending: past.pending.map(eventView),
        service: lastOf(past.service),
        unreachable: [...found.unreachable],
      };
    },
  };
}

const latelyMs = 86_400_000;
const maxLately = 500;

/** What happened to a service and its tasks, for `skein why`. */
export async function lately(
  events: ClusterEvents,
  service: ServiceKey,
  { now, signal }: { readonly now: number; readonly signal: AbortSignal },
): Promise<Pick<WhyView, "events" | "unreachable">> {
  const selection = {
    objects: [service],
    reasons: [],
    types: [],
    sinceMs: now - latelyMs,
    limit: maxLately,
  };
  const view = eventsView(await events.list(selection, { signal }));
  return { events: view.events, unreachable: view.unreachable };
}

/** Tasks that were placed before the history begins say by themselves why. */
function rememberedPlacings(
  state: ClusterState,
  selection: Parameters<typeof placedEvent>[2],
): readonly ClusterEvent[] {
  return [...state.tasks.values()].flatMap((task) => placedEvent(state, task, selection) ?? []);
}

/** What the history has of a task comes before what the task says. */
function withoutDoubles(events: readonly ClusterEvent[]): readonly ClusterEvent[] {
  const placed = new Set<string>();
  return events.filter(({ reason, object: { id } }) => {
    if (id === undefined || (reason !== "Placed" && reason !== "Moved")) return true;
    const isFirst = !placed.has(id);
    placed.add(id);
    return isFirst;
  });
}

/** The first, and the last ones. */
function lastOf(events: readonly ClusterEvent[]): EventView[] {
  const kept =
    events.length <= maxShownEvents
      ? events
      : [...events.slice(0, 1), ...events.slice(1 - maxShownEvents)];
  return kept.map(eventView);
}

function eventsView({ events, unreachable, isCut }: EventsFound): EventsView {
  return { events: events.map(eventView), unreachable: [...unreachable], isCut };
}

function eventView(event: ClusterEvent): EventView {
  const { object, timeMs, type, reason, node, message, revision, index, by } = event;
  return {
    id: identityOf(event),
    time: timeText(timeMs),
    type,
    reason,
    object: objectText(object),
    objectId: object.id ?? null,
    namespace: object.namespace ?? null,
    service: object.kind === "service" ? object.name : (object.service ?? null),
    node: node ?? null,
    message,
    revision: revision ?? null,
    index,
    isAgreed: by === "log",
  };
}
