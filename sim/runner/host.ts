import { Cell, type Logger, messageOf, type NodeId, nodeId } from "../../src/kernel/index.ts";
import type { LogStorage } from "../../src/raft/index.ts";
import { type RaftRunner, type RaftStateMachine, startRaft } from "../../src/raft/index.ts";
import { Machine } from "../gossip/machine.ts";
import type { RunnerContext } from "./context.ts";
import { LogDisk } from "./log-disk.ts";
import { watchedStorage } from "./watched-storage.ts";
import { type SentEntries, watchedTransport } from "./watched-transport.ts";
import { WrittenState } from "./written-state.ts";

/** What runs on a machine from its start to its end. */
export type Life = {
  readonly machine: Machine;
  readonly state: WrittenState;
  /** How far it had applied before the present moment. */
  readonly appliedBefore: () => number;
  /** What was asked of it and is neither answered nor refused. */
  readonly asked: Set<string>;
  readonly knownHead: Cell<number>;
  readonly storage: LogStorage;
  readonly runner: RaftRunner;
};

/** Tells what is old from what happens at this very moment, in whatever order. */
class Moments {
  readonly #queue: RunnerContext["queue"];
  readonly #state: WrittenState;
  #changedAtMs = -1;
  #indexBefore = 0;

  constructor(queue: RunnerContext["queue"], state: WrittenState) {
    this.#queue = queue;
    this.#state = state;
  }

  get before(): number {
    return this.#queue.now > this.#changedAtMs ? this.#state.index : this.#indexBefore;
  }

  /** The state is about to change. */
  advance(): void {
    this.#indexBefore = this.before;
    this.#changedAtMs = this.#queue.now;
  }
}

/** A machine through all of its lives: its disk outlives its process. */
export class Host {
  readonly id: NodeId;
  readonly disk: LogDisk;
  life: Life | undefined;
  machine: Machine;
  starts = 0;
  readonly #maxWriteMs: number;
  #status: "down" | "running" | "stopping" = "down";
  readonly #context: RunnerContext;
  readonly #others: () => readonly NodeId[];
  readonly #sent: SentEntries;
  readonly #clockRate: number;

  constructor(
    context: RunnerContext,
    options: {
      readonly name: string;
      readonly clockRate: number;
      readonly others: () => readonly NodeId[];
      readonly sent: SentEntries;
      readonly maxWriteMs: number;
    },
  ) {
    const { queue, random, swarm } = context;
    const { store, segmentBytes } = swarm;
    const { maxWriteMs } = options;
    this.id = nodeId(options.name);
    this.#context = context;
    this.#others = options.others;
    this.#sent = options.sent;
    this.#clockRate = options.clockRate;
    this.#maxWriteMs = maxWriteMs;
    this.disk = new LogDisk({ queue, random, store, segmentBytes, maxWriteMs });
    this.machine = this.#newMachine();
  }

  get isDown(): boolean {
    return this.#status === "down";
  }

  /** What clients reach: a process that runs and is not held up. */
  get awake(): Life | undefined {
    return this.#status === "running" && !this.machine.isPaused ? this.life : undefined;
  }

  get isLeader(): boolean {
    return this.awake?.runner.status.get().leader === this.id;
  }

  start({ isFirst }: { readonly isFirst: boolean }): void {
    if (!this.isDown) return;
    this.#context.note(() => `${this.id} STARTS`);
    this.machine = this.#newMachine();
    this.#status = "running";
    this.starts += 1;
    this.#context.stir();
    const { machine } = this;
    this.#begin(machine, isFirst).then(
      (life) => {
        if (this.machine === machine && machine.isUp) this.life = life;
      },
      (error: unknown) => {
        if (machine.isUp) this.#context.violated(`${this.id} does not start: ${messageOf(error)}`);
      },
    );
  }

  /** The process ends without a word, or the whole machine does. */
  crash({ losesPower }: { readonly losesPower: boolean }): void {
    if (this.isDown) return;
    this.#context.note(() => `${this.id} CRASHES${losesPower ? " with its power" : ""}`);
    this.machine.isUp = false;
    this.#context.links.leave(this.machine, losesPower);
    this.disk.crash({ losesPower });
    this.life = undefined;
    this.#status = "down";
  }

  /** The process ends as it should: with everything written and closed. */
  stop(): void {
    const { life, machine } = this;
    if (this.#status !== "running" || life === undefined) return;
    this.#context.note(() => `${this.id} STOPS`);
    this.#status = "stopping";
    const close = async () => {
      await life.runner[Symbol.asyncDispose]();
      await life.storage[Symbol.asyncDispose]();
      if (!machine.isUp) return;
      this.#context.note(() => `${this.id} has stopped`);
      // All promises that its end settles are settled before the next event.
      this.#context.queue.after(0, () => {
        const [asked] = life.asked;
        if (asked !== undefined) this.#context.violated(`${this.id} has stopped without ${asked}`);
      });
      machine.isUp = false;
      this.#context.links.leave(machine, false);
      this.life = undefined;
      this.#status = "down";
    };
    machine.act(() => {
      close().catch((error: unknown) =>
        this.#context.violated(`${this.id} does not stop: ${messageOf(error)}`),
      );
    });
  }

  slowDown(maxWriteMs: number = this.#maxWriteMs): void {
    this.disk.maxWriteMs = maxWriteMs;
  }

  pause(): void {
    this.#context.note(() => `${this.id} PAUSES`);
    this.machine.isPaused = true;
  }

  goOn(): void {
    if (!this.machine.isPaused) return;
    this.#context.note(() => `${this.id} goes on`);
    this.machine.goOn();
  }

  async #begin(machine: Machine, isFirst: boolean): Promise<Life> {
    const { id: self } = this;
    const context = this.#context;
    const { links, swarm, random, queue } = context;
    const { proposalTimeoutMs, feedLimits, timing, snapshots } = swarm;
    const storage = await this.disk.open(machine);
    const state = new WrittenState(swarm.snapshotBytes);
    const { commitIndex } = storage.hardState();
    const moments = new Moments(queue, state);
    const knownHead = new Cell(0);
    const network = links.join(machine, () => true);
    const transport = links.transport(machine, network);
    const sent = this.#sent;
    const runner: RaftRunner = await startRaft({
      self,
      storage: watchedStorage({
        context,
        self,
        disk: this.disk,
        storage,
        appliedIndex: () => this.life?.runner.status.get().appliedIndex,
      }),
      stateMachine: this.#stateMachine(state, storage, () => moments.advance()),
      transport: watchedTransport({ context, self, durable: storage, sent, transport }),
      clock: machine.clock,
      random,
      logger: this.#logger(),
      timing,
      bootstrap: isFirst,
      feeders: this.#others,
      knownHead,
      snapshots,
      ...(proposalTimeoutMs === undefined ? {} : { proposalTimeoutMs }),
      ...(feedLimits === undefined ? {} : { feedLimits }),
      onFatal: (error) => {
        if (machine.isUp) context.violated(`${self} has lost its log: ${messageOf(error)}`);
      },
      nextTurn: (run) => queue.after(0, () => machine.act(run)),
    });
    const { appliedIndex } = runner.status.get();
    if (appliedIndex < commitIndex) {
      context.violated(`${self} starts with ${appliedIndex} of ${commitIndex} applied`);
    }
    this.#watch(runner);
    const appliedBefore = () => moments.before;
    return { machine, state, appliedBefore, asked: new Set(), knownHead, storage, runner };
  }

  #watch({ status }: RaftRunner): void {
    const { checker, note } = this.#context;
    let old = status.get();
    const look = () => {
      const now = status.get();
      checker.statusChanged(this.id, old, now);
      old = now;
      note(() => {
        const { leader, term, commitIndex, voters, votersOutgoing } = now;
        const outgoing = votersOutgoing.length === 0 ? "" : ` (and ${votersOutgoing.join(",")})`;
        return `${this.id} follows ${leader ?? "nobody"} in term ${term}, commit ${commitIndex}, voters ${voters.join(",")}${outgoing}`;
      });
    };
    status.subscribe(look);
    look();
  }

  /** Applies what is committed and durable here, and says so. */
  #stateMachine(state: WrittenState, log: LogStorage, onChange: () => void): RaftStateMachine {
    const { checker, violated, note } = this.#context;
    return {
      apply: ({ index, data }) => {
        if (log.lastIndex() < index) {
          violated(`${this.id} applies ${index}, and ${log.lastIndex()} is the last one on disk`);
        }
        if (index <= state.index) violated(`${this.id} applies ${index} after ${state.index}`);
        onChange();
        state.write(index, data);
        checker.applied(this.id, state, data);
      },
      snapshot: () => state.encode(),
      restore: (bytes, index) => {
        const newest = log.snapshotMeta()?.index ?? 0;
        if (newest < index) {
          violated(`${this.id} restores ${index}, and its newest snapshot is at ${newest}`);
        }
        if (index < state.index) violated(`${this.id} restores ${index} after ${state.index}`);
        onChange();
        state.restore(bytes, index);
        note(() => `${this.id} restores ${state.count} writes at ${index}`);
      },
      check: (bytes) => new WrittenState(0).restore(bytes, 0),
    };
  }

  /** What the runner logs is part of the story. */
  #logger(): Logger {
    const line = (fields: Readonly<Record<string, unknown>>, message: string) =>
      this.#context.note(() => `${this.id} says: ${message} ${JSON.stringify(fields)}`);
    const logger: Logger = {
      debug: () => undefined,
      info: line,
      warn: line,
      error: line,
      child: () => logger,
    };
    return logger;
  }

  #newMachine(): Machine {
    const { queue } = this.#context;
    const onStir = () => this.#context.stir();
    return new Machine(this.id, { queue, clockRate: this.#clockRate, onStir });
  }
}
