import { CodedError } from "../../kernel/index.ts";

/**
 * - `corrupt_log`: acknowledged data on disk is damaged or missing. Starting would break promises
 *   that this node has made to others, so it must come back as a new member.
 * - `directory_in_use`: another process has the directory open.
 * - `storage_failed`: the disk refused a write or a read. Nothing is tried again.
 * - `storage_closed`: it was closed before this call.
 */
export type StorageErrorCode =
  | "corrupt_log"
  | "directory_in_use"
  | "storage_failed"
  | "storage_closed";

export class StorageError extends CodedError<StorageErrorCode> {}

/** Damage at one place of one file, with the way out for the person who reads it. */
export function corruptLog(
  { path, offset }: { readonly path: string; readonly offset: number },
  problem: string,
  options?: ErrorOptions,
): StorageError {
  const remedy =
    "This node cannot go on from it. Move its data directory away and let the machine join " +
    "anew, under another name (skein daemon --name … --join … --token …).";
  const message = `The replicated log is damaged: ${path} at offset ${offset}: ${problem}. ${remedy}`;
  return new StorageError("corrupt_log", message, options);
}
