import { CodedError } from "../../kernel/index.ts";

/** Join attempts that a member works on at once: each costs signatures and a log entry. */
const maxParallelJoins = 8;
const maxJoinRequestsPerSecond = 50;

/** Keeps strangers from keeping a member busy. */
export class JoinGate {
  readonly #now: () => number;
  #underWay = 0;
  #second = 0;
  #inThisSecond = 0;

  constructor(now: () => number) {
    this.#now = now;
  }

  /** @throws CodedError `busy` */
  enter(): Disposable {
    const second = Math.floor(this.#now() / 1_000);
    if (second !== this.#second) this.#inThisSecond = 0;
    this.#second = second;
    if (this.#underWay >= maxParallelJoins || this.#inThisSecond >= maxJoinRequestsPerSecond) {
      throw new CodedError("busy", "Too many machines join at once. Try again in a few seconds.");
    }
    this.#inThisSecond += 1;
    this.#underWay += 1;
    return {
      [Symbol.dispose]: () => {
        this.#underWay -= 1;
      },
    };
  }
}
