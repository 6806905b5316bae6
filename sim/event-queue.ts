type Event = { readonly at: number; readonly order: number; readonly run: () => void };

/** Virtual time: events in the order of their time, equal times in the order of planning. */
export class EventQueue {
  now = 0;
  readonly #heap: Event[] = [];
  #planned = 0;

  get size(): number {
    return this.#heap.length;
  }

  after(delay: number, run: () => void): void {
    this.#planned += 1;
    this.#heap.push({ at: this.now + delay, order: this.#planned, run });
    this.#siftUp(this.#heap.length - 1);
  }

  /** Runs everything that is due until `time`. */
  runUntil(time: number): void {
    for (let next = this.#heap[0]; next !== undefined && next.at <= time; next = this.#heap[0]) {
      this.#removeFirst();
      this.now = next.at;
      next.run();
    }
    this.now = time;
  }

  #removeFirst(): void {
    const last = this.#heap.pop();
    if (last === undefined || this.#heap.length === 0) return;
    this.#heap[0] = last;
    let at = 0;
    for (;;) {
      let least = at;
      for (const child of [2 * at + 1, 2 * at + 2]) {
        if (isBefore(this.#heap[child], this.#heap[least])) least = child;
      }
      if (least === at) return;
      this.#swap(at, least);
      at = least;
    }
  }

  #siftUp(start: number): void {
    let at = start;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isBefore(this.#heap[at], this.#heap[parent])) return;
      this.#swap(at, parent);
      at = parent;
    }
  }

  #swap(left: number, right: number): void {
    const a = this.#heap[left];
    const b = this.#heap[right];
    if (a === undefined || b === undefined) return;
    this.#heap[left] = b;
    this.#heap[right] = a;
  }
}

function isBefore(left: Event | undefined, right: Event | undefined): boolean {
  if (left === undefined || right === undefined) return false;
  return left.at < right.at || (left.at === right.at && left.order < right.order);
}
