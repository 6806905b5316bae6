/** Time in ticks. A follower waits `electionTicks` to twice that, drawn anew each time. */
export type RaftTiming = {
  readonly tickMs: number;
  readonly heartbeatTicks: number;
  /** Also how long a leader without a majority, and a transfer without an end, may last. */
  readonly electionTicks: number;
};

/** Silence of a leader for so long, at least, brings another. */
export function electionMsOf({ tickMs, electionTicks }: RaftTiming): number {
  return tickMs * electionTicks;
}

/**
 * - `lan`: heartbeat 200 ms, election 1000 to 2000 ms. For machines in one place. Ticks are as
 *   long as they can be: what an idle member costs is its ticks and heartbeats.
 * - `local`: heartbeat 50 ms, election 300 to 600 ms. For several nodes on one machine.
 * - `wan`: heartbeat 500 ms, election 5 to 10 s. For machines up to half a second apart.
 */
export const raftTimings = {
  lan: { tickMs: 200, heartbeatTicks: 1, electionTicks: 5 },
  local: { tickMs: 25, heartbeatTicks: 2, electionTicks: 12 },
  wan: { tickMs: 100, heartbeatTicks: 5, electionTicks: 50 },
} as const satisfies Record<string, RaftTiming>;

/** Bounds of what the core keeps and sends. */
export type RaftLimits = {
  /** Of one append message; a single larger entry still goes. */
  readonly messageBytes: number;
  /** Appends to one member that are sent ahead of their answers. */
  readonly inFlight: { readonly messages: number; readonly bytes: number };
  /** Proposals that wait for their commit. */
  readonly uncommittedBytes: number;
  /** Entries handed out for applying at once. */
  readonly applyBytes: number;
};

const mebibyte = 2 ** 20;

export const defaultRaftLimits: RaftLimits = {
  messageBytes: mebibyte,
  inFlight: { messages: 128, bytes: 8 * mebibyte },
  uncommittedBytes: 16 * mebibyte,
  applyBytes: mebibyte,
};
