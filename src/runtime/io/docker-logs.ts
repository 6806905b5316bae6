import type { Readable } from "node:stream";
import type { LogLine, LogOptions } from "../container-runtime.ts";
import type { DockerEngine } from "./docker-engine.ts";

/** The engine cuts a line into pieces of 16 KiB; a line longer than this arrives as several. */
const maxLineBytes = 256 * 1024;
/** A frame that claims more is no frame: the stream is out of step. */
const maxFrameBytes = 4 * 1024 * 1024;
const headerBytes = 8;

/** Opened by hand, because the client would collect a log that is not followed in memory. */
export async function openLogStream(
  engine: DockerEngine,
  containerId: string,
  { follow, tail = "all", signal }: Omit<LogOptions, "tail"> & { readonly tail?: number | "all" },
): Promise<Readable> {
  const request = {
    path: `/containers/${containerId}/logs?`,
    method: "GET",
    isStream: true,
    statusCodes: { 200: true, 404: "no such container", 500: "server error" },
    options: { follow, stdout: true, stderr: true, timestamps: true, tail },
  };
  return await engine.stream(
    `The logs of the container ${containerId} cannot be read`,
    (abortSignal) =>
      new Promise((resolve, reject) => {
        engine.docker.modem.dial({ ...request, abortSignal }, (error, result) => {
          if (error === null) resolve(result);
          else reject(error);
        });
      }),
    { signal },
  );
}

export type LogFrame = { readonly stream: LogLine["stream"]; readonly payload: Buffer };

/**
 * Takes apart the engine's multiplexed stream: each frame has a header of eight bytes, the
 * first being the stream and the last four the length. A container with a terminal has no
 * frames: its log starts with the digits of a timestamp, where a frame would name its stream.
 */
export async function* readFrames(chunks: AsyncIterable<Buffer>): AsyncGenerator<LogFrame> {
  let pending: Buffer = Buffer.alloc(0);
  let isTerminal: boolean | undefined;
  for await (const chunk of chunks) {
    isTerminal ??= (chunk[0] ?? 0) >= 0x20;
    if (isTerminal) {
      const { lines, rest } = takeLines(Buffer.concat([pending, chunk]));
      for (const payload of lines) yield { stream: "stdout", payload };
      pending = rest;
      continue;
    }
    pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk]);
    while (pending.length >= headerBytes) {
      const length = pending.readUInt32BE(4);
      if (length > maxFrameBytes) throw new Error(`The engine announced ${length} bytes of log.`);
      if (pending.length < headerBytes + length) break;
      const payload = pending.subarray(headerBytes, headerBytes + length);
      yield { stream: pending[0] === 2 ? "stderr" : "stdout", payload };
      pending = pending.subarray(headerBytes + length);
    }
  }
  if (isTerminal && pending.length > 0) yield { stream: "stdout", payload: pending };
}

/** The lines with their ends; a line without an end stays, unless it is too long to wait for. */
function takeLines(bytes: Buffer): { readonly lines: readonly Buffer[]; readonly rest: Buffer } {
  const lines: Buffer[] = [];
  let start = 0;
  for (let end = bytes.indexOf(10); end >= 0; end = bytes.indexOf(10, start)) {
    lines.push(bytes.subarray(start, end + 1));
    start = end + 1;
  }
  if (bytes.length - start > maxLineBytes) {
    lines.push(bytes.subarray(start));
    start = bytes.length;
  }
  return { lines, rest: bytes.subarray(start) };
}

type Piece = { timeMs: number; text: string };

/**
 * Puts lines together. Every frame starts with a timestamp, also those that carry on a
 * line which the engine had to cut.
 */
export async function* readLogLines(frames: AsyncIterable<LogFrame>): AsyncGenerator<LogLine> {
  const open: Record<LogLine["stream"], Piece | undefined> = {
    stdout: undefined,
    stderr: undefined,
  };
  for await (const { stream, payload } of frames) {
    const { timeMs, text } = splitTimestamp(payload.toString("utf8"));
    const piece = open[stream];
    const line: Piece = { timeMs: piece?.timeMs ?? timeMs, text: (piece?.text ?? "") + text };
    if (!line.text.endsWith("\n") && line.text.length < maxLineBytes) {
      open[stream] = line;
      continue;
    }
    open[stream] = undefined;
    yield { stream, timeMs: line.timeMs, text: line.text.replace(/\r?\n$/, "") };
  }
  for (const stream of ["stdout", "stderr"] as const) {
    const rest = open[stream];
    if (rest !== undefined) yield { stream, timeMs: rest.timeMs, text: rest.text };
  }
}

function splitTimestamp(text: string): Piece {
  const space = text.indexOf(" ");
  const timeMs = Date.parse(text.slice(0, space));
  if (Number.isNaN(timeMs)) return { timeMs: 0, text };
  return { timeMs, text: text.slice(space + 1) };
}
