import type {
  ConsoleOutcome,
  ConsoleOutput,
  ContainerConsole,
  ExecRequest,
  TerminalSize,
} from "./container-console.ts";
import { OutputQueue } from "./output-queue.ts";

/** What a command on a {@link MemoryMachine} can do and learn. */
export type MemoryCommand = {
  readonly request: ExecRequest;
  /** Resolves when its reader has room for more. */
  print(stream: ConsoleOutput["stream"], text: string): Promise<void>;
  exit(exitCode: number): void;
  onInput(handler: (text: string) => void | Promise<void>): void;
  onInputEnd(handler: () => void): void;
  onResize(handler: (size: TerminalSize) => void): void;
  /** Its console has gone, or its container. */
  readonly gone: AbortSignal;
};

/** The console of a command that plays in memory. */
export class MemoryConsole implements ContainerConsole {
  readonly #queue = new OutputQueue();
  readonly #gone = new AbortController();
  readonly #ended = Promise.withResolvers<ConsoleOutcome>();
  readonly #stop: () => void;
  #onInput: (text: string) => void | Promise<void> = () => undefined;
  #onInputEnd: () => void = () => undefined;
  #onResize: (size: TerminalSize) => void = () => undefined;

  constructor(
    request: ExecRequest,
    program: (command: MemoryCommand) => void,
    signal: AbortSignal,
  ) {
    const abort = () => this.kill(signal.reason);
    signal.addEventListener("abort", abort, { once: true });
    this.#stop = () => signal.removeEventListener("abort", abort);
    program({
      request,
      print: (stream, text) => this.#queue.push({ stream, bytes: new TextEncoder().encode(text) }),
      exit: (exitCode) => {
        this.#queue.end();
        this.#ended.resolve({ kind: "exited", exitCode });
      },
      onInput: (handler) => {
        this.#onInput = handler;
      },
      onInputEnd: (handler) => {
        this.#onInputEnd = handler;
      },
      onResize: (handler) => {
        this.#onResize = handler;
      },
      gone: this.#gone.signal,
    });
  }

  /** The streams break off. */
  kill(reason: unknown): void {
    this.#queue.fail(reason);
    this.#gone.abort();
  }

  /** Its container has ended, and it with it. */
  endWithContainer(): void {
    this.#queue.end();
    this.#ended.resolve({ kind: "exited", exitCode: 137 });
    this.#gone.abort();
  }

  output(): AsyncIterable<ConsoleOutput> {
    return this.#queue.read();
  }

  async write(bytes: Uint8Array): Promise<void> {
    await this.#onInput(new TextDecoder().decode(bytes));
  }

  endInput(): void {
    this.#onInputEnd();
  }

  async resize(size: TerminalSize): Promise<void> {
    this.#onResize(size);
  }

  async outcome(): Promise<ConsoleOutcome> {
    return await this.#ended.promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop();
    this.kill(new Error("The console was closed."));
  }
}
