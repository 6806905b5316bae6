import { encodeProposal } from "../../src/raft/proposal.ts";
import { Violation } from "./checker.ts";
import type { Context } from "./context.ts";
import { checkRegister, type Operation } from "./linearizability.ts";
import type { Machine } from "./machine.ts";
import type { Network } from "./network.ts";
import type { Process } from "./process.ts";
import { encodeWrite } from "./register-machine.ts";

/** Once healed, clients leave room for members that get one entry a round trip to catch up. */
const restTicks = 100;

type Call = {
  readonly kind: "write" | "read";
  readonly id: string;
  readonly key: number;
  value: number;
  readonly begin: number;
  end: number | undefined;
  isOver: boolean;
  readonly whenOver: () => void;
  /** What was committed anywhere when it began: a read must not answer less. */
  readonly began: number;
};

/**
 * Clients that write and read registers through any node, one call at a time each. A call that
 * gets no answer is sent again under the same id, perhaps through another node, until the
 * client's patience ends; then nobody knows whether it took effect.
 */
export class Clients {
  readonly #context: Context;
  readonly #network: Network;
  readonly #machines: readonly Machine[];
  readonly #history: Call[] = [];
  #count = 0;
  reads = 0;

  constructor(context: Context, network: Network, machines: readonly Machine[]) {
    this.#context = context;
    this.#network = network;
    this.#machines = machines;
    for (let client = 0; client < context.swarm.clients; client += 1) this.#think();
    if (context.swarm.noiseRate > 0) this.#makeNoise();
  }

  /** Begins a write and a read now; says when both are answered. */
  begin(): { readonly isAnswered: () => boolean } {
    const calls = [this.#newCall("write"), this.#newCall("read")];
    for (const call of calls) this.#attempt(call, undefined);
    return { isAnswered: () => calls.every(({ end }) => end !== undefined) };
  }

  /** A read that a client sends to this very node. */
  readFrom(machine: Machine): void {
    const call = this.#newCall("read");
    this.#attempt(call, machine);
  }

  /** At the end: each register's history must be explainable. Gives the undecided ones. */
  checkHistory(): number {
    let undecided = 0;
    for (let key = 0; key < this.#context.swarm.keys; key += 1) {
      const verdict = checkRegister(this.#operationsOf(key));
      if (verdict === "not_linearizable") {
        throw new Violation(`not linearizable: register ${key}\n${this.#describe(key)}`);
      }
      if (verdict === "undecided") undecided += 1;
    }
    return undecided;
  }

  #operationsOf(key: number): readonly Operation[] {
    return this.#history
      .filter((call) => call.key === key && (call.kind === "write" || call.end !== undefined))
      .map(({ kind, value, begin, end }) => ({ kind, value, begin, end }));
  }

  #describe(key: number): string {
    const lines = this.#operationsOf(key).map(
      ({ kind, value, begin, end }) =>
        `  ${begin.toFixed(1)} to ${end?.toFixed(1) ?? "?"}: ${kind} ${value}`,
    );
    return lines.join("\n");
  }

  #think(): void {
    const { isFaulty, swarm, queue } = this.#context;
    const rest = isFaulty ? 0 : restTicks;
    queue.after(1 + rest + this.#context.below(swarm.maxThinking), () => {
      const kind = this.#context.chance(0.5) ? "write" : "read";
      this.#attempt(
        this.#newCall(kind, () => this.#think()),
        undefined,
      );
    });
  }

  /** Fills logs, of leaders too that are none any more, with what need never be committed. */
  #makeNoise(): void {
    const { swarm, queue, random } = this.#context;
    queue.after(-Math.log(1 - random.next()) / swarm.noiseRate, () => {
      if (!this.#context.isFaulty) return;
      const leader = this.#context.pick(this.#machines.filter(({ isLeader }) => isLeader));
      this.#count += 1;
      const id = `noise-${this.#count}`;
      const data = encodeWrite(swarm.keys, this.#count);
      leader?.process?.propose(id, encodeProposal({ id, data }));
      this.#makeNoise();
    });
  }

  #newCall(kind: "write" | "read", whenOver: () => void = () => undefined): Call {
    this.#count += 1;
    const call: Call = {
      kind,
      id: `call-${this.#count}`,
      key: this.#context.below(this.#context.swarm.keys),
      value: kind === "write" ? this.#count : 0,
      begin: this.#context.queue.now,
      end: undefined,
      isOver: false,
      whenOver,
      began: this.#context.checker.highestCommit,
    };
    this.#history.push(call);
    this.#context.trace.line(() => {
      const what = kind === "write" ? `write ${call.value} to` : "read";
      return `client: ${call.id}: ${what} register ${call.key}`;
    });
    return call;
  }

  /** Tries through one node, and later again. */
  #attempt(call: Call, through: Machine | undefined): void {
    const { isFaulty, queue, swarm } = this.#context;
    if (call.isOver) return;
    // Once healed, somebody must answer: that is what is waited for then.
    if (isFaulty && queue.now - call.begin >= swarm.patienceTicks) {
      call.isOver = true;
      call.whenOver();
      return;
    }
    const machine = through ?? this.#pickNode();
    machine?.whenRunning(() => {
      if (machine.process === undefined || call.isOver) return;
      if (call.kind === "write") this.#write(call, machine, machine.process);
      else this.#read(call, machine, machine.process);
    });
    // Mostly the node that a client knows, sometimes another.
    const next = this.#context.chance(0.5) ? machine : undefined;
    const rest = isFaulty ? 0 : restTicks;
    queue.after(1 + swarm.retryTicks + rest, () => this.#attempt(call, next));
  }

  #pickNode(): Machine | undefined {
    const asksLeader = this.#context.chance(this.#context.swarm.asksLeaderRate);
    const leaders = asksLeader ? this.#machines.filter(({ isLeader }) => isLeader) : [];
    return (
      this.#context.pick(leaders) ?? this.#context.pick(this.#machines.filter(({ isUp }) => isUp))
    );
  }

  #write(call: Call, machine: Machine, process: Process): void {
    const { id, key, value } = call;
    const data = encodeProposal({ id, data: encodeWrite(key, value) });
    process.whenApplied(id, (index) => {
      if (call.isOver) return;
      this.#context.checker.acknowledge(machine.id, id, index);
      this.#finish(call, machine);
    });
    this.#atLeader(machine, process, `proposal ${id}`, (_, leader) => leader.propose(id, data));
  }

  #read(call: Call, machine: Machine, process: Process): void {
    const { checker, bug } = this.#context;
    if (bug?.driver === "answers_from_own_state") {
      this.#answerRead(call, machine, process);
      return;
    }
    this.#atLeader(machine, process, `read ${call.id}`, (leaderMachine, leader) =>
      leader.readIndex((index) => {
        const began = call.began;
        checker.checkRead(leaderMachine.id, { index, began });
        const answer = () => {
          if (machine.process !== process) return;
          process.whenIndexApplied(index, () => this.#answerRead(call, machine, process));
        };
        if (leaderMachine === machine) answer();
        else {
          const label = () => `index ${index} for ${call.id}`;
          this.#network.send(leaderMachine, machine, { deliver: answer, label });
        }
      }),
    );
  }

  #answerRead(call: Call, machine: Machine, process: Process): void {
    if (call.isOver) return;
    this.reads += 1;
    call.value = process.registers.valueOf(call.key);
    this.#finish(call, machine);
  }

  /** Does something at the leader that this node knows: here, or after a message. */
  #atLeader(
    machine: Machine,
    process: Process,
    what: string,
    act: (machine: Machine, process: Process) => void,
  ): void {
    const { leader } = process.raft;
    if (leader === undefined) return;
    if (leader === machine.id) {
      act(machine, process);
      return;
    }
    const target = this.#machines.find(({ id }) => id === leader);
    if (target === undefined) return;
    const deliver = () => {
      if (target.process !== undefined) act(target, target.process);
    };
    this.#network.send(machine, target, { deliver, label: () => what });
  }

  #finish(call: Call, machine: Machine): void {
    call.isOver = true;
    call.end = this.#context.queue.now;
    this.#context.trace.line(() => {
      const result = call.kind === "read" ? `reads ${call.value}` : "is written";
      return `client: ${call.id}: ${result}, says ${machine.id}`;
    });
    call.whenOver();
  }
}
