import { chmodSync, closeSync, fsyncSync, openSync, renameSync, writeSync } from "node:fs";

/** Mode 0600, durable, and never half written. */
export function writeSecretFile(file: string, content: string | Uint8Array): void {
  const temporary = `${file}.new`;
  const descriptor = openSync(temporary, "w", 0o600);
  try {
    writeSync(descriptor, Buffer.from(content));
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
  chmodSync(temporary, 0o600);
  renameSync(temporary, file);
}
