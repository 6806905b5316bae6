import { chmodSync, statSync, unlinkSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { messageOf } from "../../kernel/index.ts";
import {
  type ControlAnswer,
  ControlFrameReader,
  type ControlRequest,
  controlRequestSchema,
  encodeControlFrame,
} from "../control-protocol.ts";
import { ProxyError } from "../errors.ts";
import { absorbErrors } from "./connect-tcp.ts";

/** Daemons attached at a time: one, and one that is being replaced, and somebody looking. */
const controlConnectionsMax = 8;

export type AnswerControl = (request: ControlRequest) => Promise<ControlAnswer>;

type ControlSocketOptions = {
  readonly path: string;
  readonly answer: AnswerControl;
  /** Told with the number of attached daemons whenever it changes. */
  readonly onAttached: (count: number) => void;
};

/** The unix socket on which the proxy process takes orders, in order, from this machine's user. */
export class ControlSocket implements AsyncDisposable {
  readonly #path: string;
  readonly #server: Server;
  readonly #connections = new Set<Socket>();
  #inode: number | undefined;

  /** @throws ProxyError `already_running` when another process answers on this socket. */
  static async open(options: ControlSocketOptions): Promise<ControlSocket> {
    if (await isAnswering(options.path)) {
      throw new ProxyError(
        "already_running",
        `Another proxy process serves ${options.path}. Stop it first, or use another directory.`,
      );
    }
    removeIfThere(options.path);
    const control = new ControlSocket(options);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    control.#server.once("error", reject);
    // Nobody else may connect, not even in the moment before the mode is set.
    const previousMask = process.umask(0o177);
    control.#server.listen(options.path, resolve);
    process.umask(previousMask);
    await promise;
    chmodSync(options.path, 0o600);
    control.#inode = inodeOf(options.path);
    return control;
  }

  private constructor({ path, answer, onAttached }: ControlSocketOptions) {
    this.#path = path;
    this.#server = createServer((socket) => {
      absorbErrors(socket);
      if (this.#connections.size >= controlConnectionsMax) {
        socket.destroy();
        return;
      }
      this.#connections.add(socket);
      onAttached(this.#connections.size);
      socket.once("close", () => {
        this.#connections.delete(socket);
        onAttached(this.#connections.size);
      });
      serve(socket, answer);
    });
  }

  /** Whether a daemon could still find this process. */
  isReachable(): boolean {
    return inodeOf(this.#path) === this.#inode;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    // Closing removes the file by its name, which may be another process's socket by now.
    if (this.isReachable()) this.#server.close(() => resolve());
    else resolve();
    this.#server.unref();
    for (const socket of this.#connections) socket.destroySoon();
    await promise;
  }
}

function serve(socket: Socket, answer: AnswerControl): void {
  const reader = new ControlFrameReader();
  let previous: Promise<void> = Promise.resolve();
  const respond = async (id: number, body: unknown) => {
    const request = controlRequestSchema.safeParse(body);
    const result = request.success
      ? await answer(request.data).catch((error: unknown) => refused(messageOf(error)))
      : refused("The proxy does not understand this request.");
    if (!socket.destroyed) socket.write(encodeControlFrame({ id, body: result }));
  };
  socket.on("data", (chunk: Buffer) => {
    try {
      for (const { id, body } of reader.push(chunk)) {
        previous = previous.then(() => respond(id, body));
      }
    } catch {
      // Not our protocol: there is no way to find the next frame.
      socket.destroy();
    }
  });
}

function refused(message: string): ControlAnswer {
  return { kind: "refused", message };
}

async function isAnswering(path: string): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = connect({ path });
  socket.once("connect", () => resolve(true));
  socket.once("error", () => resolve(false));
  const isThere = await promise;
  socket.destroy();
  return isThere;
}

function removeIfThere(path: string): void {
  if (inodeOf(path) !== undefined) unlinkSync(path);
}

function inodeOf(path: string): number | undefined {
  return statSync(path, { throwIfNoEntry: false })?.ino;
}
