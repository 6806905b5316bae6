import { apply, type ClusterState } from "../cluster/index.ts";
import { Cell, CodedError, type ReadableCell } from "../kernel/index.ts";
import {
  encodeIntents,
  following,
  type Intent,
  type IntentCommand,
  namespacesOf,
  type Refusal,
  type StoredIntents,
} from "./intent.ts";

/** More changes than this may not wait on one node. */
export const maxIntents = 100;
/** Of all of them together, as they are stored. */
export const maxIntentBytes = 4 * 2 ** 20;

/**
 * - `queue_full`: no more can be kept here.
 * - `not_found`: none has this number.
 * - `in_flight`: it is being agreed right now.
 */
export class IntentError extends CodedError<"queue_full" | "not_found" | "in_flight"> {}

/** The changes that wait for a quorum on this node, in the order in which they were asked for. */
export class IntentQueue {
  readonly #save: (bytes: Uint8Array) => void;
  readonly #intents: Cell<readonly Intent[]>;
  #next: number;
  #inFlight: number | undefined;

  /** `save` returns when the bytes are durable, and throws when that failed. */
  constructor(stored: StoredIntents, save: (bytes: Uint8Array) => void) {
    this.#save = save;
    this.#next = stored.next;
    this.#intents = new Cell(stored.intents);
  }

  get intents(): ReadableCell<readonly Intent[]> {
    return this.#intents;
  }

  /** Durable when it returns. @throws IntentError `queue_full` */
  take(taken: Omit<Intent, "number" | "refusal">): Intent {
    const before = this.#intents.get();
    if (before.length >= maxIntents) {
      const text = `${maxIntents} changes wait on this node already.`;
      throw new IntentError("queue_full", text);
    }
    const intent = { ...taken, number: this.#next };
    const intents = [...before, intent];
    const bytes = encodeIntents({ next: intent.number + 1, intents });
    if (bytes.byteLength > maxIntentBytes) {
      const text = `What waits on this node would be ${bytes.byteLength} bytes; ${maxIntentBytes} are kept.`;
      throw new IntentError("queue_full", text);
    }
    this.#next = intent.number + 1;
    this.#store(intents);
    return intent;
  }

  /** Forgets it. @throws IntentError `not_found`, `in_flight` */
  cancel(number: number): Intent {
    const intent = this.#changeable(number);
    this.#store(this.#intents.get().filter((each) => each !== intent));
    return intent;
  }

  /**
   * Has it tried once more, under another name, whatever has become of the services.
   * @throws IntentError `not_found`, `in_flight`
   */
  release(number: number, proposalId: string): void {
    const { refusal: _, ...intent } = this.#changeable(number);
    const { expected: __, ...command } = intent.command;
    this.#replace({ ...intent, command, proposalId });
  }

  /** The one to propose next: none before a refused one of its namespace was decided. */
  next(): Intent | undefined {
    return this.#intents
      .get()
      .find((intent) => intent.refusal === undefined && this.blockerOf(intent) === undefined);
  }

  /** The refused intent that one waits for: what concerns one namespace stays in order. */
  blockerOf({ number, command }: Intent): Intent | undefined {
    return this.#intents
      .get()
      .find(
        (each) =>
          each.number < number && each.refusal !== undefined && overlaps(each.command, command),
      );
  }

  /** Whether a change of these services would overtake one that is about to be proposed. */
  isAheadOf(command: IntentCommand): boolean {
    return this.#intents
      .get()
      .some(
        (each) =>
          each.refusal === undefined &&
          overlaps(each.command, command) &&
          this.blockerOf(each) === undefined,
      );
  }

  /** Marks it while it is proposed: it cannot be taken back then. Returns the undo. */
  begin({ number }: Intent): () => void {
    this.#inFlight = number;
    return () => {
      this.#inFlight = undefined;
    };
  }

  /** It was agreed at `index`. Forgotten, and known to those after it, in one write. */
  done({ number, command }: Intent, index: number): void {
    const rest = this.#intents.get().filter((each) => each.number !== number);
    this.#store(
      rest.map((each) => (each.number > number ? following(each, command, index) : each)),
    );
  }

  refused({ number }: Intent, refusal: Refusal): void {
    const intent = this.#find(number);
    this.#replace({ ...intent, refusal });
  }

  /** The agreed state as it will be when what waits is done. */
  preview(state: ClusterState): ClusterState {
    return this.#intents
      .get()
      .filter(({ refusal }) => refusal === undefined)
      .reduce((now, { command }) => apply(now, now.index + 1, command).state, state);
  }

  #find(number: number): Intent {
    const found = this.#intents.get().find((each) => each.number === number);
    if (found !== undefined) return found;
    const text = `No change with the number ${number} waits on this node. See: skein queue ls`;
    throw new IntentError("not_found", text);
  }

  #changeable(number: number): Intent {
    const intent = this.#find(number);
    if (number !== this.#inFlight) return intent;
    const text = `Change ${number} is being agreed right now. Look again in a moment: skein queue ls`;
    throw new IntentError("in_flight", text);
  }

  #replace(intent: Intent): void {
    this.#store(this.#intents.get().map((each) => (each.number === intent.number ? intent : each)));
  }

  #store(intents: readonly Intent[]): void {
    this.#save(encodeIntents({ next: this.#next, intents }));
    this.#intents.set(intents);
  }
}

function overlaps(left: IntentCommand, right: IntentCommand): boolean {
  return !namespacesOf(left).isDisjointFrom(namespacesOf(right));
}
