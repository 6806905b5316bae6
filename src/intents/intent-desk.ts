import { apply, type ClusterState, type Command, type Outcome } from "../cluster/index.ts";
import {
  type Clock,
  CodedError,
  codeOf,
  type Logger,
  messageOf,
  type Random,
  type ReadableCell,
  randomName,
  runReconcileLoop,
  Wakeup,
} from "../kernel/index.ts";
import { expecting, type Intent, type IntentCommand } from "./intent.ts";
import { IntentError, type IntentQueue } from "./intent-queue.ts";

const resyncMs = 30_000;
const retryMaxMs = 5_000;
const proposalIdLength = 24;

export type IntentDeskOptions = {
  readonly queue: IntentQueue;
  readonly state: ReadableCell<ClusterState>;
  readonly log: ReadableCell<{ readonly hasQuorum: boolean }>;
  /** Proposes to the log; a command with an id is applied once. */
  readonly submit: (
    command: Command,
    options: { readonly signal: AbortSignal; readonly id?: string },
  ) => Promise<Outcome>;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
};

/** What came of a change that somebody asked for. */
export type ChangeOutcome = Outcome | { readonly kind: "queued"; readonly intent: Intent };

/**
 * Takes changes. What cannot be agreed for want of a quorum is kept, and proposed when there
 * is one again: once, in order, and only while the services are as whoever asked saw them.
 */
export class IntentDesk implements AsyncDisposable {
  readonly #options: IntentDeskOptions;
  readonly #stopping = new AbortController();
  readonly #wakeup = new Wakeup();
  readonly #undo: readonly (() => void)[];
  readonly #running: Promise<void>;
  #pass: Promise<void> | undefined;

  constructor(options: IntentDeskOptions) {
    this.#options = options;
    const { queue, log, clock, logger } = options;
    const wake = () => this.#wakeup.wake();
    this.#undo = [log.subscribe(wake), queue.intents.subscribe(wake)];
    this.#running = runReconcileLoop(
      this.#wakeup,
      {
        reconcile: () => this.#replay(),
        onError: (error, retryInMs) =>
          logger.info({ error: messageOf(error), retryInMs }, "queued changes wait on"),
        clock,
        resyncMs,
        retryMaxMs,
      },
      this.#stopping.signal,
    );
  }

  /**
   * Proposes a change, and keeps it when there is no quorum. Waits for one as long as the log
   * does for a proposal.
   * @throws CodedError `no_quorum` when it may not be kept, or cannot.
   */
  async change(
    command: IntentCommand,
    {
      author,
      mayQueue,
      signal,
    }: { readonly author: string; readonly mayQueue: boolean; readonly signal: AbortSignal },
  ): Promise<ChangeOutcome> {
    const { queue, state, submit, random } = this.#options;
    const wanted = expecting(command, state.get());
    const proposalId = randomName(random, proposalIdLength);
    const take = () => this.#take(wanted, { author, proposalId });
    if (queue.isAheadOf(command)) {
      await this.#replay().catch(() => undefined);
      if (queue.isAheadOf(command) && mayQueue) return take();
    }
    try {
      return await submit(command, { signal, id: proposalId });
    } catch (error) {
      if (codeOf(error) !== "no_quorum" || !mayQueue || signal.aborted) throw error;
      return take();
    }
  }

  /** Takes a waiting change back. @throws IntentError */
  async cancel(number: number): Promise<Intent> {
    return this.#options.queue.cancel(number);
  }

  /**
   * Has a refused change tried again, whatever has become of the services; resolves with it
   * when it is refused again, or waits.
   * @throws IntentError, CodedError `no_quorum`
   */
  async release(number: number): Promise<Intent | undefined> {
    const { queue, random } = this.#options;
    queue.release(number, randomName(random, proposalIdLength));
    await this.#replay();
    return queue.intents.get().find((each) => each.number === number);
  }

  /** What a person has to know of them. */
  warnings(): readonly string[] {
    const intents = this.#options.queue.intents.get();
    const refused = intents.filter(({ refusal }) => refusal !== undefined).length;
    if (intents.length === 0) return [];
    const waiting = `${intents.length} queued on this node, not agreed yet`;
    const decide = refused === 0 ? "" : `; ${refused} of them need a decision`;
    return [`Changes ${waiting}${decide}. See: skein queue ls`];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const undo of this.#undo) undo();
    this.#stopping.abort();
    await this.#running;
    await this.#pass?.catch(() => undefined);
  }

  #take(
    command: IntentCommand,
    { author, proposalId }: Pick<Intent, "author" | "proposalId">,
  ): ChangeOutcome {
    const { queue, state, clock, logger } = this.#options;
    const before = queue.preview(state.get());
    const { expected: _, ...bare } = command;
    const { outcome } = apply(before, before.index + 1, bare);
    if (outcome.kind === "rejected") return outcome;
    try {
      const intent = queue.take({ command, author, proposalId, takenAtMs: clock.now() });
      logger.info({ number: intent.number, author }, "no quorum: change queued");
      return { kind: "queued", intent };
    } catch (error) {
      if (!(error instanceof IntentError)) throw error;
      const text = `No quorum, and the change cannot be kept until there is one: ${error.message} See: skein queue ls`;
      throw new CodedError("no_quorum", text, { cause: error });
    }
  }

  /** Proposes what waits, one after the other. One pass at a time, whoever asks. */
  #replay(): Promise<void> {
    this.#pass ??= this.#proposeAll().finally(() => {
      this.#pass = undefined;
    });
    return this.#pass;
  }

  async #proposeAll(): Promise<void> {
    const { queue, log } = this.#options;
    while (log.get().hasQuorum && !this.#stopping.signal.aborted) {
      const intent = queue.next();
      if (intent === undefined) return;
      const end = queue.begin(intent);
      try {
        await this.#propose(intent);
      } finally {
        end();
      }
    }
  }

  async #propose(intent: Intent): Promise<void> {
    const { queue, submit, logger } = this.#options;
    const { signal } = this.#stopping;
    const { number, command, proposalId } = intent;
    const outcome = await submit(command, { signal, id: proposalId }).catch(refusedForGood);
    if (outcome.kind === "accepted") {
      queue.done(intent, outcome.index);
      logger.info({ number, index: outcome.index }, "queued change agreed");
    } else {
      queue.refused(intent, { code: outcome.code, message: outcome.message });
      logger.warn({ number, code: outcome.code }, "queued change refused");
    }
  }
}

/** What no further attempt would mend. */
function refusedForGood(error: unknown): Refused {
  if (codeOf(error) !== "too_large") throw error;
  return { kind: "rejected", code: "invalid", message: messageOf(error) };
}

type Refused = Extract<Outcome, { readonly kind: "rejected" }>;
