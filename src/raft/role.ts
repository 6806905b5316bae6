import type { NodeId } from "../kernel/index.ts";
import type { Progress } from "./progress.ts";

/** What a node is at the moment; what only that role needs lives and ends with it. */
export type Role = Follower | Candidate | Leader;

export type Follower = { readonly kind: "follower"; leader: NodeId | undefined };

export type Candidate = {
  readonly kind: "pre_candidate" | "candidate";
  readonly votes: Map<NodeId, boolean>;
};

export type Leader = {
  readonly kind: "leader";
  /** Every member that gets the log, this node included. */
  readonly members: Map<NodeId, Progress>;
  /** Proposals that are not committed, for the limit on their bytes. */
  readonly uncommitted: { readonly lastIndex: number; readonly bytes: number }[];
  readonly reads: PendingRead[];
  lastReadContext: number;
  /** Somebody was not told of a commit yet. */
  isAnnouncementDue: boolean;
  transfer: Transfer | undefined;
};

export type PendingRead = {
  readonly context: number;
  /** Undefined until this leader has committed something in its own term. */
  index: number | undefined;
};

export type Transfer = { readonly to: NodeId; elapsedTicks: number };

/** The leader as far as this role knows it; `self` when it leads. */
export function leaderOf(role: Role, self: NodeId): NodeId | undefined {
  if (role.kind === "leader") return self;
  return role.kind === "follower" ? role.leader : undefined;
}
