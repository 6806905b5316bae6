import { StreamStateError } from "@libp2p/interface";
import { yamux } from "@libp2p/yamux";

type Muxers = ReturnType<typeof yamux>;
type Muxer = ReturnType<ReturnType<Muxers>["createStreamMuxer"]>;
type Frame = Parameters<Muxer["send"]>[0];

/**
 * Yamux that outlives the loss of its connection, and that grants credit in larger pieces.
 *
 * Yamux sends the first frame of a new stream in a microtask of its own; where the connection
 * is gone by then, the library throws to nobody, which would end the process. The frame is
 * dropped instead: the streams of a connection that is gone are told so anyway.
 */
export function steadyYamux(init: Parameters<typeof yamux>[0]): Muxers {
  return () => {
    const factory = yamux(init)();
    const create = factory.createStreamMuxer.bind(factory);
    factory.createStreamMuxer = (connection) => {
      const muxer = create(connection);
      const send: Muxer["send"] = muxer.send.bind(muxer);
      const credit = new WithheldCredit(() => muxer.streams.map(({ id }) => Number(id)));
      muxer.send = (frame) => {
        const due = credit.pass(frame);
        if (due === undefined) return true;
        try {
          return send(due);
        } catch (error) {
          if (error instanceof StreamStateError) return true;
          throw error;
        }
      };
      return muxer;
    };
    return factory;
  };
}

/** Far below the smallest window, 256 KiB, so that no sender ever waits for what is withheld. */
const withheldMaxBytes = 64 * 2 ** 10;
const headerBytes = 12;
const windowUpdateType = 1;
/** Streams that ended with credit withheld are forgotten when there are so many. */
const maxForgotten = 256;

/**
 * The library grants credit for every message that it receives, with a frame and a write of
 * its own: for small messages that is as much traffic as the messages themselves. Here
 * credit is withheld until there is enough of it. Frames as in the Yamux specification:
 * version u8 | type u8 | flags u16 | stream id u32 | length u32.
 */
class WithheldCredit {
  readonly #liveStreams: () => readonly number[];
  readonly #withheld = new Map<number, number>();
  #lookAtSize = maxForgotten;

  constructor(liveStreams: () => readonly number[]) {
    this.#liveStreams = liveStreams;
  }

  /** The frame to send in place of this one; undefined when nothing is to be sent now. */
  pass(frame: Frame): Frame | undefined {
    if (frame.byteLength !== headerBytes) return frame;
    const header = Buffer.from(frame.subarray());
    const isPlainUpdate = header[1] === windowUpdateType && header.readUInt16BE(2) === 0;
    if (!isPlainUpdate) return frame;
    const stream = header.readUInt32BE(4);
    const bytes = header.readUInt32BE(8) + (this.#withheld.get(stream) ?? 0);
    if (bytes < withheldMaxBytes) {
      this.#withheld.set(stream, bytes);
      this.#forgetEnded();
      return undefined;
    }
    this.#withheld.delete(stream);
    header.writeUInt32BE(bytes, 8);
    return header;
  }

  #forgetEnded(): void {
    if (this.#withheld.size < this.#lookAtSize) return;
    const live = new Set(this.#liveStreams());
    for (const stream of this.#withheld.keys()) {
      if (!live.has(stream)) this.#withheld.delete(stream);
    }
    this.#lookAtSize = 2 * this.#withheld.size + maxForgotten;
  }
}
