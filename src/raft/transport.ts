import type { NodeId } from "../kernel/index.ts";
import type { PeerStream } from "../network/index.ts";
import type { PeerMessage } from "./message.ts";

/** How the runner reaches its peers. */
export interface RaftTransport {
  /** Best effort: messages may be lost, repeated or late. Never waits and never throws. */
  send(to: NodeId, messages: readonly PeerMessage[]): void;
  /** Where messages of peers go. Called once, before anything is sent. */
  onMessages(listener: (from: NodeId, messages: readonly PeerMessage[]) => void): void;
  /** Who is told when the connection to a peer is gone. Called once. */
  onDisconnect(listener: (from: NodeId) => void): void;
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
  /** A stream on which a peer feeds this node; rejects when the peer cannot be reached. */
  openStream(to: NodeId, options: { readonly signal: AbortSignal }): Promise<PeerStream>;
  /** Who feeds the peers that open a stream. Called once; the stream is the handler's to close. */
  onStream(handler: (from: NodeId, stream: PeerStream) => Promise<void>): void;
}

/** What the log needs of whoever applies its entries. All synchronous. */
export interface RaftStateMachine {
  /** In order, each index at most once. Must not throw for bad input. */
  apply(entry: { readonly index: number; readonly data: Uint8Array }): void;
  snapshot(): Uint8Array;
  restore(snapshot: Uint8Array, index: number): void;
  /** Throws where `restore` would: another node's snapshot is looked at before it is kept. */
  check?(snapshot: Uint8Array): void;
}
