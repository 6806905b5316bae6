import type { ServiceKey } from "../kernel/index.ts";
import { type EventDraft, serviceObject } from "./event.ts";

/** Why a replica is not placed, as far as it is told. */
export type PendingReplica = {
  readonly service: ServiceKey;
  readonly slot: number;
  readonly cause: "unplaceable" | "backing_off" | "waiting_for_stop" | "waiting_for_dependency";
  readonly message: string;
  readonly nodes: readonly { readonly nodeName: string; readonly code: string }[];
  readonly retryAtMs?: number;
};

/**
 * Tells, on the leader, what waits: once for each kind of refusal, not again for every
 * number in it that changes, and once for all replicas of a service that wait alike.
 */
export class PendingWatch {
  #told: ReadonlySet<string> = new Set();

  changes(pending: Iterable<PendingReplica>): readonly EventDraft[] {
    const groups = new Map<string, PendingReplica[]>();
    for (const replica of pending) {
      if (replica.cause === "waiting_for_stop") continue;
      const signature = signatureOf(replica);
      const group = groups.get(signature);
      if (group === undefined) groups.set(signature, [replica]);
      else group.push(replica);
    }
    const drafts = [...groups].flatMap(([signature, [first, ...others]]): EventDraft[] => {
      if (first === undefined || this.#told.has(signature)) return [];
      const more = others.length === 0 ? "" : ` (And ${others.length} more of the service.)`;
      const reason = first.cause === "backing_off" ? "BackingOff" : "Pending";
      return [{ reason, object: replicaObject(first), message: `${first.message}${more}` }];
    });
    this.#told = new Set(groups.keys());
    return drafts;
  }
}

function signatureOf({ service, cause, nodes, retryAtMs = 0 }: PendingReplica): string {
  const refusals = nodes.map(({ nodeName, code }) => `${nodeName}:${code}`).sort();
  return [service, cause, retryAtMs, ...refusals].join(" ");
}

/** A task that is not there yet has a name, but no id. */
function replicaObject({ service, slot }: PendingReplica): EventDraft["object"] {
  const { namespace, name } = serviceObject(service);
  return { kind: "task", namespace, service: name, name: `${name}.${slot}` };
}
