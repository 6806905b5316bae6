import { type ClusterEvent, compareEvents } from "./event.ts";

/** A task as the history shows it at one time. */
export type PastTask = {
  readonly id: string;
  readonly name: string;
  readonly node: string;
  readonly revision?: number | undefined;
  /** The decision that created it. */
  readonly placed: ClusterEvent;
  /** What had happened to it up to then, the decision first. */
  readonly events: readonly ClusterEvent[];
};

export type Past = {
  /** That had been placed and had not ended. */
  readonly tasks: readonly PastTask[];
  /** Of what waited: why. */
  readonly pending: readonly ClusterEvent[];
  /** Of services themselves. */
  readonly service: readonly ClusterEvent[];
};

const placings = new Set(["Placed", "Moved"]);
const ends = new Set(["Stopped", "Completed"]);
const waits = new Set(["Pending", "BackingOff"]);

/** What was where at a time, by the events up to it. */
export function pastOf(events: readonly ClusterEvent[], atMs: number): Past {
  const earlier = events.filter(({ timeMs }) => timeMs <= atMs).toSorted(compareEvents);
  const lives = new Map<string, ClusterEvent[]>();
  const waiting = new Map<string, ClusterEvent>();
  for (const event of earlier) {
    const { kind, id } = event.object;
    if (kind !== "task") continue;
    const place = `${event.object.namespace}/${event.object.name}`;
    if (waits.has(event.reason)) waiting.set(place, event);
    if (placings.has(event.reason)) waiting.delete(place);
    if (id === undefined) continue;
    const life = lives.get(id);
    if (life !== undefined) life.push(event);
    else if (placings.has(event.reason)) lives.set(id, [event]);
  }
  const tasks = [...lives].flatMap(([id, life]): PastTask[] => {
    const [placed] = life;
    const hasEnded = life.some(({ reason }) => ends.has(reason));
    if (placed === undefined || hasEnded) return [];
    const { object, node = "", revision } = placed;
    return [{ id, name: object.name, node, revision, placed, events: life }];
  });
  const service = earlier.filter(({ object }) => object.kind === "service");
  return { tasks, pending: [...waiting.values()], service };
}
