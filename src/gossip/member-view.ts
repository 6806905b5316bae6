import type { Clock, NodeId } from "../kernel/index.ts";
import type { MemberEntry, MemberStatus } from "./member-table.ts";

export type KnownMember = {
  readonly status: MemberStatus;
  readonly sinceMs: number;
  /** Which of its lives and refutations the status is about; it only grows. */
  readonly incarnation: number;
  /** Of one that failed: its machine says that its daemon does not run. */
  readonly isGone?: boolean | undefined;
};

export type MemberChange = {
  readonly member: NodeId;
  readonly status: MemberStatus;
  readonly was: MemberStatus | undefined;
};

/** What this node shows of its beliefs: with times as people read them. */
export class MemberView {
  readonly #self: NodeId;
  readonly #clock: Clock;
  /** When each member's status began; `atMs` is the table's own time. */
  #since: ReadonlyMap<NodeId, { readonly atMs: number; readonly wallMs: number }> = new Map();
  #members: ReadonlyMap<NodeId, KnownMember> = new Map();

  constructor(self: NodeId, clock: Clock) {
    this.#self = self;
    this.#clock = clock;
  }

  /** The same map as before where nothing has changed. */
  get members(): ReadonlyMap<NodeId, KnownMember> {
    return this.#members;
  }

  /** Takes over the beliefs; returns whose status is another one than before. */
  show(entries: readonly MemberEntry[], isIsolated: boolean): readonly MemberChange[] {
    const since = new Map(entries.map((entry) => [entry.nodeId, this.#wallTimeOf(entry)]));
    this.#since = since;
    const members = new Map(
      entries.map(({ nodeId, status, incarnation, sinceMs: atMs, isGone }) => {
        // Nobody is blamed for it, but what cannot be reached is no place to send requests to.
        const isOutOfReach = isIsolated && status === "alive" && nodeId !== this.#self;
        const sinceMs = since.get(nodeId)?.wallMs ?? atMs;
        const shown = isOutOfReach ? "suspect" : status;
        const gone = isGone && shown === "failed" ? { isGone } : {};
        return [nodeId, { status: shown, sinceMs, incarnation, ...gone }] as const;
      }),
    );
    const before = this.#members;
    if (isSame(before, members)) return [];
    this.#members = members;
    return [...members]
      .map(([member, { status }]) => ({ member, status, was: before.get(member)?.status }))
      .filter(({ status, was }) => status !== was);
  }

  /** Fixed once for each change: the wall clock may jump later. */
  #wallTimeOf(entry: MemberEntry): { readonly atMs: number; readonly wallMs: number } {
    const known = this.#since.get(entry.nodeId);
    if (known?.atMs === entry.sinceMs) return known;
    const wallMs = Math.round(this.#clock.now() - (this.#clock.monotonic() - entry.sinceMs));
    return { atMs: entry.sinceMs, wallMs };
  }
}

function isSame(
  before: ReadonlyMap<NodeId, KnownMember>,
  after: ReadonlyMap<NodeId, KnownMember>,
): boolean {
  if (after.size !== before.size) return false;
  return [...after].every(([node, { status, sinceMs, incarnation }]) => {
    const known = before.get(node);
    const isSameStatus = known?.status === status && known.sinceMs === sinceMs;
    return isSameStatus && known.incarnation === incarnation;
  });
}
