import type { NodeId } from "../kernel/index.ts";
import { watchersAmong } from "./watch-ring.ts";

/** As in SWIM; `left` is said by the member itself. */
export type MemberStatus = "alive" | "suspect" | "failed" | "left";

/** What is said about a member. Only the member itself raises its incarnation. */
export type Claim = {
  readonly nodeId: NodeId;
  readonly status: MemberStatus;
  readonly incarnation: number;
  /** Of one that failed: its machine said that nothing listens there. */
  readonly isGone?: boolean | undefined;
};

/** Only what others are told of an entry. */
export function claimOf({ nodeId, status, incarnation, isGone = false }: Claim): Claim {
  const claim = { nodeId, status, incarnation };
  return isGone && status === "failed" ? { ...claim, isGone } : claim;
}

export type MemberEntry = Claim & {
  /** When this node took over the present status, by a clock that never jumps. */
  readonly sinceMs: number;
  /** Members that say so themselves, while it is suspect. */
  readonly suspectedBy: ReadonlySet<NodeId>;
  /** All who tried were told by its machine that nothing listens there. */
  readonly isGone: boolean;
};

/** How long a suspicion lasts. */
export type SuspicionBounds = {
  readonly minMs: number;
  readonly maxMs: number;
  readonly goneMs: number;
  /** Whether only suspicions of members that are {@link MemberEntry.isGone} may end now. */
  readonly isGoneOnly?: boolean;
};

/** At equal incarnation the worse news wins: a member that is well refutes with a higher one. */
const strength: Readonly<Record<MemberStatus, number>> = {
  alive: 0,
  suspect: 1,
  failed: 2,
  left: 3,
};

/** Whether `claim` replaces what is known (SWIM §4.2, with `left` above all). */
export function supersedes(claim: Claim, known: Claim | undefined): boolean {
  if (known === undefined) return true;
  if (claim.incarnation !== known.incarnation) return claim.incarnation > known.incarnation;
  return strength[claim.status] > strength[known.status];
}

/**
 * The most by which others may raise a member's numbers at once. Near the end of what a number
 * holds nobody could go above a lie any more, so that it would stand for ever.
 */
const maxLeap = 2 ** 20;

/** Whether what `from` says can be so. Of itself a member may say any number. */
export function isPlausible(
  said: { readonly about: NodeId; readonly from: NodeId | undefined; readonly incarnation: number },
  knownIncarnation: number,
): boolean {
  return said.about === said.from || said.incarnation - knownIncarnation <= maxLeap;
}

/** Of several claims about one member the one that wins: a list is answered once, not often. */
export function strongest(claims: readonly Claim[]): readonly Claim[] {
  const winners = new Map<NodeId, Claim>();
  for (const claim of claims) {
    if (supersedes(claim, winners.get(claim.nodeId))) winners.set(claim.nodeId, claim);
  }
  return [...winners.values()];
}

const enoughConfirmations = 2;

/**
 * How long a suspicion lasts. Each independent confirmation brings the end nearer, from
 * `maxMs` down to `minMs` with `enough` of them (Lifeguard §IV-B).
 */
export function suspicionTimeoutMs(
  confirmations: number,
  { minMs, maxMs }: Pick<SuspicionBounds, "minMs" | "maxMs">,
  enough = enoughConfirmations,
): number {
  if (enough <= 0) return minMs;
  const share = Math.min(1, Math.log(Math.max(0, confirmations) + 1) / Math.log(enough + 1));
  return Math.max(minMs, maxMs - (maxMs - minMs) * share);
}

/** What this node believes of all members. Pure: time comes in as an argument. */
export class MemberTable {
  readonly self: NodeId;
  #incarnation: number;
  readonly #entries = new Map<NodeId, MemberEntry>();
  readonly #saveIncarnation: (value: number) => void;
  #admitted: ReadonlySet<NodeId> | undefined;
  #revision = 0;

  constructor(options: {
    readonly self: NodeId;
    readonly incarnation: number;
    readonly nowMs: number;
    readonly saveIncarnation: (value: number) => void;
  }) {
    this.self = options.self;
    this.#incarnation = options.incarnation;
    this.#saveIncarnation = options.saveIncarnation;
    this.#put(this.#ownClaim("alive"), options.nowMs);
  }

  get incarnation(): number {
    return this.#incarnation;
  }

  entries(): readonly MemberEntry[] {
    return [...this.#entries.values()];
  }

  get(node: NodeId): MemberEntry | undefined {
    return this.#entries.get(node);
  }

  /** Grows with every change. */
  get revision(): number {
    return this.#revision;
  }

  /**
   * Members that the cluster no longer admits are forgotten, and whatever is still said of
   * them, or was on its way, is not taken in: the set is their tombstone.
   */
  keepOnly(admitted: ReadonlySet<NodeId>): boolean {
    this.#admitted = admitted;
    let isChanged = false;
    for (const node of this.#entries.keys()) {
      if (this.#mayBeKnown(node)) continue;
      isChanged = this.#entries.delete(node) || isChanged;
    }
    if (isChanged) this.#revision += 1;
    return isChanged;
  }

  /**
   * Voids what only removed members suspect. The accused may have known of the removal before this
   * node did, and then it did not hear them, so that it could not object.
   */
  acquit(nowMs: number): void {
    for (const { suspectedBy, ...claim } of this.entries()) {
      const accusers = [...suspectedBy];
      if (accusers.length === 0 || accusers.some((node) => this.#mayBeKnown(node))) continue;
      this.#put({ ...claimOf(claim), status: "alive" }, nowMs);
    }
  }

  #mayBeKnown(node: NodeId): boolean {
    return node === this.self || this.#admitted === undefined || this.#admitted.has(node);
  }

  /**
   * Takes in what is said about a member. Resolves to what has to be told to the others:
   * the claim where it is news, or a refutation where it is about this node and untrue.
   */
  hear(claim: Claim, nowMs: number): Claim | undefined {
    if (claim.nodeId === this.self) return this.#refute(claim, nowMs);
    if (!this.#mayBeKnown(claim.nodeId)) return undefined;
    if (!supersedes(claim, this.#entries.get(claim.nodeId))) return undefined;
    this.#put(claim, nowMs);
    return claim;
  }

  /** This node itself has an answer, fresh, from a member: it is alive whatever was said. */
  heardFrom(node: NodeId, incarnation: number, nowMs: number): Claim | undefined {
    const known = this.#entries.get(node);
    if (known?.status === "alive" && known.incarnation >= incarnation) return undefined;
    return this.hear({ nodeId: node, status: "alive", incarnation }, nowMs);
  }

  /**
   * Suspects a member on `by`'s word: of the incarnation that `by` speaks of, else of the known
   * one. Returns what to tell, where it is news.
   */
  suspect(
    node: NodeId,
    by: NodeId,
    nowMs: number,
    { incarnation, isGone = false }: { incarnation?: number; isGone?: boolean } = {},
  ): Claim | undefined {
    if (!this.#mayBeKnown(node)) return undefined;
    const entry = this.#entries.get(node);
    const said = incarnation ?? entry?.incarnation ?? 0;
    if (entry !== undefined && said < entry.incarnation) return undefined;
    // A newer incarnation was well in between: what was said of the older one is void.
    const isKnown = entry !== undefined && said === entry.incarnation;
    const known: MemberEntry = isKnown
      ? entry
      : {
          nodeId: node,
          status: "alive",
          incarnation: said,
          sinceMs: nowMs,
          suspectedBy: new Set(),
          isGone: false,
        };
    if (known.status === "failed" || known.status === "left") return undefined;
    const isNews = !known.suspectedBy.has(by);
    if (!isNews && (known.isGone || !isGone)) return undefined;
    this.#revision += 1;
    this.#entries.set(node, {
      ...known,
      status: "suspect",
      sinceMs: known.status === "suspect" ? known.sinceMs : nowMs,
      suspectedBy: new Set([...known.suspectedBy, by]),
      isGone: known.isGone || isGone,
    });
    if (!isNews) return undefined;
    return { nodeId: node, status: "suspect", incarnation: known.incarnation };
  }

  /** Suspicions that have lasted long enough become failures; returns what to tell. */
  expire(nowMs: number, bounds: SuspicionBounds): readonly Claim[] {
    const failed: Claim[] = [];
    const here = this.entries().filter(({ status }) => status === "alive" || status === "suspect");
    // A small cluster has fewer watchers: it waits for no more confirmations than can come.
    const enough = Math.min(enoughConfirmations, watchersAmong(here.length) - 1);
    for (const entry of this.#entries.values()) {
      if (entry.status !== "suspect" || (bounds.isGoneOnly === true && !entry.isGone)) continue;
      const confirmations = entry.suspectedBy.size - 1;
      const lastsMs = entry.isGone
        ? bounds.goneMs
        : suspicionTimeoutMs(confirmations, bounds, enough);
      if (nowMs - entry.sinceMs < lastsMs) continue;
      const claim = claimOf({ ...entry, status: "failed" });
      this.#put(claim, nowMs);
      failed.push(claim);
    }
    return failed;
  }

  /** This node's own goodbye. */
  leave(nowMs: number): Claim {
    const claim = this.#ownClaim("left");
    this.#put(claim, nowMs);
    return claim;
  }

  #refute(claim: Claim, nowMs: number): Claim | undefined {
    const own = this.#entries.get(this.self);
    if (own?.status === "left" || claim.status === "alive") return undefined;
    if (claim.incarnation < this.#incarnation) return undefined;
    this.#incarnation = claim.incarnation + 1;
    // On disk first: after a crash an incarnation that was used must not come again.
    this.#saveIncarnation(this.#incarnation);
    const answer = this.#ownClaim("alive");
    this.#put(answer, nowMs);
    return answer;
  }

  #ownClaim(status: MemberStatus): Claim {
    return { nodeId: this.self, status, incarnation: this.#incarnation };
  }

  #put(claim: Claim, nowMs: number): void {
    const known = this.#entries.get(claim.nodeId);
    this.#revision += 1;
    this.#entries.set(claim.nodeId, {
      ...claim,
      sinceMs: known?.status === claim.status ? known.sinceMs : nowMs,
      suspectedBy: new Set(),
      isGone: claim.status === "failed" && claim.isGone === true,
    });
  }
}
