import { type EventDraft, serviceObject } from "../events/index.ts";
import type { ReadableCell, ServiceKey } from "../kernel/index.ts";

/** A queued change, as far as it is told. */
export type ToldIntent = {
  readonly number: number;
  /** As somebody would type it. */
  readonly change: string;
  readonly services: readonly ServiceKey[];
  /** Why it was refused when its turn came. */
  readonly refusal?: string | undefined;
};

type IntentWatchOptions = {
  readonly intents: ReadableCell<readonly ToldIntent[]>;
  readonly node: () => string;
  readonly note: (draft: EventDraft) => void;
};

/** Tells what becomes of the changes that wait on this node for a quorum. */
export class IntentWatch implements Disposable {
  readonly #options: IntentWatchOptions;
  readonly #stop: () => void;
  readonly #cancelled = new Set<number>();
  #known: ReadonlyMap<number, ToldIntent>;

  constructor(options: IntentWatchOptions) {
    this.#options = options;
    this.#known = byNumber(options.intents.get());
    this.#stop = options.intents.subscribe(() => this.#look());
  }

  /**
   * Says, before it is done, that somebody takes a change back: else its end means that it was
   * agreed. Returns the undo, for when it cannot be taken back.
   */
  cancelling(number: number): () => void {
    if (this.#known.has(number)) this.#cancelled.add(number);
    return () => this.#cancelled.delete(number);
  }

  [Symbol.dispose](): void {
    this.#stop();
  }

  #look(): void {
    const before = this.#known;
    this.#known = byNumber(this.#options.intents.get());
    for (const intent of this.#known.values()) {
      const was = before.get(intent.number);
      if (was === undefined) this.#tell("IntentQueued", intent, "waits here for a quorum.");
      if (intent.refusal !== undefined && was?.refusal !== intent.refusal) {
        this.#tell("IntentRefused", intent, `was not made: ${intent.refusal}`);
      }
    }
    for (const intent of before.values()) {
      if (this.#known.has(intent.number)) continue;
      const isCancelled = this.#cancelled.delete(intent.number);
      if (isCancelled) this.#tell("IntentCancelled", intent, "was taken back.");
      else this.#tell("IntentAgreed", intent, "was agreed.");
    }
  }

  #tell(reason: EventDraft["reason"], { number, change, services }: ToldIntent, what: string) {
    const message = `Queued change ${number} (${change}) ${what}`;
    const node = this.#options.node();
    for (const service of services) {
      this.#options.note({ reason, object: serviceObject(service), node, message });
    }
  }
}

function byNumber(intents: readonly ToldIntent[]): ReadonlyMap<number, ToldIntent> {
  return new Map(intents.map((intent) => [intent.number, intent]));
}
