/** Dials under way at once. A handshake costs both ends some milliseconds of a core. */
const maxDials = 4;
/**
 * Of them, dials to nodes that could not be reached the last time: those that are gone, which
 * take all of their time, leave room for the others, and where a crowd starts at once and dials
 * time out for want of a core, fewer are tried.
 */
const maxDoubtful = 2;

type Waiting = { readonly isDoubtful: boolean; isAwaited: boolean; readonly begin: () => void };

/** A dial's place, from asking for it on. */
export type DialPlace = {
  /** Resolves when the dial may begin, with what to call at its end. */
  readonly begun: Promise<() => void>;
  /** Somebody waits for this very dial. */
  readonly hurry: () => void;
};

/**
 * Lets some dials begin at a time. Of those that wait for their turn every second one is one
 * that somebody needs now, as long as there are any: it does not wait for all those that are
 * gone, and the others are not forgotten where needed ones are gone, too.
 */
export class DialSlots {
  #waiting: readonly Waiting[] = [];
  #fresh = 0;
  #doubtful = 0;
  #wasAwaited = false;

  enter(isDoubtful: boolean): DialPlace {
    const { promise, resolve } = Promise.withResolvers<() => void>();
    const begin = (): void => {
      this.#count(isDoubtful, 1);
      resolve(() => {
        this.#count(isDoubtful, -1);
        this.#admit();
      });
    };
    const waiting: Waiting = { isDoubtful, isAwaited: false, begin };
    this.#waiting = [...this.#waiting, waiting];
    this.#admit();
    const hurry = (): void => {
      waiting.isAwaited = true;
    };
    return { begun: promise, hurry };
  }

  #count(isDoubtful: boolean, change: 1 | -1): void {
    if (isDoubtful) this.#doubtful += change;
    else this.#fresh += change;
  }

  #admit(): void {
    for (;;) {
      const hasRoom = this.#fresh + this.#doubtful < maxDials;
      const mayDoubt = this.#doubtful < maxDoubtful;
      const able = this.#waiting.filter(({ isDoubtful }) => hasRoom && (mayDoubt || !isDoubtful));
      const next = able.find(({ isAwaited }) => isAwaited !== this.#wasAwaited) ?? able[0];
      if (next === undefined) return;
      this.#wasAwaited = next.isAwaited;
      this.#waiting = this.#waiting.filter((each) => each !== next);
      next.begin();
    }
  }
}
