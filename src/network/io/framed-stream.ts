import type { Stream } from "@libp2p/interface";
import { lpStream } from "@libp2p/utils";
import { messageOf } from "../../kernel/index.ts";
import { NetworkError } from "../errors.ts";
import type { PeerStream } from "../peer-network.ts";

const maxFrameBytes = 4 * 1024 * 1024;

/** A libp2p stream as frames with a length in front. */
export class FramedStream implements PeerStream {
  readonly #stream: Stream;
  readonly #frames: ReturnType<typeof lpStream>;

  constructor(stream: Stream) {
    // Long-lived and sometimes silent: whoever uses it decides when it has been silent for too long.
    stream.inactivityTimeout = 0;
    this.#stream = stream;
    this.#frames = lpStream(stream, {
      maxDataLength: maxFrameBytes,
      maxBufferSize: 2 * maxFrameBytes,
    });
  }

  async send(frame: Uint8Array, { signal }: { readonly signal: AbortSignal }): Promise<void> {
    if (frame.length > maxFrameBytes) {
      throw new NetworkError("too_large", `A frame of ${frame.length} bytes; 4 MiB are the most.`);
    }
    try {
      await this.#frames.write(frame, { signal });
    } catch (error) {
      throw signal.aborted ? signal.reason : broken(error);
    }
  }

  async *frames(): AsyncIterable<Uint8Array> {
    for (;;) {
      let frame: Uint8Array;
      try {
        frame = (await this.#frames.read()).subarray();
      } catch (error) {
        if (error instanceof Error && error.name === "UnexpectedEOFError") return;
        throw broken(error);
      }
      yield frame;
    }
  }

  async close(): Promise<void> {
    await this.#stream.close().catch(() => undefined);
  }

  abort(reason: Error): void {
    this.#stream.abort(reason);
  }
}

function broken(error: unknown): NetworkError {
  return new NetworkError("unreachable", `The stream broke: ${messageOf(error)}`, {
    cause: error,
  });
}
