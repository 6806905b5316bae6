import { z } from "zod";
import { taskId } from "../kernel/index.ts";
import { ApiError, isProblemCode, type ProblemCode } from "./problem.ts";

/** What a console's protocol is called in the `Upgrade` of a request. */
export const consoleProtocol = "skein-console/1";
export const consolePath = "/v1/console";

/** The most that one frame with input or output carries. */
export const maxConsoleChunkBytes = 64 * 1024;
/** The most that any frame has: only a request with many arguments is larger than a chunk. */
export const maxConsoleFrameBytes = 256 * 1024;

const maxArguments = 4_096;
const maxMessageLength = 4_000;

const sizeSchema = z.object({
  columns: z.number().int().min(1).max(65_535),
  rows: z.number().int().min(1).max(65_535),
});

const target = {
  taskId: z.string().min(1).max(64).transform(taskId),
  /** Of a task with several containers: which. */
  container: z.string().min(1).max(255).optional(),
  stdin: z.boolean(),
  /** Of the terminal at the client's end, where there is one. */
  size: sizeSchema.optional(),
};

const requestSchema = z.discriminatedUnion("kind", [
  /** Runs a command in a container that runs. */
  z.object({
    kind: z.literal("exec"),
    ...target,
    command: z.array(z.string()).min(1).max(maxArguments),
    environment: z.record(z.string().min(1), z.string()),
    workingDirectory: z.string().min(1).max(4_096).optional(),
    user: z.string().min(1).max(255).optional(),
    tty: z.boolean(),
  }),
  /** Joins with the process of a container, from its start where that waits for it. */
  z.object({ kind: z.literal("attach"), ...target }),
]);

const errorSchema = z.object({
  code: z.string(),
  message: z.string().max(maxMessageLength),
  exitCode: z.number().int().min(1).max(255).optional(),
});

export type ConsoleSize = z.infer<typeof sizeSchema>;
export type ConsoleRequest = z.infer<typeof requestSchema>;

/** What goes to and fro between a person's terminal and a process in a container. */
export type ConsoleFrame =
  /** The client's first one, and its only one of this kind. */
  | { readonly kind: "request"; readonly request: ConsoleRequest }
  | { readonly kind: "input"; readonly bytes: Uint8Array }
  | { readonly kind: "input_end" }
  | { readonly kind: "resize"; readonly size: ConsoleSize }
  | { readonly kind: "signal"; readonly name: string }
  /** Of both sides, that a silent console is not taken for a broken one. */
  | { readonly kind: "alive" }
  /** The process runs; everything after it is its own. */
  | { readonly kind: "ready" }
  | {
      readonly kind: "output";
      readonly stream: "stdout" | "stderr";
      readonly bytes: Uint8Array;
    }
  | ConsoleEnd;

/** The last frame of a console. */
export type ConsoleEnd =
  | { readonly kind: "exited"; readonly exitCode: number }
  /** The process goes on, without this console. */
  | { readonly kind: "detached" }
  /** It never ran, or nobody knows what became of it. */
  | {
      readonly kind: "error";
      readonly code: ProblemCode;
      readonly message: string;
      /** As shells say it: 126 for a command that cannot be run, 127 for one that is not there. */
      readonly exitCode?: number;
    };

const octetOf = {
  request: 0x01,
  input: 0x02,
  input_end: 0x03,
  resize: 0x04,
  signal: 0x05,
  alive: 0x06,
  ready: 0x11,
  stdout: 0x12,
  stderr: 0x13,
  exited: 0x14,
  detached: 0x15,
  error: 0x16,
} as const;

const signalName = /^SIG[A-Z0-9]{2,8}$/;

/** One octet that says what it is, then what belongs to it. */
export function encodeConsoleFrame(frame: ConsoleFrame): Uint8Array {
  switch (frame.kind) {
    case "request":
      return withOctet(octetOf.request, Buffer.from(JSON.stringify(frame.request)));
    case "input":
      return withOctet(octetOf.input, frame.bytes);
    case "output":
      return withOctet(octetOf[frame.stream], frame.bytes);
    case "resize": {
      const { columns, rows } = frame.size;
      return Uint8Array.of(octetOf.resize, columns >> 8, columns & 0xff, rows >> 8, rows & 0xff);
    }
    case "signal":
      return withOctet(octetOf.signal, Buffer.from(frame.name));
    case "exited": {
      const bytes = Buffer.alloc(5);
      bytes.writeUInt8(octetOf.exited);
      bytes.writeInt32BE(frame.exitCode, 1);
      return bytes;
    }
    case "error": {
      const { code, message, exitCode } = frame;
      const body = { code, message: message.slice(0, maxMessageLength), exitCode };
      return withOctet(octetOf.error, Buffer.from(JSON.stringify(body)));
    }
    default:
      return Uint8Array.of(octetOf[frame.kind]);
  }
}

function withOctet(octet: number, body: Uint8Array): Uint8Array {
  const bytes = Buffer.allocUnsafe(1 + body.byteLength);
  bytes.writeUInt8(octet);
  bytes.set(body, 1);
  return bytes;
}

/** @throws ApiError `invalid` */
export function decodeConsoleFrame(frame: Uint8Array): ConsoleFrame {
  if (frame.byteLength > maxConsoleFrameBytes) throw invalid(`of ${frame.byteLength} bytes`);
  const bytes = Buffer.from(frame.buffer, frame.byteOffset, frame.byteLength);
  const body = bytes.subarray(1);
  switch (bytes[0]) {
    case octetOf.request:
      return { kind: "request", request: parsed(requestSchema, body) };
    case octetOf.input:
      return { kind: "input", bytes: chunk(body) };
    case octetOf.stdout:
      return { kind: "output", stream: "stdout", bytes: chunk(body) };
    case octetOf.stderr:
      return { kind: "output", stream: "stderr", bytes: chunk(body) };
    case octetOf.resize:
      return { kind: "resize", size: sizeOf(body) };
    case octetOf.signal:
      return { kind: "signal", name: signalOf(body) };
    case octetOf.exited:
      if (body.byteLength !== 4) throw invalid("with a damaged exit code");
      return { kind: "exited", exitCode: body.readInt32BE() };
    case octetOf.error: {
      const { code, message, exitCode } = parsed(errorSchema, body);
      const known = isProblemCode(code) ? code : "internal";
      return {
        kind: "error",
        code: known,
        message,
        ...(exitCode === undefined ? {} : { exitCode }),
      };
    }
    case octetOf.input_end:
      return { kind: "input_end" };
    case octetOf.alive:
      return { kind: "alive" };
    case octetOf.ready:
      return { kind: "ready" };
    case octetOf.detached:
      return { kind: "detached" };
    default:
      throw invalid(`of the unknown kind ${bytes[0] ?? "nothing"}`);
  }
}

function chunk(body: Buffer): Uint8Array {
  if (body.byteLength > maxConsoleChunkBytes)
    throw invalid(`with ${body.byteLength} bytes of data`);
  return body;
}

function sizeOf(body: Buffer): ConsoleSize {
  if (body.byteLength !== 4) throw invalid("with a damaged size");
  const size = sizeSchema.safeParse({ columns: body.readUInt16BE(0), rows: body.readUInt16BE(2) });
  if (!size.success) throw invalid("with a terminal of no size");
  return size.data;
}

function signalOf(body: Buffer): string {
  const name = body.toString("latin1", 0, 16);
  if (body.byteLength > 16 || !signalName.test(name)) throw invalid("with no signal's name");
  return name;
}

function parsed<Schema extends z.ZodType>(schema: Schema, body: Buffer): z.infer<Schema> {
  let value: unknown;
  try {
    value = JSON.parse(body.toString("utf8"));
  } catch (error) {
    throw invalid("that is no JSON", error);
  }
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw new ApiError("invalid", z.prettifyError(result.error).slice(0, maxMessageLength));
}

function invalid(what: string, cause?: unknown): ApiError {
  return new ApiError("invalid", `The other side of the console sent a frame ${what}.`, { cause });
}

/** The chunks in which a run of bytes fits into frames. */
export function* consoleChunks(bytes: Uint8Array): Iterable<Uint8Array> {
  for (let start = 0; start < bytes.byteLength; start += maxConsoleChunkBytes) {
    yield bytes.subarray(start, start + maxConsoleChunkBytes);
  }
}
