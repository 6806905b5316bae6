import http from "node:http";
import { createInterface } from "node:readline";
import { containerLabels } from "../../src/runtime/index.ts";

/** A task's container that an engine runs. */
export type RunningContainer = {
  readonly id: string;
  readonly machine: number;
  readonly service: string;
  readonly slot: string;
};

type Labels = Readonly<Record<string, string>>;
type EngineEvent = {
  readonly Action: string;
  readonly Actor: { readonly ID: string; readonly Attributes: Labels };
};

/**
 * What the engines of several machines run, by their own events: every start and every end is
 * seen in its order, so no moment with too many goes by unnoticed.
 */
export class EngineWatch implements Disposable {
  readonly #running = new Map<string, RunningContainer>();
  readonly #most = new Map<string, number>();
  readonly #sockets: ReadonlyMap<number, string>;
  readonly #streams = new Set<http.ClientRequest>();
  readonly #waiting = new Set<() => void>();
  #broken: Error | undefined;
  #isClosed = false;

  private constructor(sockets: ReadonlyMap<number, string>) {
    this.#sockets = sockets;
  }

  /** @param sockets Of the engines, by the number of their machine; they run no task yet. */
  static async start(sockets: ReadonlyMap<number, string>): Promise<EngineWatch> {
    const watch = new EngineWatch(sockets);
    await Promise.all([...sockets].map(([machine, path]) => watch.#follow(machine, path)));
    return watch;
  }

  /** In an order that does not depend on the ids. */
  get running(): readonly RunningContainer[] {
    const keyOf = ({ service, machine, slot }: RunningContainer) => `${service} ${machine} ${slot}`;
    return [...this.#running.values()].toSorted((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
  }

  /** The most that ever ran of a service at a time. */
  mostOf(service: string): number {
    return this.#most.get(service) ?? 0;
  }

  /** Resolves at the first event after which the test holds, or now; with how long it took, ms. */
  async until(
    what: string,
    limitMs: number,
    test: (running: readonly RunningContainer[]) => boolean,
  ): Promise<number> {
    const from = performance.now();
    const limit = AbortSignal.timeout(limitMs);
    for (;;) {
      if (this.#broken !== undefined) throw this.#broken;
      if (test(this.running)) return performance.now() - from;
      if (limit.aborted) {
        throw new Error(`after ${limitMs} ms still not: ${what}; ${this.#describe()}`);
      }
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#waiting.add(resolve);
      limit.addEventListener("abort", () => resolve(), { once: true });
      await promise;
      this.#waiting.delete(resolve);
    }
  }

  /** The ids that the engines list as running at this moment. */
  async listed(): Promise<ReadonlySet<string>> {
    const filters = JSON.stringify({ label: [containerLabels.taskId], status: ["running"] });
    const path = `/containers/json?filters=${encodeURIComponent(filters)}`;
    const lists = await Promise.all(
      [...this.#sockets.values()].map(async (socketPath) => {
        const response = await answerOf(http.get({ socketPath, path, agent: false }));
        const text = await Array.fromAsync(response.setEncoding("utf8"));
        return JSON.parse(text.join("")) as readonly { readonly Id: string }[];
      }),
    );
    return new Set(lists.flat().map(({ Id }) => Id));
  }

  [Symbol.dispose](): void {
    this.#isClosed = true;
    for (const stream of this.#streams) stream.destroy();
  }

  async #follow(machine: number, socketPath: string): Promise<void> {
    const event = ["start", "die"];
    const filters = JSON.stringify({ type: ["container"], label: [containerLabels.taskId], event });
    const path = `/events?filters=${encodeURIComponent(filters)}`;
    const outgoing = http.get({ socketPath, path, agent: false });
    this.#streams.add(outgoing);
    const response = await answerOf(outgoing);
    outgoing.on("error", () => undefined);
    response.on("error", () => undefined);
    response.on("close", () => {
      if (this.#isClosed) return;
      this.#broken = new Error(`the events of machine ${machine} broke off`);
      this.#wake();
    });
    createInterface({ input: response })
      .on("line", (line) => this.#note(machine, JSON.parse(line)))
      .on("error", () => undefined);
  }

  #note(machine: number, { Action, Actor }: EngineEvent): void {
    const { ID: id, Attributes: labels } = Actor;
    const service = labels[containerLabels.service] ?? "";
    if (Action === "start") {
      const slot = labels[containerLabels.slot] ?? "";
      this.#running.set(id, { id, machine, service, slot });
      const count = this.running.filter((each) => each.service === service).length;
      this.#most.set(service, Math.max(count, this.mostOf(service)));
    } else {
      this.#running.delete(id);
    }
    this.#wake();
  }

  #wake(): void {
    for (const resolve of [...this.#waiting]) resolve();
  }

  #describe(): string {
    const list = this.running.map(({ service, machine }) => `${service} on m${machine}`);
    return `running: ${list.join(", ")}`;
  }
}

async function answerOf(outgoing: http.ClientRequest): Promise<http.IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<http.IncomingMessage>();
  outgoing.once("response", resolve);
  outgoing.once("error", reject);
  return await promise;
}
