/** One call of a client to a register, and what it was told. Times are of one clock. */
export type Operation = {
  readonly kind: "write" | "read";
  /** Written, or read. */
  readonly value: number;
  readonly begin: number;
  /**
   * When the answer came. Undefined of a write that was never answered: it may take effect at any
   * time after its beginning, or never. A read without an answer says nothing: leave it out.
   */
  readonly end: number | undefined;
};

/** `undecided`: the search was given up at its limit; the history was neither shown good nor bad. */
export type Verdict = "linearizable" | "not_linearizable" | "undecided";

const defaultMaxStates = 200_000;

type Call = Operation & { readonly latest: number };

/**
 * Whether one register, read and written by all clients at once, can be explained as if every
 * operation happened at one moment between its beginning and its end.
 *
 * The search of Wing and Gong ("Testing and verifying concurrent objects", 1993), with Lowe's
 * memory of configurations already tried ("Testing for linearizability", 2017): take any of the
 * operations that began before the first end among those left, see whether the register allows
 * it, go on; go back where nothing fits. A configuration is the set of operations taken and the
 * register's value. Histories are checked key by key, because linearizability is local.
 */
export function checkRegister(
  operations: readonly Operation[],
  {
    initial = 0,
    maxStates = defaultMaxStates,
  }: { readonly initial?: number; readonly maxStates?: number } = {},
): Verdict {
  const calls = withLatestEnds(operations);
  return calls === undefined ? "not_linearizable" : new Search(calls, maxStates).run(initial);
}

/**
 * Orders the calls and says until when each must have happened. A write without an answer is
 * left out where nobody read its value: whether it happened makes no difference then. Where
 * somebody did, and no other write wrote the same, it happened before the first such read ended.
 */
function withLatestEnds(operations: readonly Operation[]): readonly Call[] | undefined {
  const firstReadEnd = new Map<number, number>();
  const writers = new Map<number, number>();
  for (const { kind, value, end = Number.POSITIVE_INFINITY, begin } of operations) {
    if (end < begin) return undefined;
    if (kind === "write") writers.set(value, (writers.get(value) ?? 0) + 1);
    else firstReadEnd.set(value, Math.min(end, firstReadEnd.get(value) ?? end));
  }
  const calls: Call[] = [];
  for (const operation of operations) {
    const { kind, value, begin, end } = operation;
    if (end !== undefined) {
      calls.push({ ...operation, latest: end });
      continue;
    }
    const readEnd = firstReadEnd.get(value);
    if (kind === "read" || readEnd === undefined) continue;
    const isOnlyWriter = writers.get(value) === 1;
    // It was read before it was written at all.
    if (isOnlyWriter && readEnd < begin) return undefined;
    calls.push({ ...operation, latest: isOnlyWriter ? readEnd : Number.POSITIVE_INFINITY });
  }
  return calls.sort((left, right) => left.begin - right.begin || left.latest - right.latest);
}

class Search {
  readonly #calls: readonly Call[];
  readonly #isTaken: Uint8Array;
  readonly #tried = new Set<string>();
  /** Of each value. */
  readonly #readsLeft = new Map<number, number>();
  readonly #writesLeft = new Map<number, number>();
  #left: number;
  #statesLeft: number;

  constructor(calls: readonly Call[], maxStates: number) {
    this.#calls = calls;
    this.#isTaken = new Uint8Array(calls.length);
    // Those that may never have happened need not be taken.
    this.#left = calls.filter(({ latest }) => Number.isFinite(latest)).length;
    this.#statesLeft = maxStates;
    for (const call of calls) this.#count(call, 1);
  }

  run(initial: number): Verdict {
    if (this.#explore(initial, 0)) return "linearizable";
    return this.#statesLeft > 0 ? "not_linearizable" : "undecided";
  }

  /** Depth-first; the depth is at most the number of calls. */
  #explore(value: number, start: number): boolean {
    if (this.#left === 0) return true;
    if (this.#statesLeft <= 0) return false;
    let from = start;
    while (this.#isTaken[from] === 1) from += 1;
    const { candidates, key } = this.#candidates(value, from);
    if (this.#tried.has(key)) return false;
    this.#tried.add(key);
    this.#statesLeft -= 1;
    // A read of the present value changes nothing, so where it fits it may as well be now.
    const read = candidates.find((at) => this.#isRead(at, value));
    if (read !== undefined) return this.#take(read, from);
    // What is still to be read and never written again must not be overwritten.
    const isNeeded = (this.#readsLeft.get(value) ?? 0) > 0;
    if (isNeeded && (this.#writesLeft.get(value) ?? 0) === 0) return false;
    return candidates.some((at) => this.#calls[at]?.kind === "write" && this.#take(at, from));
  }

  #isRead(position: number, value: number): boolean {
    const call = this.#calls[position];
    return call?.kind === "read" && call.value === value;
  }

  /** Goes on with a call taken, and puts it back when that leads nowhere. */
  #take(position: number, from: number): boolean {
    const call = this.#calls[position];
    if (call === undefined) return false;
    const isNeeded = Number.isFinite(call.latest);
    this.#isTaken[position] = 1;
    this.#count(call, -1);
    if (isNeeded) this.#left -= 1;
    if (this.#explore(call.value, from)) return true;
    this.#isTaken[position] = 0;
    this.#count(call, 1);
    if (isNeeded) this.#left += 1;
    return false;
  }

  #count({ kind, value }: Call, change: number): void {
    const counts = kind === "read" ? this.#readsLeft : this.#writesLeft;
    counts.set(value, (counts.get(value) ?? 0) + change);
  }

  /** What may come next: everything that began before the first end of what is left. */
  #candidates(value: number, from: number) {
    const candidates: number[] = [];
    let key = `${value}|${from}`;
    let firstEnd = Number.POSITIVE_INFINITY;
    for (let position = from; position < this.#calls.length; position += 1) {
      const call = this.#calls[position];
      if (call === undefined || call.begin > firstEnd) break;
      if (this.#isTaken[position] === 1) {
        key += `,${position}`;
        continue;
      }
      candidates.push(position);
      firstEnd = Math.min(firstEnd, call.latest);
    }
    return { candidates, key };
  }
}
