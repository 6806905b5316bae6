import { ClusterStore, type Command, type Outcome } from "../../src/cluster/index.ts";
import { decodeIntents, IntentDesk, IntentQueue, noIntents } from "../../src/intents/index.ts";
import { type NodeId, silentLogger, whenCell } from "../../src/kernel/index.ts";
import { systemClock, systemRandom } from "../../src/kernel/io/system.ts";
import type { RaftRunner } from "../../src/raft/index.ts";
import { MemoryNetwork, soon, startNode } from "../raft/runners.ts";

/** A node with the real log, the real state, and the changes that wait for a quorum. */
export type RingNode = {
  readonly id: NodeId;
  readonly runner: RaftRunner;
  readonly store: ClusterStore;
  readonly desk: IntentDesk;
  readonly queue: IntentQueue;
  /** What the disk held after each write. */
  readonly disk: readonly Uint8Array[];
};

/** The desk as it is after a start from what the disk held. */
export function startDesk(
  { runner, store }: Pick<RingNode, "runner" | "store">,
  from?: Uint8Array,
): Pick<RingNode, "desk" | "queue" | "disk"> {
  const disk: Uint8Array[] = [];
  const stored = from === undefined ? noIntents : decodeIntents(from);
  if (stored === undefined) throw new Error("the stored changes are readable");
  const queue = new IntentQueue(stored, (bytes) => disk.push(bytes));
  const desk = new IntentDesk({
    queue,
    state: store.state,
    log: runner.status,
    submit: (command, options) => store.submit(runner, command, options),
    clock: systemClock,
    random: systemRandom,
    logger: silentLogger,
  });
  return { desk, queue, disk };
}

/** Three voters in memory. */
export class Ring implements AsyncDisposable {
  readonly network = new MemoryNetwork();
  readonly nodes: RingNode[] = [];

  static async start(): Promise<Ring> {
    const ring = new Ring();
    for (const name of ["a", "b", "c"]) {
      const store = new ClusterStore();
      const options = { stateMachine: store, bootstrap: name === "a", proposalTimeoutMs: 1_000 };
      const { id, runner } = await startNode(ring.network, name, options);
      ring.nodes.push({ id, runner, store, ...startDesk({ runner, store }) });
    }
    const voters = ring.nodes.map(({ id }) => id);
    const [first] = ring.nodes;
    await first?.runner.barrier(soon());
    await first?.runner.changeConfiguration({ voters, learners: [] }, soon());
    for (const { runner } of ring.nodes) {
      const isMember = (status: { readonly voters: readonly NodeId[] }) =>
        status.voters.length === voters.length;
      await whenCell(runner.status, isMember, soon());
    }
    return ring;
  }

  leader(): RingNode {
    const found = this.nodes.find(({ runner, id }) => runner.status.get().leader === id);
    if (found === undefined) throw new Error("nobody leads");
    return found;
  }

  /** Any other node. */
  other(than: RingNode): RingNode {
    const found = this.nodes.find((node) => node !== than);
    if (found === undefined) throw new Error("there are others");
    return found;
  }

  /** Some node that does not lead. */
  follower(): RingNode {
    return this.other(this.leader());
  }

  /** Power goes on all machines but one. */
  cutOthers(node: RingNode): void {
    for (const { id } of this.nodes) if (id !== node.id) this.network.down.add(id);
  }

  /** One is cut off and knows it; the others go on. */
  async isolate(node: RingNode): Promise<void> {
    this.network.down.add(node.id);
    await whenCell(node.runner.status, ({ hasQuorum }) => !hasQuorum, soon());
  }

  async heal(node: RingNode): Promise<void> {
    this.network.down.clear();
    await whenCell(node.runner.status, ({ hasQuorum }) => hasQuorum, soon());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { desk, runner } of this.nodes) {
      await desk[Symbol.asyncDispose]();
      await runner[Symbol.asyncDispose]();
    }
  }
}

export async function submit(node: RingNode, command: Command): Promise<Outcome> {
  return await node.store.submit(node.runner, command, soon());
}

/** Nothing waits any more, or for a person only. */
export async function settled({ queue }: Pick<RingNode, "queue">): Promise<void> {
  await whenCell(queue.intents, () => queue.next() === undefined, soon());
}
