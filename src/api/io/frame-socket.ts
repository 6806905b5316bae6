import type { Duplex } from "node:stream";
import { messageOf } from "../../kernel/index.ts";
import { maxConsoleFrameBytes } from "../console-frame.ts";
import type { ConsoleStream } from "../console-link.ts";
import { ApiError } from "../problem.ts";
import { TransportError } from "./transport-error.ts";

const headerBytes = 4;

/** Frames over a connection: four octets of length, big-endian, then the frame. */
export class FrameSocket implements ConsoleStream {
  readonly #socket: Duplex;
  #failure: Error | undefined;

  constructor(socket: Duplex) {
    this.#socket = socket;
    // Whoever reads or sends learns of it.
    socket.on("error", (error) => {
      this.#failure ??= error;
    });
  }

  async send(frame: Uint8Array, { signal }: { readonly signal: AbortSignal }): Promise<void> {
    signal.throwIfAborted();
    const socket = this.#socket;
    if (!socket.writable) throw this.#broken("it was closed");
    const bytes = Buffer.allocUnsafe(headerBytes + frame.byteLength);
    bytes.writeUInt32BE(frame.byteLength);
    bytes.set(frame, headerBytes);
    if (socket.write(bytes)) return;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const drained = () => resolve();
    const closed = () => reject(this.#broken("it was closed"));
    const abort = () => reject(signal.reason);
    socket.once("drain", drained);
    socket.once("close", closed);
    signal.addEventListener("abort", abort, { once: true });
    await promise.finally(() => {
      socket.off("drain", drained);
      socket.off("close", closed);
      signal.removeEventListener("abort", abort);
    });
  }

  async *frames(): AsyncIterable<Uint8Array> {
    let pending: Buffer = Buffer.alloc(0);
    try {
      for await (const chunk of this.#socket.iterator({ destroyOnReturn: false })) {
        pending = pending.byteLength === 0 ? (chunk as Buffer) : Buffer.concat([pending, chunk]);
        for (;;) {
          if (pending.byteLength < headerBytes) break;
          const length = pending.readUInt32BE();
          if (length > maxConsoleFrameBytes) {
            throw new ApiError(
              "invalid",
              `The other side of the console announces a frame of ${length} bytes; ${maxConsoleFrameBytes} is the most.`,
            );
          }
          if (pending.byteLength < headerBytes + length) break;
          yield pending.subarray(headerBytes, headerBytes + length);
          pending = pending.subarray(headerBytes + length);
        }
      }
    } catch (error) {
      throw this.#failure === undefined && error instanceof ApiError ? error : this.#broken(error);
    }
    if (pending.byteLength > 0) throw this.#broken("it ended within a frame");
  }

  async close(): Promise<void> {
    const socket = this.#socket;
    if (socket.destroyed) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    socket.once("close", () => resolve());
    socket.end(() => resolve());
    await promise;
  }

  abort(reason: Error): void {
    this.#failure ??= reason;
    this.#socket.destroy();
  }

  #broken(cause: unknown): Error {
    if (this.#failure instanceof ApiError) return this.#failure;
    return new TransportError(
      "unreachable",
      `The connection with the daemon broke: ${messageOf(this.#failure ?? cause)}.`,
      { cause },
    );
  }
}
