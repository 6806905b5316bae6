/** Randomness as the core sees it: seeded in tests and `sim/`, real entropy in the daemon. */
export interface Random {
  /** Uniform in [0, 1). */
  next(): number;
}

/** Uniform integer in [0, below). */
export function randomBelow(random: Random, below: number): number {
  return Math.floor(random.next() * below);
}

const alphabet = "abcdefghijklmnopqrstuvwxyz234567";

/** A lower-case base32 name of `length` characters (5 bits each). */
export function randomName(random: Random, length: number): string {
  let name = "";
  for (let i = 0; i < length; i += 1) name += alphabet[randomBelow(random, alphabet.length)];
  return name;
}

/** Small seeded generator (mulberry32, public domain algorithm): one seed, one sequence. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  return {
    next() {
      state = (state + 0x6d2b79f5) >>> 0;
      let mixed = state;
      mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
      mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
      return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
    },
  };
}
