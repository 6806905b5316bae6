import { Cell, type Clock, codeOf, messageOf, type NodeId } from "../kernel/index.ts";
import { NetworkError } from "./errors.ts";
import { interruption, orInterrupted } from "./interruption.ts";
import { checkSize, maxBodyBytes, maxMessageBytes } from "./limits.ts";
import { type MemoryStreamPair, memoryStreamPair } from "./memory-stream.ts";
import type { PeerNetwork, PeerStream } from "./peer-network.ts";

/** How long things are under way. Without it they arrive in the next microtasks. */
export type MemoryLatency = {
  readonly clock: Clock;
  readonly delayMs: (from: NodeId, to: NodeId) => number;
};

/** Nodes in one process that talk like daemons do, for tests and the simulator. */
export interface MemoryNetwork {
  /** A node that is connected to all others at once. Disposing its network is its death. */
  join(node: NodeId): PeerNetwork;
  /** Breaks what is open between two nodes and keeps them apart until {@link heal}. */
  cut(a: NodeId, b: NodeId): void;
  heal(a: NodeId, b: NodeId): void;
}

/** Nodes that can reach each other until they are cut apart. */
export function createMemoryNetwork(latency?: MemoryLatency): MemoryNetwork {
  const hub = new Hub(latency);
  return {
    join: (node) => hub.join(node),
    cut: (a, b) => hub.cut(a, b),
    heal: (a, b) => hub.heal(a, b),
  };
}

/** Something between two nodes that breaks with their link. */
type Traffic = {
  readonly between: ReadonlySet<NodeId>;
  readonly fail: (failure: Error) => void;
};

class Hub {
  readonly nodes = new Map<NodeId, MemoryNode>();
  readonly #cuts = new Set<string>();
  readonly #traffic = new Set<Traffic>();
  readonly #latency: MemoryLatency | undefined;
  readonly #never = new AbortController();

  constructor(latency: MemoryLatency | undefined) {
    this.#latency = latency;
  }

  join(id: NodeId): PeerNetwork {
    if (this.nodes.has(id)) throw new Error(`Node ${id} is on this network already.`);
    const node = new MemoryNode(id, this);
    this.nodes.set(id, node);
    this.#refresh();
    return node;
  }

  leave(id: NodeId): void {
    this.nodes.delete(id);
    this.#failTraffic((between) => between.has(id));
    this.#refresh();
  }

  cut(a: NodeId, b: NodeId): void {
    this.#cuts.add(linkName(a, b));
    this.#failTraffic((between) => between.has(a) && between.has(b));
    this.#refresh();
  }

  /** Breaks what is open between two nodes; they may begin anew at once. */
  drop(a: NodeId, b: NodeId): void {
    this.#failTraffic((between) => between.has(a) && between.has(b));
  }

  heal(a: NodeId, b: NodeId): void {
    this.#cuts.delete(linkName(a, b));
    this.#refresh();
  }

  /** The node, where a link leads there. @throws NetworkError `unreachable` */
  reach(from: NodeId, to: NodeId): MemoryNode {
    const node = this.nodes.get(to);
    if (node === undefined || !this.nodes.has(from) || !this.isLinked(from, to)) {
      throw new NetworkError("unreachable", `Node ${to} cannot be reached from node ${from}.`);
    }
    return node;
  }

  isLinked(a: NodeId, b: NodeId): boolean {
    return a !== b && !this.#cuts.has(linkName(a, b));
  }

  transit(from: NodeId, to: NodeId): Promise<void> {
    const delayMs = this.#latency?.delayMs(from, to) ?? 0;
    if (this.#latency === undefined || delayMs <= 0) return Promise.resolve();
    return this.#latency.clock.sleep(delayMs, { signal: this.#never.signal });
  }

  /** The work's result, or a failure as soon as the link between the two is gone. */
  async overLink<T>(from: NodeId, to: NodeId, work: Promise<T>): Promise<T> {
    const { promise, reject } = Promise.withResolvers<never>();
    const stop = this.track({ between: new Set([from, to]), fail: reject });
    work.catch(() => undefined);
    return await Promise.race([work, promise]).finally(stop);
  }

  track(traffic: Traffic): () => void {
    this.#traffic.add(traffic);
    return () => {
      this.#traffic.delete(traffic);
    };
  }

  #failTraffic(isHit: (between: ReadonlySet<NodeId>) => boolean): void {
    for (const traffic of [...this.#traffic]) {
      if (!isHit(traffic.between)) continue;
      this.#traffic.delete(traffic);
      const names = [...traffic.between].join(" and ");
      traffic.fail(new NetworkError("unreachable", `The connection between ${names} broke.`));
    }
  }

  #refresh(): void {
    for (const node of this.nodes.values()) node.refresh();
  }
}

function linkName(a: NodeId, b: NodeId): string {
  return [a, b].sort().join(" ");
}

type Handler = Parameters<PeerNetwork["handle"]>[1];
type StreamHandler = Parameters<PeerNetwork["handleStream"]>[1];
type Listener = Parameters<PeerNetwork["subscribe"]>[1];

class MemoryNode implements PeerNetwork {
  readonly self: NodeId;
  readonly connected = new Cell<ReadonlySet<NodeId>>(new Set());
  readonly handlers = new Map<string, Handler>();
  readonly streamHandlers = new Map<string, StreamHandler>();
  readonly listeners = new Map<string, Listener[]>();
  readonly #hub: Hub;
  readonly #stop = new AbortController();

  constructor(self: NodeId, hub: Hub) {
    this.self = self;
    this.#hub = hub;
  }

  drop(peer: NodeId): void {
    this.#hub.drop(this.self, peer);
  }

  handle(protocol: string, handler: Handler): void {
    this.handlers.set(protocol, handler);
  }

  handleStream(protocol: string, handler: StreamHandler): void {
    this.streamHandlers.set(protocol, handler);
  }

  subscribe(topic: string, listener: Listener): void {
    this.listeners.set(topic, [...(this.listeners.get(topic) ?? []), listener]);
  }

  async request(
    to: NodeId,
    protocol: string,
    body: Uint8Array,
    { signal }: { readonly signal: AbortSignal },
  ): Promise<Uint8Array> {
    checkSize(body, { what: "request", maxBytes: maxBodyBytes });
    if (signal.aborted) throw interruption(signal, to);
    const node = this.#hub.reach(this.self, to);
    const exchange = async (): Promise<Uint8Array> => {
      await this.#hub.transit(this.self, to);
      const answer = await node.answer(this.self, protocol, body.slice());
      await this.#hub.transit(to, this.self);
      return answer;
    };
    const work = this.#hub.overLink(this.self, to, exchange());
    return await orInterrupted(work, { signal, peer: to });
  }

  async answer(from: NodeId, protocol: string, body: Uint8Array): Promise<Uint8Array> {
    const handler = this.handlers.get(protocol);
    if (handler === undefined) throw notServed(this.self, protocol);
    try {
      const answer = await handler(from, body, { signal: this.#stop.signal });
      checkSize(answer, { what: "response", maxBytes: maxBodyBytes });
      return answer.slice();
    } catch (error) {
      const remoteCode = codeOf(error) ?? "failed";
      throw new NetworkError("refused", messageOf(error), { remoteCode });
    }
  }

  async openStream(
    to: NodeId,
    protocol: string,
    { signal }: { readonly signal: AbortSignal },
  ): Promise<PeerStream> {
    if (signal.aborted) throw interruption(signal, to);
    const node = this.#hub.reach(this.self, to);
    const handler = node.streamHandlers.get(protocol);
    if (handler === undefined) throw notServed(to, protocol);
    const pair = memoryStreamPair(this.self, to, (from, until) => this.#hub.transit(from, until));
    const forget = this.#hub.track({ between: new Set([this.self, to]), fail: pair.fail });
    const opening = this.#hub.transit(this.self, to).then(() => {
      void node.serve(this.self, handler, pair).finally(forget);
    });
    await orInterrupted(this.#hub.overLink(this.self, to, opening), { signal, peer: to });
    return pair.opener;
  }

  async serve(from: NodeId, handler: StreamHandler, pair: MemoryStreamPair): Promise<void> {
    try {
      await handler(from, pair.answerer);
    } catch (error) {
      pair.answerer.abort(error instanceof Error ? error : new Error(messageOf(error)));
    }
  }

  publish(topic: string, body: Uint8Array): Promise<void> {
    try {
      checkSize(body, { what: "message", maxBytes: maxMessageBytes });
    } catch (error) {
      return Promise.reject(error);
    }
    const seen = new Set([this.self]);
    if (!this.#stop.signal.aborted) this.#relay(this, topic, body.slice(), seen);
    return Promise.resolve();
  }

  refresh(): void {
    const linked = [...this.#hub.nodes.keys()].filter((id) => this.#hub.isLinked(this.self, id));
    const before = this.connected.get();
    if (linked.length === before.size && linked.every((id) => before.has(id))) return;
    this.connected.set(new Set(linked));
  }

  [Symbol.asyncDispose](): Promise<void> {
    if (!this.#stop.signal.aborted) {
      this.#stop.abort(new Error("The network was closed."));
      this.#hub.leave(this.self);
      this.connected.set(new Set());
    }
    return Promise.resolve();
  }

  /** Floods: every node hands a message that is new to it on to those it is linked with. */
  #relay(author: MemoryNode, topic: string, body: Uint8Array, seen: Set<NodeId>): void {
    for (const id of this.connected.get()) {
      if (seen.has(id)) continue;
      const node = this.#hub.nodes.get(id);
      void this.#hub.transit(this.self, id).then(() => {
        if (node === undefined || seen.has(id) || node.#stop.signal.aborted) return;
        if (!this.#hub.isLinked(this.self, id)) return;
        seen.add(id);
        for (const listener of node.listeners.get(topic) ?? []) listener(author.self, body);
        node.#relay(author, topic, body, seen);
      });
    }
  }
}

function notServed(node: NodeId, protocol: string): NetworkError {
  return new NetworkError("refused", `Node ${node} does not serve ${protocol}.`, {
    remoteCode: "not_served",
  });
}
