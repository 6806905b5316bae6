import { type TaskId, taskId } from "../kernel/index.ts";

/**
 * The first bytes on a data-path connection: which local endpoint the asker wants. The owner
 * answers with one status octet; from then on the connection belongs to the two ends.
 *
 * Layout: format (1), length of the task id (1), task id (ASCII), target port (2, big-endian).
 */
export type Preamble = { readonly taskId: TaskId; readonly target: number };

const format = 1;
const taskIdMaxBytes = 64;
const taskIdText = /^[a-z0-9][a-z0-9_-]*$/;

export const preambleMaxBytes = 4 + taskIdMaxBytes;

export const tunnelStatus = { ok: 0, unknownEndpoint: 1, connectFailed: 2 } as const;

export function encodePreamble({ taskId: task, target }: Preamble): Uint8Array {
  const bytes = new Uint8Array(4 + task.length);
  bytes[0] = format;
  bytes[1] = task.length;
  for (let i = 0; i < task.length; i += 1) bytes[2 + i] = task.charCodeAt(i);
  bytes[2 + task.length] = target >> 8;
  bytes[3 + task.length] = target & 0xff;
  return bytes;
}

/** Reads a preamble that may still be arriving. Nothing may follow it before the answer. */
export function decodePreamble(
  bytes: Uint8Array,
): { readonly kind: "incomplete" | "malformed" } | ({ readonly kind: "preamble" } & Preamble) {
  const length = bytes[1];
  if (bytes.length > 0 && bytes[0] !== format) return { kind: "malformed" };
  if (length === undefined) return { kind: "incomplete" };
  if (length === 0 || length > taskIdMaxBytes || bytes.length > 4 + length) {
    return { kind: "malformed" };
  }
  if (bytes.length < 4 + length) return { kind: "incomplete" };
  const text = String.fromCharCode(...bytes.subarray(2, 2 + length));
  const target = (bytes[2 + length] ?? 0) * 256 + (bytes[3 + length] ?? 0);
  if (!taskIdText.test(text) || target === 0) return { kind: "malformed" };
  return { kind: "preamble", taskId: taskId(text), target };
}
