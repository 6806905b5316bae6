/**
 * What the leader knows of one member's log.
 *
 * - `probe`: where the logs match is unknown; one append at a time.
 * - `replicate`: appends are streamed ahead of their answers, within the in-flight limits.
 * - `snapshot`: the entries it needs are compacted; nothing is sent until the snapshot is there.
 *
 * Invariant: `matchIndex < nextIndex`.
 */
export class Progress {
  matchIndex = 0;
  nextIndex: number;
  state: "probe" | "replicate" | "snapshot" = "probe";
  /** With `snapshot`: the index that the member will reach by it. */
  snapshotIndex = 0;
  /** Nothing more is sent until an answer comes. */
  isPaused = false;
  ticksSinceHeard = 0;
  ticksInSnapshot = 0;
  /** The commit index that it was told last; it may have got lost. */
  toldCommitIndex = 0;
  /** Somebody there waits for commits up to here. */
  awaitedIndex = 0;
  /** The newest read round that the member confirmed. */
  readContext = 0;
  #inFlight: { readonly lastIndex: number; readonly bytes: number }[] = [];
  #inFlightBytes = 0;

  constructor(nextIndex: number) {
    this.nextIndex = nextIndex;
  }

  becomeProbe(): void {
    const sent = this.state === "snapshot" ? this.snapshotIndex : 0;
    this.nextIndex = Math.max(this.matchIndex, sent) + 1;
    this.#enter("probe");
  }

  becomeReplicate(): void {
    this.nextIndex = this.matchIndex + 1;
    this.#enter("replicate");
  }

  becomeSnapshot(snapshotIndex: number): void {
    this.#enter("snapshot");
    this.snapshotIndex = snapshotIndex;
    this.nextIndex = Math.max(snapshotIndex, this.matchIndex) + 1;
    this.isPaused = true;
  }

  /** The snapshot did not arrive: find out anew what the member has. */
  abortSnapshot(): void {
    this.snapshotIndex = 0;
    this.becomeProbe();
  }

  isInFlightFull(limits: { readonly messages: number; readonly bytes: number }): boolean {
    return this.#inFlight.length >= limits.messages || this.#inFlightBytes >= limits.bytes;
  }

  /**
   * Records a sent append; without entries its last index is below `nextIndex`. A probe, also
   * an empty one past the in-flight limit, is followed by nothing until an answer comes.
   */
  sent(
    append: { readonly lastIndex: number; readonly bytes: number },
    limits: { readonly messages: number; readonly bytes: number },
  ): void {
    if (this.state === "replicate" && append.lastIndex >= this.nextIndex) {
      this.nextIndex = append.lastIndex + 1;
      this.#inFlight.push(append);
      this.#inFlightBytes += append.bytes;
    }
    this.isPaused = this.state !== "replicate" || this.isInFlightFull(limits);
  }

  /** Takes in an acknowledgement; says whether it was news. */
  acknowledge(matchIndex: number): boolean {
    while ((this.#inFlight[0]?.lastIndex ?? Number.POSITIVE_INFINITY) <= matchIndex) {
      this.#inFlightBytes -= this.#inFlight.shift()?.bytes ?? 0;
    }
    if (matchIndex <= this.matchIndex) return false;
    this.matchIndex = matchIndex;
    this.nextIndex = Math.max(this.nextIndex, matchIndex + 1);
    if (this.state !== "snapshot") this.isPaused = false;
    return true;
  }

  /** Takes in a rejection; says whether it was news, not an answer to an older append. */
  reject({
    rejectedIndex,
    hintIndex,
  }: {
    readonly rejectedIndex: number;
    readonly hintIndex: number;
  }): boolean {
    if (this.state === "snapshot") return false;
    if (this.state === "replicate") {
      if (rejectedIndex <= this.matchIndex) return false;
      this.becomeProbe();
      return true;
    }
    if (this.nextIndex - 1 !== rejectedIndex) return false;
    this.nextIndex = Math.max(Math.min(rejectedIndex, hintIndex + 1), this.matchIndex + 1);
    this.isPaused = false;
    return true;
  }

  #enter(state: Progress["state"]): void {
    this.state = state;
    this.isPaused = false;
    this.ticksInSnapshot = 0;
    this.#inFlight = [];
    this.#inFlightBytes = 0;
  }
}
