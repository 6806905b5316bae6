import type { TaskId } from "../kernel/index.ts";
import type { ContainerConsole } from "./container-console.ts";

/** Somebody who wants to be joined with a container before it starts. */
export type WaitingClient = {
  /** Aborted when the client has gone. */
  readonly signal: AbortSignal;
  connect(console: ContainerConsole): void;
  fail(error: unknown): void;
};

/** Where clients wait for their containers, and containers that must not start alone for clients. */
export class AttachDesk {
  readonly #clients = new Map<TaskId, WaitingClient>();
  #change = Promise.withResolvers<void>();

  /** Resolves when the task's container is about to run; at most one client waits for each. */
  async join(
    taskId: TaskId,
    { signal }: { readonly signal: AbortSignal },
  ): Promise<ContainerConsole> {
    signal.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<ContainerConsole>();
    const abort = () => reject(signal.reason);
    signal.addEventListener("abort", abort, { once: true });
    const client: WaitingClient = { signal, connect: resolve, fail: reject };
    this.#clients.set(taskId, client);
    this.#change.resolve();
    this.#change = Promise.withResolvers();
    return await promise.finally(() => {
      signal.removeEventListener("abort", abort);
      if (this.#clients.get(taskId) === client) this.#clients.delete(taskId);
    });
  }

  /** The client of a task's container; undefined when none has come by the abort. */
  async clientOf(
    taskId: TaskId,
    { signal }: { readonly signal: AbortSignal },
  ): Promise<WaitingClient | undefined> {
    const { promise: aborted, resolve } = Promise.withResolvers<void>();
    const abort = () => resolve();
    signal.addEventListener("abort", abort, { once: true });
    try {
      for (;;) {
        const client = this.#clients.get(taskId);
        if (client !== undefined || signal.aborted) return client;
        await Promise.race([this.#change.promise, aborted]);
      }
    } finally {
      signal.removeEventListener("abort", abort);
    }
  }
}
