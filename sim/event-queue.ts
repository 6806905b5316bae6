type Event = { readonly at: number; readonly order: number; readonly run: () => void };

/** Virtual time: events in the order of their time, equal times in the order of planning. */
export class EventQueue {
  now = 0;
  readonly #heap: Event[] = [];
  #planned = 0;

  get size(): number {
    return this.#heap.length;
  }

  /** When the next event is due; undefined when nothing is planned. */
  get nextAt(): number | undefined {
    return this.#heap[0]?.at;
  }

  after(delay: number, run: () => void): void {
    this.#planned += 1;
    this.#heap.push({ at: this.now + delay, order: this.#planned, run });
    this.#siftUp(this.#heap.length - 1);
  }

  /** Runs the next event, at its time. */
  runNext(): void {
    const next = this.#heap[0];
    if (next === undefined) return;
    this.#removeFirst();
    this.now = next.at;
    next.run();
  }

  #removeFirst(): void {
    const last = this.#heap.pop();
    if (last === undefined || this.#heap.length === 0) return;
    const heap = this.#heap;
    let at = 0;
    for (;;) {
      let least = 2 * at + 1;
      let child = heap[least];
      if (child === undefined) break;
      const right = heap[least + 1];
      if (right !== undefined && isBefore(right, child)) {
        least += 1;
        child = right;
      }
      if (!isBefore(child, last)) break;
      heap[at] = child;
      at = least;
    }
    heap[at] = last;
  }

  #siftUp(start: number): void {
    const heap = this.#heap;
    const event = heap[start];
    if (event === undefined) return;
    let at = start;
    while (at > 0) {
      const parent = heap[(at - 1) >> 1];
      if (parent === undefined || !isBefore(event, parent)) break;
      heap[at] = parent;
      at = (at - 1) >> 1;
    }
    heap[at] = event;
  }
}

function isBefore(left: Event, right: Event): boolean {
  return left.at < right.at || (left.at === right.at && left.order < right.order);
}
