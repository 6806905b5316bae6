import { maxKeys, RegisterMachine } from "../raft/register-machine.ts";

const fillBytes = 8;
const headBytes = 2 * fillBytes;
/** Of each proposal's place in the table of a snapshot: its id, and what frames the two. */
const idBytes = 7;
const tableHeadBytes = 3 + 5 + 5;

/** The name of the proposal that writes a value; no two write the same. */
export function idOf(value: number): string {
  return `w${String(value).padStart(idBytes - 1, "0")}`;
}

export function valueIn(command: Uint8Array): number {
  return Buffer.from(command).readUInt32LE(1);
}

/**
 * What a node has applied: registers, how many writes that were, and a digest of all of them in
 * their order. Snapshots of one run have all the same size, so that nobody can tell one from
 * another by it, and their bytes differ everywhere.
 */
export class WrittenState {
  readonly #registers = new RegisterMachine();
  readonly #snapshotBytes: number;
  /** Of writes. */
  count = 0;
  /** Of the last one, or of the snapshot. */
  index = 0;
  #tableBytes = 0;

  constructor(snapshotBytes: number) {
    this.#snapshotBytes = snapshotBytes;
  }

  get digest(): number {
    return this.#registers.digest;
  }

  valueOf(key: number): number {
    return this.#registers.valueOf(key);
  }

  write(index: number, command: Uint8Array): void {
    this.#registers.write(command);
    // The index stands where a term would: the state machine is told of no term.
    const entry = { kind: "normal", index, term: index, data: command } as const;
    this.#registers.note(entry, { hasEffect: true });
    this.count += 1;
    this.index = index;
    this.#tableBytes += 2 + idBytes + bytesOf(index);
  }

  encode(): Uint8Array {
    const end = this.#registers.encode();
    const fill = this.#snapshotBytes - this.#tableBytes - tableHeadBytes - headBytes;
    const size = headBytes + Math.max(0, fill) + end.byteLength;
    const state = Buffer.alloc(size);
    state.writeUInt32LE(this.count, 0);
    state.writeUInt32LE(this.#tableBytes, 4);
    state.fill(fillOf(this.digest), headBytes, size - end.byteLength);
    // At the end: what is put together of two snapshots has the head of the one, and this of the other.
    state.set(end, size - end.byteLength);
    return new Uint8Array(state.buffer, state.byteOffset, size);
  }

  /** @throws when it is no such state. */
  restore(state: Uint8Array, index: number): void {
    const bytes = Buffer.from(state.buffer, state.byteOffset, state.byteLength);
    const end = bytes.subarray(-4 * (maxKeys + 1));
    if (bytes.byteLength < headBytes + end.byteLength) throw new Error("the state is too short");
    this.count = bytes.readUInt32LE(0);
    this.#tableBytes = bytes.readUInt32LE(4);
    this.index = index;
    this.#registers.restore(end);
  }

  /** Whether the bytes are the ones that this state has. */
  isEncodedAs(state: Uint8Array): boolean {
    return Buffer.compare(this.encode(), state) === 0;
  }
}

function fillOf(digest: number): Buffer {
  const fill = Buffer.alloc(fillBytes, "fill");
  fill.writeUInt32LE(digest, 0);
  return fill;
}

/** As msgpack writes it. */
function bytesOf(natural: number): number {
  if (natural < 0x80) return 1;
  if (natural < 0x100) return 2;
  return natural < 0x10000 ? 3 : 5;
}
