/**
 * Branded identifiers: strings that cannot be exchanged for each other.
 * The casts here are the only ones; everything else receives ids ready-made.
 */

declare const brand: unique symbol;
type Brand<Name extends string> = string & { readonly [brand]: Name };

/** A machine's identity: the libp2p peer id of its Ed25519 key, e.g. `12D3KooW…`. */
export type NodeId = Brand<"NodeId">;

/** One copy of one revision of a service on one node. Lower-case base32, 12 characters. */
export type TaskId = Brand<"TaskId">;

/** `namespace/name` of a service; unique in the cluster. */
export type ServiceKey = Brand<"ServiceKey">;

export function nodeId(text: string): NodeId {
  return text as NodeId;
}

export function taskId(text: string): TaskId {
  return text as TaskId;
}

export function serviceKey(namespace: string, name: string): ServiceKey {
  return `${namespace}/${name}` as ServiceKey;
}

/** The two halves of a service key. */
export function splitServiceKey(key: ServiceKey): {
  readonly namespace: string;
  readonly name: string;
} {
  const slash = key.indexOf("/");
  return { namespace: key.slice(0, slash), name: key.slice(slash + 1) };
}
