import type { Connection, Stream } from "@libp2p/interface";
import { lpStream } from "@libp2p/utils";
import { Packr } from "msgpackr";
import { z } from "zod";
import { codeOf, messageOf } from "../../kernel/index.ts";
import { NetworkError } from "../errors.ts";

const packr = new Packr({ useRecords: false });

const maxBodyBytes = 1024 * 1024;
const maxEnvelopeBytes = maxBodyBytes + 4_096;
/** However patient the asker is. */
const maxWaitMs = 30_000;

const envelopeSchema = z.union([
  z.object({ ok: z.literal(true), body: z.instanceof(Uint8Array) }),
  z.object({ ok: z.literal(false), code: z.string().max(64), message: z.string().max(2_000) }),
]);

/** One request and its answer over a stream of its own. @throws NetworkError */
export async function ask(
  connection: Connection,
  protocol: string,
  body: Uint8Array,
  signal: AbortSignal,
): Promise<Uint8Array> {
  if (body.length > maxBodyBytes) {
    throw new NetworkError("too_large", `A request of ${body.length} bytes; 1 MiB is the most.`);
  }
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
    stream.close().catch(() => undefined);
    if (envelope.ok) return envelope.body;
    throw new NetworkError("refused", envelope.message, { remoteCode: envelope.code });
  } catch (error) {
    if (error instanceof NetworkError) throw error;
    stream?.abort(error instanceof Error ? error : new Error(messageOf(error)));
    if (signal.aborted) throw signal.reason;
    throw new NetworkError(
      bounded.aborted ? "timed_out" : "unreachable",
      `The peer did not answer: ${messageOf(error)}`,
      { cause: error },
    );
  }
}

/** The other half: reads one request, answers it, whatever the handler does. */
export async function answer(
  stream: Stream,
  handler: (body: Uint8Array, signal: AbortSignal) => Promise<Uint8Array>,
): Promise<void> {
  const gone = new AbortController();
  stream.addEventListener("close", () => gone.abort(new Error("the asker is gone")));
  const signal = AbortSignal.any([gone.signal, AbortSignal.timeout(maxWaitMs)]);
  try {
    const frames = lpStream(stream, { maxDataLength: maxEnvelopeBytes });
    const body = (await frames.read({ signal })).subarray();
    const envelope = await handler(body, signal).then(
      (answered) => ({ ok: true, body: answered }),
      (error: unknown) => ({
        ok: false,
        code: codeOf(error) ?? "failed",
        message: messageOf(error).slice(0, 2_000),
      }),
    );
    await frames.write(packr.pack(envelope), { signal });
    await stream.close({ signal });
  } catch (error) {
    stream.abort(error instanceof Error ? error : new Error(messageOf(error)));
  }
}
