import type { Entry } from "../../src/raft/log-storage.ts";

export const maxKeys = 4;
const commandBytes = 5;

/** The state machine of the simulated cluster: a few registers, and a digest of all history. */
export class RegisterMachine {
  #values = new Uint32Array(maxKeys);
  #digest = 0;

  get digest(): number {
    return this.#digest;
  }

  valueOf(key: number): number {
    return this.#values[key] ?? 0;
  }

  write(command: Uint8Array): void {
    const bytes = Buffer.from(command.buffer, command.byteOffset, command.byteLength);
    if (bytes.byteLength < commandBytes) throw new Error("a command has a key and a value");
    this.#values[bytes.readUInt8(0)] = bytes.readUInt32LE(1);
  }

  /** Every entry counts in the digest, and whether it changed anything. */
  note({ kind, term, data }: Entry, { hasEffect }: { readonly hasEffect: boolean }): void {
    let digest = Math.imul(this.#digest ^ term, 0x01000193) ^ kind.length;
    for (const byte of data) digest = Math.imul(digest ^ byte, 0x01000193);
    this.#digest = Math.imul(digest ^ (hasEffect ? 1 : 0), 0x01000193) >>> 0;
  }

  encode(): Uint8Array {
    const bytes = Buffer.alloc(4 + 4 * maxKeys);
    bytes.writeUInt32LE(this.#digest, 0);
    this.#values.forEach((value, key) => {
      bytes.writeUInt32LE(value, 4 + 4 * key);
    });
    return bytes;
  }

  restore(state: Uint8Array): void {
    const bytes = Buffer.from(state);
    this.#digest = bytes.readUInt32LE(0);
    this.#values = Uint32Array.from({ length: maxKeys }, (_, key) =>
      bytes.readUInt32LE(4 + 4 * key),
    );
  }
}

export function encodeWrite(key: number, value: number): Uint8Array {
  const bytes = Buffer.alloc(commandBytes);
  bytes.writeUInt8(key, 0);
  bytes.writeUInt32LE(value, 1);
  return Uint8Array.from(bytes);
}
