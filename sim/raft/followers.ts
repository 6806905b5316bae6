import { assertNever } from "../../src/kernel/index.ts";
import { Violation } from "./checker.ts";
import type { Context } from "./context.ts";
import type { Machine } from "./machine.ts";
import type { Network } from "./network.ts";

const maxFeedBytes = 400;

/**
 * Log followers: nodes that no leader sends the log, be it that they are in no configuration or
 * that they were removed and have not heard of it. They ask any other node for what is committed.
 */
export class Followers {
  readonly #context: Context;
  readonly #network: Network;
  readonly #machines: readonly Machine[];

  constructor(context: Context, network: Network, machines: readonly Machine[]) {
    this.#context = context;
    this.#network = network;
    this.#machines = machines;
    for (const machine of machines) this.#keepAsking(machine);
  }

  #keepAsking(machine: Machine): void {
    const { electionTicks } = this.#context.swarm.timing;
    this.#context.queue.after(electionTicks / 2 + this.#context.below(electionTicks), () => {
      this.#ask(machine);
      this.#keepAsking(machine);
    });
  }

  #ask(machine: Machine): void {
    const { process } = machine;
    if (process === undefined || !machine.isRunning) return;
    const { raft } = process;
    const isWithoutLog = !raft.isMember || (raft.leader === undefined && this.#context.chance(0.3));
    if (raft.role === "leader" || !isWithoutLog) return;
    const feeder = this.#context.pick(this.#machines.filter((other) => other !== machine));
    if (feeder === undefined) return;
    const index = raft.commitIndex;
    const after = { index, term: raft.termAt(index) ?? 0 };
    const label = () => `feed after ${index}.${after.term}`;
    const deliver = () => this.#feed(feeder, machine, after);
    this.#network.send(machine, feeder, { deliver, label });
  }

  #feed(
    feeder: Machine,
    to: Machine,
    after: { readonly index: number; readonly term: number },
  ): void {
    const process = feeder.process;
    if (process === undefined) return;
    const { raft } = process;
    const { term, leaderHint: leader, commitIndex } = raft;
    const read = raft.readCommitted({ after, maxBytes: maxFeedBytes });
    switch (read.kind) {
      case "diverged":
        throw new Violation(`${feeder.id} and ${to.id} committed different entries ${after.index}`);
      case "behind":
        return;
      case "compacted":
        process.loadSnapshot((snapshot) =>
          this.#send(feeder, to, `snapshot ${snapshot.meta.index}`, (receiver) =>
            receiver.takeSnapshot({ ...snapshot, term }),
          ),
        );
        return;
      case "entries": {
        const { entries } = read;
        const batch = { term, leader, previous: after, entries, commitIndex };
        this.#send(feeder, to, `${entries.length} entries after ${after.index}`, (receiver) =>
          receiver.takeCommitted(batch),
        );
        return;
      }
      default:
        assertNever(read);
    }
  }

  #send(
    feeder: Machine,
    to: Machine,
    what: string,
    take: (raft: NonNullable<Machine["process"]>["raft"]) => string,
  ): void {
    const deliver = () => {
      const { process } = to;
      if (process === undefined) return;
      const result = take(process.raft);
      this.#context.trace.line(() => `${to.id} is fed: ${result}`);
      if (result === "diverged") throw new Violation(`${to.id} diverged from ${feeder.id}`);
      process.drain();
    };
    this.#network.send(feeder, to, { deliver, label: () => `feeds ${what}` });
  }
}
