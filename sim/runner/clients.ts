import { codeOf, messageOf, randomBelow } from "../../src/kernel/index.ts";
import { checkRegister, type Operation } from "../raft/linearizability.ts";
import { encodeWrite, maxKeys } from "../raft/register-machine.ts";
import type { RunnerContext } from "./context.ts";
import type { Host, Life } from "./host.ts";
import { idOf } from "./written-state.ts";

/** Nobody reads what is written here only to make the log longer. */
const noiseKey = maxKeys - 1;

type Call = {
  readonly kind: "write" | "read";
  readonly key: number;
  value: number;
  readonly begin: number;
  end: number | undefined;
  isOver: boolean;
  /** Of what anybody had applied when it began: a read must cover it. */
  readonly beganIndex: number;
  readonly whenOver: () => void;
};

/**
 * Clients that write and read registers through any node, one call at a time each. A write that
 * is not answered is made again under its name, perhaps through another node, until the client's
 * patience ends; then nobody knows whether it took effect.
 */
export class Clients {
  readonly #context: RunnerContext;
  readonly #hosts: readonly Host[];
  readonly #calls: Call[] = [];
  #isFaulty = true;
  #values = 0;
  #attempts = 0;
  answered = 0;

  constructor(context: RunnerContext, hosts: readonly Host[]) {
    this.#context = context;
    this.#hosts = hosts;
  }

  begin(): void {
    for (let client = 0; client < this.#context.swarm.clients; client += 1) this.#think();
    if (this.#context.swarm.noiseGapMs !== undefined) this.#makeNoise();
  }

  /** From here on nobody begins anything new, and what is under way must be answered. */
  end(): void {
    this.#isFaulty = false;
  }

  /** What is not answered yet; undefined when all is. */
  get unanswered(): string | undefined {
    for (const { life } of this.#hosts) {
      const [asked] = life?.asked ?? [];
      if (asked !== undefined) return `${asked} is neither answered nor refused`;
    }
    const call = this.#calls.find(({ isOver }) => !isOver);
    return call === undefined ? undefined : `a ${call.kind} is not answered`;
  }

  /** A fresh write and a fresh read through each node; says when they are answered. */
  askAll(): { readonly missing: () => string | undefined } {
    const calls = this.#hosts.flatMap((host) =>
      (["write", "read"] as const).map((kind) => {
        const call = this.#newCall(kind);
        this.#attempt(call, host);
        return { host, call };
      }),
    );
    return {
      missing: () => {
        const open = calls.find(({ call }) => call.end === undefined);
        return open && `a fresh ${open.call.kind} through ${open.host.id} is not answered`;
      },
    };
  }

  /** Whether what clients saw can be explained; gives what cannot. */
  problem(): string | undefined {
    for (let key = 0; key < this.#context.swarm.keys; key += 1) {
      const operations = this.#calls
        .filter((call) => call.key === key && (call.kind === "write" || call.end !== undefined))
        .map(({ kind, value, begin, end }): Operation => ({ kind, value, begin, end }));
      if (checkRegister(operations) !== "not_linearizable") continue;
      const lines = operations.map(
        ({ kind, value, begin, end }) =>
          `  ${begin.toFixed(1)} to ${end?.toFixed(1) ?? "?"}: ${kind} ${value}`,
      );
      return `register ${key} is not linearizable\n${lines.join("\n")}`;
    }
    return undefined;
  }

  #think(): void {
    const { queue, random, swarm } = this.#context;
    queue.after(1 + random.next() * swarm.maxThinkMs, () => {
      if (!this.#isFaulty) return;
      const kind = random.next() < 0.6 ? "write" : "read";
      this.#attempt(this.#newCall(kind, () => this.#think()));
    });
  }

  #makeNoise(): void {
    const { queue, random, swarm } = this.#context;
    queue.after(2 * random.next() * (swarm.noiseGapMs ?? 0), () => {
      if (!this.#isFaulty) return;
      const host = this.#pick();
      const life = host?.awake;
      this.#values += 1;
      const value = this.#values;
      if (host !== undefined && life !== undefined) {
        life.machine.act(() => void this.#write({ key: noiseKey, value }, host, life));
      }
      this.#makeNoise();
    });
  }

  #newCall(kind: "write" | "read", whenOver: () => void = () => undefined): Call {
    const { random, swarm, queue, checker } = this.#context;
    if (kind === "write") this.#values += 1;
    const call: Call = {
      kind,
      key: randomBelow(random, swarm.keys),
      value: kind === "write" ? this.#values : 0,
      begin: queue.now,
      end: undefined,
      isOver: false,
      beganIndex: checker.lastIndex,
      whenOver,
    };
    this.#calls.push(call);
    return call;
  }

  /** Tries through one node, and later again through any. */
  #attempt(call: Call, through: Host | undefined = this.#pick()): void {
    const { queue, swarm, random } = this.#context;
    if (call.isOver) return;
    if (this.#isFaulty && queue.now - call.begin >= swarm.patienceMs) {
      this.#finish(call);
      return;
    }
    const abort = new AbortController();
    const life = through?.awake;
    if (through !== undefined && life !== undefined) {
      life.machine.act(() => {
        if (call.kind === "write") void this.#writeFor(call, through, life, abort.signal);
        else void this.#read(call, through, life, abort.signal);
      });
    }
    queue.after(swarm.retryMs * (0.5 + random.next()), () => {
      if (call.isOver) return;
      const isTold = random.next() < swarm.abortRate;
      if (isTold) life?.machine.act(() => abort.abort(new Error("The client gave up.")));
      this.#attempt(call, random.next() < 0.3 ? through : this.#pick());
    });
  }

  async #writeFor(call: Call, host: Host, life: Life, signal: AbortSignal): Promise<void> {
    const isDone = await this.#write(call, host, life, signal);
    if (isDone && !call.isOver) this.#finish(call, this.#context.queue.now);
  }

  /** Whether it is applied. */
  async #write(
    { key, value }: Pick<Call, "key" | "value">,
    host: Host,
    life: Life,
    signal: AbortSignal = new AbortController().signal,
  ): Promise<boolean> {
    const { note, checker } = this.#context;
    const id = idOf(value);
    note(() => `client: ${id} writes ${value} to register ${key} through ${host.id}`);
    this.#attempts += 1;
    const attempt = `${id} at ${host.id} (${this.#attempts})`;
    life.asked.add(attempt);
    try {
      const index = await life.runner.propose(encodeWrite(key, value), { id, signal });
      note(() => `client: ${id} is at ${index}, says ${host.id}`);
      this.#acknowledged(value, index, host, life);
      return true;
    } catch (error) {
      note(() => `client: ${id} fails at ${host.id}: ${codeOf(error) ?? messageOf(error)}`);
      const index = checker.indexOf(value);
      const isRefused = codeOf(error) === "no_quorum";
      if (isRefused && index !== undefined && life.appliedBefore() >= index) {
        this.#violated(`${host.id} refuses ${id}, which it has applied at ${index}`);
      }
      return false;
    } finally {
      life.asked.delete(attempt);
    }
  }

  #acknowledged(value: number, index: number, host: Host, life: Life): void {
    this.answered += 1;
    const right = this.#context.checker.indexOf(value);
    if (right !== index || life.state.index < index) {
      const truth = right === undefined ? "nobody has applied it" : `it is at ${right}`;
      this.#violated(
        `${host.id} acknowledges write ${value} at ${index}: ${truth}, and ${host.id} is at ${life.state.index}`,
      );
    }
  }

  async #read(call: Call, host: Host, life: Life, signal: AbortSignal): Promise<void> {
    const { note, queue } = this.#context;
    this.#attempts += 1;
    const what = `a read at ${host.id} (${this.#attempts})`;
    life.asked.add(what);
    try {
      const index = await life.runner.barrier({ signal });
      const { appliedIndex } = life.runner.status.get();
      if (appliedIndex < index) {
        this.#violated(`${host.id} confirms ${what} of ${index}, and has applied ${appliedIndex}`);
      }
      if (index < call.beganIndex) {
        this.#violated(`${host.id} confirms a stale read of ${index}, not ${call.beganIndex}`);
      }
      if (call.isOver) return;
      call.value = life.state.valueOf(call.key);
      note(() => `client: reads ${call.value} of register ${call.key} at ${host.id}`);
      this.answered += 1;
      this.#finish(call, queue.now);
    } catch (error) {
      note(() => `client: ${what} fails: ${codeOf(error) ?? messageOf(error)}`);
    } finally {
      life.asked.delete(what);
    }
  }

  #finish(call: Call, end?: number): void {
    call.isOver = true;
    call.end = end;
    call.whenOver();
  }

  #pick(): Host | undefined {
    const awake = this.#hosts.filter((host) => host.awake !== undefined);
    return awake[randomBelow(this.#context.random, awake.length)];
  }

  #violated(text: string): void {
    this.#context.violated(text);
  }
}
