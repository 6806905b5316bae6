import type { Connection, Stream } from "@libp2p/interface";
import { lpStream } from "@libp2p/utils";
import { z } from "zod";
import { codeOf, messageOf, nodeId } from "../../kernel/index.ts";
import { NetworkError } from "../errors.ts";
import { interruption } from "../interruption.ts";
import { checkSize, maxBodyBytes } from "../limits.ts";
import { PeerCodec } from "../peer-codec.ts";

const packr = new PeerCodec();

const maxEnvelopeBytes = maxBodyBytes + 16 * 2 ** 10;
const maxCodeLength = 64;
const maxErrorLength = 2_000;
/** However patient the asker is. */
const maxWaitMs = 30_000;
/** How long a request may take to come in, once its stream is open. */
const maxReceiveMs = 10_000;

const envelopeSchema = z.union([
  z.object({ ok: z.literal(true), body: z.instanceof(Uint8Array) }),
  z.object({
    ok: z.literal(false),
    code: z.string().max(maxCodeLength),
    message: z.string().max(maxErrorLength),
  }),
]);

type Envelope =
  | { readonly ok: true; readonly body: Uint8Array }
  | { readonly ok: false; readonly code: string; readonly message: string };

/** One request and its answer over a stream of its own. @throws NetworkError */
export async function ask(
  connection: Connection,
  protocol: string,
  body: Uint8Array,
  signal: AbortSignal,
): Promise<Uint8Array> {
  checkSize(body, { what: "request", maxBytes: maxBodyBytes });
  const peer = nodeId(connection.remotePeer.toString());
  if (signal.aborted) throw interruption(signal, peer);
  const bounded = AbortSignal.any([signal, AbortSignal.timeout(maxWaitMs)]);
  let stream: Stream | undefined;
  try {
    stream = await connection.newStream(protocol, {
      signal: bounded,
      negotiateFully: false,
      maxOutboundStreams: 1_000,
    });
    const frames = lpStream(stream, { maxDataLength: maxEnvelopeBytes });
    await frames.write(body, { signal: bounded });
    const envelope = envelopeSchema.parse(
      packr.unpack((await frames.read({ signal: bounded })).subarray()),
    );
    stream.close({ signal: bounded }).catch(() => undefined);
    if (envelope.ok) return envelope.body;
    throw new NetworkError("refused", envelope.message, { remoteCode: envelope.code });
  } catch (error) {
    if (error instanceof NetworkError) throw error;
    stream?.abort(error instanceof Error ? error : new Error(messageOf(error)));
    if (bounded.aborted) throw interruption(bounded, peer);
    throw streamFailure(error, { peer, protocol });
  }
}

/** What a failure of libp2p's means for whoever wanted to speak a protocol with a peer. */
export function streamFailure(
  error: unknown,
  { peer, protocol }: { readonly peer: string; readonly protocol: string },
): NetworkError {
  if (error instanceof Error && error.name === "UnsupportedProtocolError") {
    return new NetworkError("refused", `Node ${peer} does not serve ${protocol}.`, {
      cause: error,
      remoteCode: "not_served",
    });
  }
  return new NetworkError("unreachable", `Node ${peer} did not answer: ${messageOf(error)}`, {
    cause: error,
  });
}

/**
 * The other half: reads one request, answers it, whatever the handler does. Never rejects.
 * What a stranger may send is set closer by `limits`.
 */
export async function answer(
  stream: Stream,
  handler: (body: Uint8Array, signal: AbortSignal) => Promise<Uint8Array>,
  limits?: { readonly maxBytes: number; readonly receiveMs: number },
): Promise<void> {
  const gone = new AbortController();
  stream.addEventListener("close", () => gone.abort(new Error("the asker is gone")));
  const frames = lpStream(stream, { maxDataLength: limits?.maxBytes ?? maxBodyBytes });
  const signal = AbortSignal.any([gone.signal, AbortSignal.timeout(maxWaitMs)]);
  try {
    const inTime = AbortSignal.timeout(limits?.receiveMs ?? maxReceiveMs);
    const body = await frames.read({ signal: AbortSignal.any([signal, inTime]) });
    const envelope = await envelopeOf(() => handler(body.subarray(), signal));
    await frames.write(packr.pack(envelope), { signal });
    await stream.close({ signal });
  } catch (error) {
    stream.abort(error instanceof Error ? error : new Error(messageOf(error)));
  }
}

async function envelopeOf(work: () => Promise<Uint8Array>): Promise<Envelope> {
  try {
    const body = await work();
    checkSize(body, { what: "response", maxBytes: maxBodyBytes });
    return { ok: true, body };
  } catch (error) {
    return {
      ok: false,
      code: (codeOf(error) ?? "failed").slice(0, maxCodeLength),
      message: messageOf(error).slice(0, maxErrorLength),
    };
  }
}
