import type { NodeId, ReadableCell } from "../kernel/index.ts";

/**
 * Everything that daemons say to each other: requests, long-lived streams of frames, and
 * topics that reach all. Only admitted members are on it; `from` is authenticated.
 */
export interface PeerNetwork extends AsyncDisposable {
  readonly self: NodeId;
  /** Members with an open connection, this node not included. */
  readonly connected: ReadableCell<ReadonlySet<NodeId>>;
  /**
   * Breaks what is open to a peer that does not answer, and begins anew. After a power loss
   * the old connection would look open for minutes, and swallow what is sent.
   */
  drop(peer: NodeId): void;

  /**
   * One answer to one request, each at most 1 MiB.
   * @throws NetworkError `unreachable`, `timed_out` (also when `signal` is a timeout), `too_large`,
   *   `refused` (with the peer's code and message; `not_served` when it has no handler).
   */
  request(
    to: NodeId,
    protocol: string,
    body: Uint8Array,
    options: { readonly signal: AbortSignal },
  ): Promise<Uint8Array>;
  /** Answers requests; a `CodedError` that it throws reaches the asker as `refused`. */
  handle(
    protocol: string,
    handler: (
      from: NodeId,
      body: Uint8Array,
      options: { readonly signal: AbortSignal },
    ) => Promise<Uint8Array>,
  ): void;

  openStream(
    to: NodeId,
    protocol: string,
    options: { readonly signal: AbortSignal },
  ): Promise<PeerStream>;
  /** The stream is the handler's to close; it is aborted when the handler rejects. */
  handleStream(
    protocol: string,
    handler: (from: NodeId, stream: PeerStream) => Promise<void>,
  ): void;

  /** To every member that is connected, directly or through others; at most 16 KiB. No guarantee. */
  publish(topic: string, body: Uint8Array): Promise<void>;
  /** `from` is the author, also when another member relayed the message. */
  subscribe(topic: string, listener: (from: NodeId, body: Uint8Array) => void): void;
}

/**
 * A two-way stream of frames, each at most 4 MiB. Each side closes its own direction; a
 * reader that stops reading makes the other side's `send` wait.
 */
export interface PeerStream {
  /** Resolves when there is room for more. */
  send(frame: Uint8Array, options: { readonly signal: AbortSignal }): Promise<void>;
  /**
   * Ends when the other side closes; throws NetworkError when the stream breaks. To be read
   * by one reader, once: leaving the loop drops whatever else comes.
   */
  frames(): AsyncIterable<Uint8Array>;
  /**
   * No more frames from this side; those of the other side still come. Resolves when what was
   * sent is under way: the other side has 10 s to make room for it, or until the signal aborts.
   */
  close(options?: { readonly signal?: AbortSignal }): Promise<void>;
  abort(reason: Error): void;
}
