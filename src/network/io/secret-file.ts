import {
  chmodSync,
  closeSync,
  fsyncSync,
  openSync,
  readFileSync,
  renameSync,
  writeSync,
} from "node:fs";
import { dirname } from "node:path";
import { CodedError } from "../../kernel/index.ts";

/** Mode 0600, durable, and never half written. */
export function writeSecretFile(file: string, content: string | Uint8Array): void {
  const temporary = `${file}.new`;
  const descriptor = openSync(temporary, "w", 0o600);
  try {
    const bytes = Buffer.from(content);
    for (let written = 0; written < bytes.byteLength; ) {
      written += writeSync(descriptor, bytes, written);
    }
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
  chmodSync(temporary, 0o600);
  renameSync(temporary, file);
  const directory = openSync(dirname(file), "r");
  try {
    fsyncSync(directory);
  } finally {
    closeSync(directory);
  }
}

/** What a node does without one of the files that make it a member. */
const rejoin =
  "Put the file back as it was; or move the whole data directory away and let this machine join anew under another name (--name), with a new token.";

/** Reads a file that must be whole. @throws CodedError that names it, with what to do. */
export function readWhole<Value>(
  file: string,
  parse: (content: Buffer) => Value,
  remedy: string = rejoin,
): Value {
  const content = readFileSync(file);
  try {
    return parse(content);
  } catch (cause) {
    const why = content.byteLength === 0 ? "it is empty" : "its content is unreadable";
    throw new CodedError("damaged_file", `${file} is damaged: ${why}. ${remedy}`, { cause });
  }
}

/** For a file that is gone although what belongs to it is there. */
export function lostFile(file: string): CodedError<"damaged_file"> {
  return new CodedError("damaged_file", `${file} is gone. ${rejoin}`);
}
