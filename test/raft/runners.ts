import { type NodeId, nodeId, silentLogger, whenCell } from "../../src/kernel/index.ts";
import { systemClock, systemRandom } from "../../src/kernel/io/system.ts";
import { memoryStreamPair } from "../../src/network/memory-stream.ts";
import {
  MemoryLogStorage,
  type PeerMessage,
  type RaftRunner,
  type RaftRunnerOptions,
  type RaftStateMachine,
  type RaftStatus,
  type RaftTransport,
  startRaft,
} from "../../src/raft/index.ts";
import { decodeFrame, encodeFrame, encodeMessage } from "../../src/raft/message-codec.ts";

type Listener = Parameters<RaftTransport["onMessages"]>[0];
type Handler = Parameters<RaftTransport["onRequest"]>[0];
type StreamHandler = Parameters<RaftTransport["onStream"]>[0];

/** A network in memory that carries what the real one carries: encoded bytes, later. */
export class MemoryNetwork {
  readonly #listeners = new Map<NodeId, Listener>();
  readonly #handlers = new Map<NodeId, Handler>();
  readonly #streamHandlers = new Map<NodeId, StreamHandler>();
  readonly #disconnected = new Map<NodeId, (from: NodeId) => void>();
  readonly down = new Set<NodeId>();
  /** The next answers to requests are lost on their way back. */
  answersToLose = 0;
  /** Whether a message does not arrive. */
  isLost: (from: NodeId, message: PeerMessage) => boolean = () => false;

  /** Nobody reaches the node any more, and all see their connection to it break. */
  disconnect(node: NodeId): void {
    this.down.add(node);
    for (const [self, listener] of this.#disconnected) if (self !== node) listener(node);
  }

  transport(self: NodeId): RaftTransport {
    const isCut = (to: NodeId) => this.down.has(self) || this.down.has(to);
    return {
      send: (to, messages) => {
        const arriving = messages.filter((message) => !this.isLost(self, message));
        const frame = encodeFrame(arriving.map(encodeMessage));
        setImmediate(() => {
          if (!isCut(to)) this.#listeners.get(to)?.(self, decodeFrame(frame));
        });
      },
      onMessages: (listener) => {
        this.#listeners.set(self, listener);
      },
      onDisconnect: (listener) => {
        this.#disconnected.set(self, listener);
      },
      request: async (to, body, { signal }) => {
        const handler = this.#handlers.get(to);
        if (handler === undefined || isCut(to)) throw new Error(`${to} is unreachable`);
        const answer = await handler(self, body, { signal });
        if (this.answersToLose > 0) {
          this.answersToLose -= 1;
          throw new Error("the answer was lost");
        }
        return answer;
      },
      onRequest: (handler) => {
        this.#handlers.set(self, handler);
      },
      openStream: async (to) => {
        const handler = this.#streamHandlers.get(to);
        if (handler === undefined || isCut(to)) throw new Error(`${to} is unreachable`);
        const pair = memoryStreamPair(self, to, async () => {
          await nextTurn();
          if (isCut(to)) pair.fail(new Error(`the link of ${self} and ${to} broke`));
        });
        handler(self, pair.answerer).catch((error: Error) => pair.answerer.abort(error));
        return pair.opener;
      },
      onStream: (handler) => {
        this.#streamHandlers.set(self, handler);
      },
    };
  }
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Keeps every applied text, so that a test sees order and repetition. */
export class TextList implements RaftStateMachine {
  texts: string[] = [];
  restores = 0;

  apply({ data }: { readonly data: Uint8Array }): void {
    this.texts.push(Buffer.from(data).toString());
  }

  snapshot(): Uint8Array {
    return Buffer.from(JSON.stringify(this.texts));
  }

  restore(snapshot: Uint8Array): void {
    this.restores += 1;
    this.texts = JSON.parse(Buffer.from(snapshot).toString());
  }
}

export type TestNode = {
  readonly id: NodeId;
  readonly storage: MemoryLogStorage;
  readonly machine: TextList;
  readonly runner: RaftRunner;
};

export const fastTiming = { tickMs: 5, heartbeatTicks: 2, electionTicks: 20 };

export async function startNode(
  network: MemoryNetwork,
  name: string,
  overrides: Partial<RaftRunnerOptions> & { readonly memory?: MemoryLogStorage } = {},
): Promise<TestNode> {
  const id = nodeId(name);
  const storage = overrides.memory ?? new MemoryLogStorage();
  const machine = new TextList();
  const { memory: _, ...options } = overrides;
  const runner = await startRaft({
    self: id,
    storage,
    stateMachine: machine,
    transport: network.transport(id),
    clock: systemClock,
    random: systemRandom,
    logger: silentLogger,
    timing: fastTiming,
    onFatal: (error) => {
      throw error;
    },
    ...options,
  });
  return { id, storage, machine, runner };
}

/** Gives up loudly instead of hanging. */
export function soon(): { readonly signal: AbortSignal } {
  return { signal: AbortSignal.timeout(8_000) };
}

export function whenStatus(node: TestNode, test: (status: RaftStatus) => boolean) {
  return whenCell(node.runner.status, test, soon());
}

/** `a` bootstraps; the others join and become voters. */
export async function startCluster(
  network: MemoryNetwork,
  names: readonly string[],
  overrides: Partial<RaftRunnerOptions> = {},
): Promise<TestNode[]> {
  const nodes: TestNode[] = [];
  for (const [position, name] of names.entries()) {
    nodes.push(await startNode(network, name, { ...overrides, bootstrap: position === 0 }));
  }
  const [first] = nodes;
  if (first === undefined) throw new Error("a cluster has nodes");
  await first.runner.barrier(soon());
  const voters = nodes.map(({ id }) => id);
  await first.runner.changeConfiguration({ voters, learners: [] }, soon());
  for (const node of nodes) {
    await whenStatus(node, (status) => status.isSettled && status.voters.length === voters.length);
  }
  return nodes;
}

export function bytesOf(text: string): Uint8Array {
  return Buffer.from(text);
}

export function leaderAmong(nodes: readonly TestNode[]): TestNode {
  const leader = nodes.find(({ id, runner }) => runner.status.get().leader === id);
  if (leader === undefined) throw new Error("nobody leads");
  return leader;
}
