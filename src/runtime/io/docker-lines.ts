/** Longer lines are not of the engine's event or progress streams. */
const maxLineBytes = 1024 * 1024;

/**
 * The lines of a stream. Unlike `node:readline`, whose iteration waits for ever when its
 * stream is destroyed, this fails or ends as the stream does.
 */
export async function* readLines(chunks: AsyncIterable<Buffer>): AsyncGenerator<string> {
  let pending: Buffer = Buffer.alloc(0);
  for await (const chunk of chunks) {
    pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk]);
    for (let end = pending.indexOf(10); end >= 0; end = pending.indexOf(10)) {
      const line = pending.toString("utf8", 0, end).trim();
      pending = pending.subarray(end + 1);
      if (line !== "") yield line;
    }
    if (pending.length > maxLineBytes) throw new Error("The engine sent a line without an end.");
  }
  const rest = pending.toString("utf8").trim();
  if (rest !== "") yield rest;
}
