import type { NodeId } from "../kernel/index.ts";
import type { PeerMessage } from "./message.ts";

/** How the runner reaches its peers. */
export interface RaftTransport {
  /** Best effort: messages may be lost, repeated or late. Never waits and never throws. */
  send(to: NodeId, messages: readonly PeerMessage[]): void;
  /** Where messages of peers go. Called once, before anything is sent. */
  onMessages(listener: (from: NodeId, messages: readonly PeerMessage[]) => void): void;
  /** One answer to one request; rejects when the peer cannot be reached or refuses. */
  request(
    to: NodeId,
    body: Uint8Array,
    options: { readonly signal: AbortSignal },
  ): Promise<Uint8Array>;
  /** Who answers the requests of peers. Called once. */
  onRequest(
    handler: (
      from: NodeId,
      body: Uint8Array,
      options: { readonly signal: AbortSignal },
    ) => Promise<Uint8Array>,
  ): void;
}

/** What the log needs of whoever applies its entries. All synchronous. */
export interface RaftStateMachine {
  /** In order, each index at most once. Must not throw for bad input. */
  apply(entry: { readonly index: number; readonly data: Uint8Array }): void;
  snapshot(): Uint8Array;
  restore(snapshot: Uint8Array, index: number): void;
}
