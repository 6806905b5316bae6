/** How fast failures are noticed, and how sure one has to be. All in milliseconds. */
export type GossipTiming = {
  /** Between two pings of a watched member. */
  readonly pingIntervalMs: number;
  /** For one answer. */
  readonly pingTimeoutMs: number;
  /** Silence of a watched member after which others are asked to try it. */
  readonly silenceMs: number;
  /** For a helper's own try at a silent member, and for its word to come back. */
  readonly helperPingTimeoutMs: number;
  readonly indirectTimeoutMs: number;
  /** From suspect to failed: at most, and at least with confirmations of other watchers. */
  readonly suspicionMaxMs: number;
  readonly suspicionMinMs: number;
  /** The same for one whose machine says that nothing listens there, to all who tried. */
  readonly suspicionGoneMs: number;
  /** Changes of the own record within this time travel as one. */
  readonly coalesceMs: number;
  /** Between two exchanges of digests with a random member. */
  readonly syncIntervalMs: number;
};

const lan: GossipTiming = {
  pingIntervalMs: 750,
  pingTimeoutMs: 1_000,
  silenceMs: 1_500,
  helperPingTimeoutMs: 600,
  indirectTimeoutMs: 1_000,
  suspicionMaxMs: 8_000,
  suspicionMinMs: 3_000,
  suspicionGoneMs: 1_500,
  coalesceMs: 50,
  syncIntervalMs: 30_000,
};

/**
 * `lan`: machines in one place. `local`: several nodes on one machine. `wan`: machines up to
 * half a second apart, over lines that lose and delay. Only the differences.
 */
export const gossipTimings = {
  lan,
  wan: {
    ...lan,
    pingIntervalMs: 1_000,
    pingTimeoutMs: 3_000,
    silenceMs: 3_000,
    helperPingTimeoutMs: 2_000,
    indirectTimeoutMs: 3_000,
    suspicionMaxMs: 24_000,
    suspicionMinMs: 12_000,
    suspicionGoneMs: 6_000,
    coalesceMs: 100,
    syncIntervalMs: 60_000,
  },
  local: {
    ...lan,
    pingIntervalMs: 250,
    suspicionMaxMs: 3_000,
    suspicionMinMs: 2_000,
    suspicionGoneMs: 1_000,
  },
} as const satisfies Record<string, GossipTiming>;
