import { type ClusterState, compareText, type Task } from "../cluster/index.ts";
import { type NodeId, type ServiceKey, splitServiceKey } from "../kernel/index.ts";
import { runsPerNode } from "../spec/index.ts";
import { type EventReason, type EventType, eventReasons } from "./reasons.ts";

/** What an event is about. `kind` is open: a newer daemon may know more of them. */
export type EventObject = {
  /** `service`, `task`, `node` or `cluster`. */
  readonly kind: string;
  /** `web`, `web.2`, the name of a node, or of the cluster. */
  readonly name: string;
  readonly namespace?: string | undefined;
  /** Of a task: its service. */
  readonly service?: string | undefined;
  /** Of a task or a node. */
  readonly id?: string | undefined;
};

/** What whoever knows of a happening says about it. */
export type EventDraft = {
  readonly reason: EventReason;
  readonly object: EventObject;
  /** A sentence with names and numbers; cut off where it is too long. */
  readonly message: string;
  /** Name of the node where it happened, where that is one. */
  readonly node?: string | undefined;
  readonly revision?: number | undefined;
  /** Of what several nodes see alike: equal for the same happening, so that it is told once. */
  readonly key?: string | undefined;
};

/** Who knows it: the log, so that all nodes tell alike, or the one node that saw it. */
export type EventAuthor = "log" | NodeId;

/** Something that happened, as it is kept and shown. */
export type ClusterEvent = {
  readonly by: EventAuthor;
  /** Of the log: which one of its entry. Of a node: counts up, also over restarts. */
  readonly sequence: number;
  /** Of the entry; of what a node saw: how far it had applied the log. */
  readonly index: number;
  /** Wall clock, ms. */
  readonly timeMs: number;
  readonly type: EventType;
  /** One of {@link eventReasons}, or what a newer daemon has. */
  readonly reason: string;
  readonly object: EventObject;
  readonly message: string;
  readonly node?: string | undefined;
  readonly revision?: number | undefined;
  readonly key?: string | undefined;
};

export const maxEventMessageLength = 1_000;

/** The event that a draft becomes. */
export function eventOf(
  { reason, object, message, node, revision, key }: EventDraft,
  place: Pick<ClusterEvent, "by" | "sequence" | "index" | "timeMs">,
): ClusterEvent {
  return {
    ...place,
    type: eventReasons[reason].type,
    reason,
    object,
    message: message.replace(/\s+/g, " ").trim().slice(0, maxEventMessageLength),
    ...(node === undefined ? {} : { node }),
    ...(revision === undefined ? {} : { revision }),
    ...(key === undefined ? {} : { key }),
  };
}

/** The same for the same happening, whoever tells of it. */
export function identityOf({ by, sequence, index, key }: ClusterEvent): string {
  return key ?? (by === "log" ? `${index}.${sequence}` : `${by}.${sequence}`);
}

/** In the order of time, then of the log. */
export function compareEvents(a: ClusterEvent, b: ClusterEvent): number {
  return (
    a.timeMs - b.timeMs || a.index - b.index || compareText(a.by, b.by) || a.sequence - b.sequence
  );
}

export const clusterObject: EventObject = { kind: "cluster", name: "cluster" };

export function serviceObject(key: ServiceKey): EventObject {
  return { kind: "service", ...splitServiceKey(key) };
}

/** Named as in the state, also after the node has gone from it where `before` still knows it. */
export function nodeObject(state: ClusterState, id: NodeId): EventObject {
  return { kind: "node", name: nodeNameIn(state, id), id };
}

/** `web.2`, or `web.n1` where a service runs once on every node. */
export function taskObject(state: ClusterState, task: Task): EventObject {
  const { namespace, name } = splitServiceKey(task.service);
  const mode = state.services.get(task.service)?.spec.mode;
  const isPerNode = mode !== undefined && runsPerNode(mode);
  const place = isPerNode ? nodeNameIn(state, task.nodeId) : task.slot;
  return { kind: "task", namespace, service: name, name: `${name}.${place}`, id: task.id };
}

export function nodeNameIn(state: ClusterState, id: NodeId): string {
  return state.nodes.get(id)?.name ?? id;
}

/** `task/shop/web.2`, `node/n1`, `cluster`. */
export function objectText({ kind, namespace, name }: EventObject): string {
  if (kind === "cluster") return kind;
  return [kind, ...(namespace === undefined ? [] : [namespace]), name].join("/");
}
