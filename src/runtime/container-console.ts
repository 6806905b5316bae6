/** A command to run in a container that runs. */
export type ExecRequest = {
  readonly argv: readonly string[];
  /** On top of the container's own. */
  readonly environment: Readonly<Record<string, string>>;
  readonly workingDirectory?: string;
  readonly user?: string;
  /** With a terminal, which has no stderr of its own. */
  readonly tty: boolean;
  readonly stdin: boolean;
};

export type TerminalSize = { readonly columns: number; readonly rows: number };

export type ConsoleOutput = {
  readonly stream: "stdout" | "stderr";
  readonly bytes: Uint8Array;
};

/** What became of a process whose output has ended. */
export type ConsoleOutcome =
  | { readonly kind: "exited"; readonly exitCode: number }
  /** It goes on without this console. */
  | { readonly kind: "detached" };

/**
 * The streams of a process in a container. All of it ends when the signal that it was opened
 * with aborts. Disposing it releases the streams, and ends a command that still runs, as far
 * as the engine allows.
 */
export interface ContainerConsole extends AsyncDisposable {
  /** To be read by one reader, once. A reader that stops makes the process wait. */
  output(): AsyncIterable<ConsoleOutput>;
  /** Resolves when there is room for more. What comes after the process's end is dropped. */
  write(bytes: Uint8Array): Promise<void>;
  endInput(): void;
  /** Does nothing where there is no terminal. */
  resize(size: TerminalSize): Promise<void>;
  /** To a container's own process; a command that was run in it gets none. */
  signal?(name: string): Promise<void>;
  /** To be asked when the output has ended. */
  outcome(): Promise<ConsoleOutcome>;
}
