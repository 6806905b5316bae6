/** Dials under way at once. A handshake costs both ends some milliseconds of a core. */
const maxDials = 4;
/**
 * Of them, dials to nodes that could not be reached the last time: those that are gone, which
 * take all of their time, leave room for the others, and where a crowd starts at once and dials
 * time out for want of a core, fewer are tried.
 */
const maxDoubtful = 2;

type Waiting = { readonly isDoubtful: boolean; readonly enter: () => void };

/** Lets some dials begin at a time; the others wait for their turn, the promising ones less. */
export class DialSlots {
  #waiting: readonly Waiting[] = [];
  #fresh = 0;
  #doubtful = 0;

  /** Resolves when the dial may begin, with what to call at its end. */
  enter(isDoubtful: boolean): Promise<() => void> {
    const { promise, resolve } = Promise.withResolvers<() => void>();
    const enter = (): void => {
      this.#count(isDoubtful, 1);
      resolve(() => {
        this.#count(isDoubtful, -1);
        this.#admit();
      });
    };
    this.#waiting = [...this.#waiting, { isDoubtful, enter }];
    this.#admit();
    return promise;
  }

  #count(isDoubtful: boolean, change: 1 | -1): void {
    if (isDoubtful) this.#doubtful += change;
    else this.#fresh += change;
  }

  #admit(): void {
    for (;;) {
      const hasRoom = this.#fresh + this.#doubtful < maxDials;
      const mayDoubt = this.#doubtful < maxDoubtful;
      const next = this.#waiting.find(({ isDoubtful }) => hasRoom && (mayDoubt || !isDoubtful));
      if (next === undefined) return;
      this.#waiting = this.#waiting.filter((each) => each !== next);
      next.enter();
    }
  }
}
