import {
  type ClusterEvent,
  compareEvents,
  type EventObject,
  identityOf,
  objectText,
} from "./event.ts";
import type { EventType } from "./reasons.ts";

/** Which events are wanted. Empty lists select all. */
export type EventSelection = {
  /** Wall clock, ms. */
  readonly sinceMs: number;
  readonly untilMs?: number | undefined;
  readonly namespace?: string | undefined;
  /** `web`, `web.2`, `shop/web`, `node/n1`, or a whole id. A service's name means its tasks too. */
  readonly objects: readonly string[];
  readonly reasons: readonly string[];
  readonly types: readonly EventType[];
  /** The newest so many. */
  readonly limit: number;
};

/** Nobody gets more at once. */
export const maxSelectedEvents = 10_000;

export function isSelected(event: ClusterEvent, selection: EventSelection): boolean {
  const { sinceMs, untilMs, namespace, objects, reasons, types } = selection;
  if (event.timeMs < sinceMs || (untilMs !== undefined && event.timeMs > untilMs)) return false;
  if (namespace !== undefined && event.object.namespace !== namespace) return false;
  if (types.length > 0 && !types.includes(event.type)) return false;
  const reason = event.reason.toLowerCase();
  if (reasons.length > 0 && !reasons.some((each) => each.toLowerCase() === reason)) return false;
  return objects.length === 0 || objects.some((name) => isNamed(event.object, name));
}

function isNamed(object: EventObject, text: string): boolean {
  const { name, namespace, service, id } = object;
  if (text === name || text === service || text === id || text === objectText(object)) return true;
  return (
    namespace !== undefined &&
    (text === `${namespace}/${name}` || text === `${namespace}/${service}`)
  );
}

/** Collects events in any order and keeps the newest, each happening once. */
export class NewestEvents {
  readonly #limit: number;
  #events: ClusterEvent[] = [];
  #isCut = false;

  constructor(limit: number) {
    this.#limit = Math.max(1, Math.min(limit, maxSelectedEvents));
  }

  add(event: ClusterEvent): void {
    this.#events.push(event);
    if (this.#events.length > 2 * this.#limit + 1_000) this.#compact();
  }

  /** Whether older ones would only be dropped again. What is not added then counts as cut off. */
  stopsHere(): boolean {
    this.#compact();
    if (this.#events.length < this.#limit) return false;
    this.#isCut = true;
    return true;
  }

  /** Whether there were more than are kept. */
  get isCut(): boolean {
    this.#compact();
    return this.#isCut;
  }

  /** The oldest first. */
  list(): readonly ClusterEvent[] {
    this.#compact();
    return this.#events;
  }

  #compact(): void {
    const seen = new Set<string>();
    const once: ClusterEvent[] = [];
    // What several nodes saw is told by the one that saw it first.
    for (const event of this.#events.sort(compareEvents)) {
      const identity = identityOf(event);
      if (seen.has(identity)) continue;
      seen.add(identity);
      once.push(event);
    }
    if (once.length > this.#limit) this.#isCut = true;
    this.#events = once.slice(-this.#limit);
  }
}
