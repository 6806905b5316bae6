import { type FSWatcher, watch } from "node:fs";
import { type Clock, type Logger, messageOf, Wakeup } from "../../kernel/index.ts";
import type { Container } from "../container-runtime.ts";
import { ProcessLog } from "./process-log.ts";
import { type ProcessRecord, readState } from "./process-record.ts";
import { type ProcessIdentity, readIdentity, signalGroup } from "./process-supervisor.ts";

/**
 * Keeps an eye on one container: its files tell by events what it prints and that it has
 * ended. `check` covers what causes no event (the supervising shell was killed, or the
 * machine has no more watches to give) and is called every second.
 */
export class ProcessMonitor {
  readonly record: ProcessRecord;
  readonly folder: string;
  readonly log: ProcessLog;
  readonly #bootId: string;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #onChange: () => void;
  readonly #waiting = new Set<Wakeup>();
  #watcher: FSWatcher | undefined;
  #program: ProcessIdentity | undefined;
  #looking: Promise<Container["state"]> | undefined;
  #nextLook: Promise<Container["state"]> | undefined;
  #lastKind: Container["state"]["kind"] = "created";
  #isEnded = false;

  constructor(of: {
    readonly record: ProcessRecord;
    readonly folder: string;
    readonly bootId: string;
    readonly clock: Clock;
    readonly logger: Logger;
    readonly signal: AbortSignal;
    readonly onChange: () => void;
  }) {
    this.record = of.record;
    this.folder = of.folder;
    this.log = new ProcessLog(of.folder, of.clock, of.signal);
    this.#bootId = of.bootId;
    this.#clock = of.clock;
    this.#logger = of.logger;
    this.#onChange = of.onChange;
    this.#watch();
  }

  get isEnded(): boolean {
    return this.#isEnded;
  }

  /**
   * The state as it is now, one look at a time: a call during a look shares the next one,
   * because the present one may have read too early. The first that finds the end tells
   * everybody.
   */
  async check(): Promise<Container["state"]> {
    if (this.#looking === undefined) return await this.#startLook();
    this.#nextLook ??= this.#looking
      .catch(() => undefined)
      .then(() => {
        this.#nextLook = undefined;
        return this.#startLook();
      });
    return await this.#nextLook;
  }

  /** False when the time was over first. */
  async whenEnded({
    atMostMs,
    signal,
  }: {
    readonly atMostMs: number;
    readonly signal: AbortSignal;
  }): Promise<boolean> {
    return await this.#until(async () => (await this.check()).kind === "exited", atMostMs, signal);
  }

  /** Resolves when the program has been started (and may have ended again). */
  async whenStarted({
    atMostMs,
    signal,
  }: {
    readonly atMostMs: number;
    readonly signal: AbortSignal;
  }): Promise<boolean> {
    return await this.#until(async () => (await this.check()).kind !== "created", atMostMs, signal);
  }

  async signal(name: string): Promise<boolean> {
    this.#program ??= await readIdentity(this.folder, "program");
    return this.#program !== undefined && (await signalGroup(this.#program, name));
  }

  /** For one that does not run: a supervisor that is about to start the program is ended. */
  async preventStart(): Promise<void> {
    const supervisor = await readIdentity(this.folder, "supervisor");
    if (supervisor !== undefined) await signalGroup(supervisor, "SIGKILL");
    await this.signal("SIGKILL");
  }

  /** Its folder is gone: what still runs could never be found again, so it is killed. */
  async vanish(): Promise<void> {
    this.close();
    this.log.abandon();
    if (!this.#isEnded) await this.signal("SIGKILL");
    this.#isEnded = true;
    this.#wake();
  }

  close(): void {
    this.#watcher?.close();
    this.#watcher = undefined;
  }

  #startLook(): Promise<Container["state"]> {
    this.#looking = this.#look().finally(() => {
      this.#looking = undefined;
    });
    return this.#looking;
  }

  async #look(): Promise<Container["state"]> {
    const state = await readState(this.folder, this.record, this.#bootId);
    if (state.kind === "running") this.#program ??= await readIdentity(this.folder, "program");
    if (state.kind === this.#lastKind) return state;
    this.#lastKind = state.kind;
    if (state.kind === "exited") {
      this.#isEnded = true;
      this.close();
      await this.log.finish().catch((error: unknown) => this.#warn(error, "log is incomplete"));
    }
    this.#wake();
    this.#onChange();
    return state;
  }

  async #until(
    test: () => Promise<boolean>,
    atMostMs: number,
    signal: AbortSignal,
  ): Promise<boolean> {
    const deadlineMs = this.#clock.monotonic() + atMostMs;
    const wakeup = new Wakeup();
    this.#waiting.add(wakeup);
    try {
      for (;;) {
        wakeup.reset(); // Before the look: a change during it must not be missed.
        if (await test()) return true;
        const leftMs = deadlineMs - this.#clock.monotonic();
        if (leftMs <= 0) return false;
        await wakeup.wait(this.#clock, { atMostMs: Math.min(leftMs, 1_000), signal });
        signal.throwIfAborted();
      }
    } finally {
      this.#waiting.delete(wakeup);
    }
  }

  #watch(): void {
    try {
      this.#watcher = watch(this.folder, { persistent: false }, (_event, file) => {
        if (file === "stdout" || file === "stderr") this.log.touch();
        else if (file === "exit" || file === "program") this.#changed();
      });
      this.#watcher.on("error", () => this.close());
    } catch (error) {
      // The kernel's watches are used up: the check of every second goes on without.
      this.#warn(error, "container folder is not watched");
    }
  }

  #changed(): void {
    this.check().catch((error: unknown) => this.#warn(error, "container cannot be looked at"));
  }

  #warn(error: unknown, message: string): void {
    this.#logger.warn({ containerId: this.record.id, reason: messageOf(error) }, message);
  }

  #wake(): void {
    for (const wakeup of this.#waiting) wakeup.wake();
  }
}
