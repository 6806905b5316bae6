import type { NodeId } from "../kernel/index.ts";

/** Each member is watched by so many others: one busy watcher decides nothing alone. */
const watchers = 3;

/** How many watch each of so many members. */
export function watchersAmong(members: number): number {
  return Math.min(watchers, members - 1);
}

/**
 * Whom `self` watches: its next members on a ring ordered by a hash of the ids, so that
 * every member has the same number of watchers and the cost of a node never grows.
 */
export function watchedBy(self: NodeId, members: Iterable<NodeId>): readonly NodeId[] {
  const ring = [...new Set([self, ...members])].sort(
    (a, b) => hash(a) - hash(b) || (a < b ? -1 : 1),
  );
  const start = ring.indexOf(self);
  const count = watchersAmong(ring.length);
  return Array.from({ length: count }, (_, i) => ring[(start + 1 + i) % ring.length] as NodeId);
}

/** FNV-1a, 32 bits: spreads ids that begin alike. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let i = 0; i < text.length; i += 1) {
    value = Math.imul(value ^ text.charCodeAt(i), 0x01000193);
  }
  return value >>> 0;
}
