import { type Gossip, type GossipTiming, startGossip } from "../../src/gossip/index.ts";
import { encode } from "../../src/gossip/message.ts";
import { signedBytes } from "../../src/gossip/record-table.ts";
import {
  Cell,
  type NodeId,
  nodeId,
  type Random,
  randomBelow,
  silentLogger,
} from "../../src/kernel/index.ts";
import type { PeerNetwork } from "../../src/network/index.ts";
import { VirtualTime } from "../virtual-time.ts";
import { Machine } from "./machine.ts";
import { SimNetwork, type Weather } from "./network.ts";
import { simSigner } from "./signer.ts";

type Change = { readonly kind: "add" | "remove"; readonly node: NodeId };

/** A node through all of its lives. */
export class SimNode {
  readonly id: NodeId;
  readonly clockRate: number;
  /** What its disk keeps. */
  incarnation = 0;
  /** How much of what was agreed it has taken over. */
  applied = 0;
  /** How it ended, while it does not run. */
  state: "running" | "crashed" | "left" = "crashed";
  /** Incarnations below were used by an earlier life of the same disk. */
  usedIncarnation = 0;
  machine: Machine | undefined;
  gossip: Gossip | undefined;
  network: PeerNetwork | undefined;
  admitted = new Cell<ReadonlySet<NodeId>>(new Set());
  records = 0;

  constructor(id: NodeId, clockRate: number) {
    this.id = id;
    this.clockRate = clockRate;
  }
}

export type ClusterOptions = {
  readonly random: Random;
  readonly timing: GossipTiming;
  readonly weather: Weather;
  readonly clockSkew: number;
  readonly maxLagMs: number;
  /** Called when a node's gossip has begun, before anything is heard. */
  readonly onStart?: (node: SimNode, gossip: Gossip) => void;
  readonly note?: (text: () => string) => void;
};

/** Production gossip of many nodes in virtual time, and what can be done to them. */
export class GossipCluster extends VirtualTime {
  readonly network: SimNetwork;
  readonly nodes = new Map<NodeId, SimNode>();
  checkedSignatures = 0;
  readonly #options: ClusterOptions;
  /** Who was admitted and removed, in the order of the log. */
  readonly #log: Change[] = [];
  readonly #admittedAt: ReadonlySet<NodeId>[] = [new Set()];

  constructor(options: ClusterOptions) {
    super();
    this.#options = options;
    const note = options.note ?? (() => undefined);
    this.network = new SimNetwork({ ...options, queue: this.queue, note });
  }

  /** Whom the agreed state admits. */
  get admitted(): ReadonlySet<NodeId> {
    return this.#admittedAt.at(-1) ?? new Set();
  }

  get running(): readonly SimNode[] {
    return [...this.nodes.values()].filter(({ state }) => state === "running");
  }

  /** A member that the agreed state admits from now on. It does not run yet. */
  admit(name: string): SimNode {
    const id = nodeId(name);
    const { random, clockSkew } = this.#options;
    const rate = 1 + clockSkew * (2 * random.next() - 1);
    const node = this.nodes.get(id) ?? new SimNode(id, rate);
    this.nodes.set(id, node);
    this.#agree({ kind: "add", node: id });
    return node;
  }

  remove(node: SimNode): void {
    this.#agree({ kind: "remove", node: node.id });
  }

  start(node: SimNode): void {
    const { random, timing, onStart } = this.#options;
    const machine = new Machine(node.id, {
      queue: this.queue,
      clockRate: node.clockRate,
      onStir: () => {
        this.stir();
      },
    });
    const admitted = new Cell(this.#seenBy(node));
    const admits = (id: NodeId) => admitted.get().has(id);
    const network = this.network.join(machine, admits);
    Object.assign(node, { machine, admitted, network, state: "running", gossip: undefined });
    this.stir();
    const incarnation = {
      load: () => node.incarnation,
      save: (value: number) => {
        node.incarnation = value;
      },
    };
    const { clock } = machine;
    void startGossip({
      network,
      signer: simSigner(node.id, {
        onVerify: () => {
          this.checkedSignatures += 1;
        },
      }),
      admitted,
      incarnation,
      clock,
      random,
      logger: silentLogger,
      timing,
    }).then(
      (gossip) => {
        node.gossip = gossip;
        onStart?.(node, gossip);
        this.publish(node);
      },
      (error: unknown) => this.violated(`${node.id} does not start: ${String(error)}`),
    );
    this.queue.after(this.#lagMs(), () => this.#learn(node, this.#log.length));
  }

  /** Ends a node's process without a word, or the whole machine. */
  crash(node: SimNode, { isDark = false }: { readonly isDark?: boolean } = {}): void {
    if (node.machine !== undefined) node.machine.isUp = false;
    this.network.leave(node.id, isDark);
    Object.assign(node, { state: "crashed", machine: undefined, gossip: undefined });
  }

  /** Says goodbye, and ends a moment later. */
  leave(node: SimNode): void {
    const { machine } = node;
    machine?.act(() => void node.gossip?.leave());
    this.queue.after(200, () => {
      if (node.machine !== machine) return;
      this.crash(node);
      node.state = "left";
    });
  }

  publish(node: SimNode): void {
    node.records += 1;
    const body = Buffer.from(`${node.id} ${node.records}`);
    node.machine?.act(() => node.gossip?.publish(body));
  }

  /** In an exchange, with the liar's own signature under it: the victim's it cannot make. */
  forge(
    liar: SimNode,
    { victim, fool }: { readonly victim: SimNode; readonly fool: SimNode },
  ): void {
    const epoch = victim.usedIncarnation + 1;
    const unsigned = { owner: victim.id, epoch, version: 1, body: Buffer.from("forged") };
    const signature = simSigner(liar.id).sign(signedBytes(unsigned));
    const body = encode({ claims: [], digest: [], records: [{ ...unsigned, signature }] });
    const { signal } = new AbortController();
    liar.machine?.act(() => {
      liar.network?.request(fool.id, "/skein/sync/1", body, { signal }).catch(() => undefined);
    });
  }

  /** Everybody learns all that was agreed, by now. */
  tellAll(): void {
    for (const node of this.nodes.values()) this.#learn(node, this.#log.length);
  }

  #agree(change: Change): void {
    const next = new Set(this.admitted);
    if (change.kind === "add") next.add(change.node);
    else next.delete(change.node);
    this.#log.push(change);
    this.#admittedAt.push(next);
    const index = this.#log.length;
    for (const node of this.nodes.values()) {
      this.queue.after(this.#lagMs(), () => this.#learn(node, index));
    }
  }

  /** Entries come in order; several may come at once. */
  #learn(node: SimNode, index: number): void {
    const { machine } = node;
    if (machine === undefined) return;
    machine.act(() => {
      if (index <= node.applied) return;
      node.applied = index;
      const next = this.#seenBy(node);
      if (next.symmetricDifference(node.admitted.get()).size === 0) return;
      node.admitted.set(next);
      this.network.admissionChanged(node.id);
    });
  }

  /** Before the first entry arrives, only those are known that were there at the join. */
  #seenBy(node: SimNode): ReadonlySet<NodeId> {
    if (node.applied > 0) return this.#admittedAt[node.applied] ?? new Set();
    return new Set([node.id, ...[...this.admitted].slice(0, 3)]);
  }

  #lagMs(): number {
    return randomBelow(this.#options.random, this.#options.maxLagMs);
  }
}
