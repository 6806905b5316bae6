/** A hash of the agreed state right after the entry at `index`, and of all digests before. */
export type StateDigest = { readonly index: number; readonly value: number };

/** As a snapshot keeps it, so that whoever restores it digests at the same indexes. */
export type StoredDigest = {
  readonly bytesSince: number;
  readonly stateBytes: number;
  readonly last: StateDigest | undefined;
};

/** A small state is not hashed for every entry. */
const minBytesBetween = 4 * 2 ** 10;
/** Others' digests arrive late; so many of the own ones can still be compared with them. */
const maxRemembered = 64;

/**
 * A running hash over the state, so that two nodes that hold different states find out. It is
 * taken whenever as many bytes of entries were applied as the state has itself: that costs no
 * more than the entries did, and every node does it at the same indexes.
 */
export class DigestTrail {
  #bytesSince = 0;
  #stateBytes = 0;
  #remembered: readonly StateDigest[] = [];

  get last(): StateDigest | undefined {
    return this.#remembered.at(-1);
  }

  /** The digest taken at an index, while it is remembered. */
  at(index: number): number | undefined {
    return this.#remembered.find((digest) => digest.index === index)?.value;
  }

  /** Call after each applied entry; encodes the state only when a digest is due. */
  applied(entry: { readonly index: number; readonly bytes: number }, encode: () => Uint8Array) {
    this.#bytesSince += entry.bytes;
    if (this.#bytesSince < Math.max(minBytesBetween, this.#stateBytes)) return;
    const state = encode();
    const value = hashOf(state, this.last?.value ?? 0);
    this.#remembered = [...this.#remembered, { index: entry.index, value }].slice(-maxRemembered);
    this.#bytesSince = 0;
    this.#stateBytes = state.byteLength;
  }

  store(): StoredDigest {
    return { bytesSince: this.#bytesSince, stateBytes: this.#stateBytes, last: this.last };
  }

  /** Goes on from a snapshot. One from before there were digests begins a new trail. */
  restore(stored: StoredDigest | undefined): void {
    this.#bytesSince = stored?.bytesSince ?? 0;
    this.#stateBytes = stored?.stateBytes ?? 0;
    this.#remembered = stored?.last === undefined ? [] : [stored.last];
  }
}

/** 53 bits over the bytes: two multiplicative hashes side by side, mixed at the end. */
function hashOf(bytes: Uint8Array, seed: number): number {
  let left = 0xdeadbeef ^ (seed >>> 0);
  let right = 0x41c6ce57 ^ Math.floor(seed / 2 ** 32);
  for (const byte of bytes) {
    left = Math.imul(left ^ byte, 2_654_435_761);
    right = Math.imul(right ^ byte, 1_597_334_677);
  }
  left =
    Math.imul(left ^ (left >>> 16), 2_246_822_507) ^
    Math.imul(right ^ (right >>> 13), 3_266_489_909);
  right =
    Math.imul(right ^ (right >>> 16), 2_246_822_507) ^
    Math.imul(left ^ (left >>> 13), 3_266_489_909);
  return (right & 0x1fffff) * 2 ** 32 + (left >>> 0);
}
