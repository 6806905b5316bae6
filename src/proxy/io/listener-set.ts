import { codeOf, messageOf } from "../../kernel/index.ts";
import type { PortProblem } from "../index.ts";
import { type ConnectionLimit, type ServeSocket, TcpListener } from "./tcp-listener.ts";

/** A port that should be open. `use` tells uses of one port apart and names it in problems. */
export type WantedListener = {
  readonly host: string;
  readonly port: number;
  readonly use: string;
  readonly serve: ServeSocket;
};

type OpenListener = { readonly wanted: WantedListener; readonly listener: TcpListener };

/**
 * Keeps exactly the wanted ports open. A port that cannot be bound is a problem to report and
 * to try again, never a reason to leave the others alone.
 */
export class ListenerSet implements AsyncDisposable {
  readonly #limit: ConnectionLimit;
  readonly #open = new Map<number, OpenListener>();
  readonly #draining = new Set<TcpListener>();
  #wanted: readonly WantedListener[] = [];
  #problems: readonly PortProblem[] = [];
  #pass: Promise<void> = Promise.resolve();

  constructor(limit: ConnectionLimit) {
    this.#limit = limit;
  }

  get problems(): readonly PortProblem[] {
    return this.#problems;
  }

  /** Resolves once every wanted port is open or has a problem. */
  apply(wanted: readonly WantedListener[]): Promise<void> {
    this.#wanted = wanted;
    return this.retry();
  }

  /** Another try at ports that had a problem. Passes never overlap. */
  retry(): Promise<void> {
    this.#pass = this.#pass.then(() => this.#reconcile());
    return this.#pass;
  }

  checkDeadlines(nowMs: number): void {
    for (const { listener } of this.#open.values()) listener.checkDeadlines(nowMs);
    for (const listener of this.#draining) {
      listener.checkDeadlines(nowMs);
      if (listener.isEmpty) this.#draining.delete(listener);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.apply([]);
    for (const listener of this.#draining) listener.destroy();
  }

  async #reconcile(): Promise<void> {
    const wantedByPort = new Map<number, WantedListener>();
    const problems: PortProblem[] = [];
    for (const wanted of this.#wanted) {
      const other = wantedByPort.get(wanted.port);
      if (other === undefined) wantedByPort.set(wanted.port, wanted);
      else problems.push(takenTwice(wanted, other));
    }
    for (const [port, { wanted, listener }] of this.#open) {
      const now = wantedByPort.get(port);
      if (now?.use === wanted.use && now.host === wanted.host) continue;
      this.#open.delete(port);
      this.#draining.add(listener);
      listener.drain();
    }
    for (const wanted of wantedByPort.values()) {
      if (this.#open.has(wanted.port)) continue;
      const problem = await this.#bind(wanted);
      if (problem !== undefined) problems.push(problem);
    }
    this.#problems = problems;
  }

  async #bind(wanted: WantedListener): Promise<PortProblem | undefined> {
    const { host, port, serve } = wanted;
    try {
      const listener = await TcpListener.open({ host, port, serve, limit: this.#limit });
      this.#open.set(port, { wanted, listener });
      return undefined;
    } catch (error) {
      return { port, message: explain(wanted, error) };
    }
  }
}

function takenTwice({ port, use }: WantedListener, other: WantedListener): PortProblem {
  return { port, message: `Port ${port} is wanted by ${use}, but ${other.use} has it already.` };
}

function explain({ host, port, use }: WantedListener, error: unknown): string {
  switch (codeOf(error)) {
    case "EADDRINUSE":
      return `Port ${port} on ${host}, wanted by ${use}, is taken by another process. Stop that process or choose another port.`;
    case "EACCES":
      return `Port ${port} on ${host}, wanted by ${use}, may only be bound by root. Choose a port above 1023 or give the proxy the right.`;
    default:
      return `Port ${port} on ${host}, wanted by ${use}, cannot be bound: ${messageOf(error)}.`;
  }
}
