import type { NodeId, ServiceKey, TaskId } from "../kernel/index.ts";
import type { ServiceSpec } from "../spec/index.ts";
import type { ClusterNode, PauseCause, Quota, RolloutState, Token } from "./cluster-state.ts";
import type { RunChange, TaskResult } from "./job-run.ts";
import type { Task } from "./task.ts";

/**
 * The only ways to change the agreed state. A command carries what `apply` must not look
 * up itself: ids, the proposer's clock, and the versions that it was made from.
 */
export type Command =
  | {
      readonly kind: "bootstrap";
      readonly clusterId: string;
      readonly node: ClusterNode;
      readonly maxVoters?: number;
    }
  | { readonly kind: "set_max_voters"; readonly maxVoters: number }
  /** A new machine, or one that returned with another address, name or labels. */
  | {
      readonly kind: "admit_node";
      readonly node: ClusterNode;
      /** The token that let it in; one use is taken from it. Absent: it was a member already. */
      readonly tokenId?: string;
      readonly nowMs: number;
    }
  | {
      readonly kind: "set_eligibility";
      readonly nodeId: NodeId;
      readonly eligibility: "active" | "drain";
    }
  | {
      readonly kind: "remove_node";
      readonly nodeId: NodeId;
      /** Rejected while a task should run there. Absent: its tasks end with its membership. */
      readonly onlyIfUnused?: boolean;
    }
  /** Changes the labels that were assigned to a node; null takes one away. */
  | {
      readonly kind: "label_node";
      readonly nodeId: NodeId;
      readonly labels: Readonly<Record<string, string | null>>;
    }
  /** The quorum was lost for good: these nodes are no members any more, whatever they know. */
  | { readonly kind: "recover"; readonly lost: readonly NodeId[] }
  | { readonly kind: "put_token"; readonly token: Token }
  | { readonly kind: "revoke_token"; readonly tokenId: string }
  /** The services of one file, all or none. Others of the namespace stay as they are. */
  | {
      readonly kind: "put_services";
      readonly specs: readonly ServiceSpec[];
      /** Rejected where one of them exists already. */
      readonly onlyNew?: boolean;
      readonly nowMs: number;
      readonly expected?: ExpectedVersions;
    }
  | {
      readonly kind: "scale_service";
      readonly service: ServiceKey;
      readonly replicas: number;
      readonly nowMs: number;
      readonly expected?: ExpectedVersions;
    }
  | {
      readonly kind: "remove_services";
      readonly services: readonly ServiceKey[];
      readonly expected?: ExpectedVersions;
    }
  /** All of its services, whichever they are by then, and its quota. */
  | {
      readonly kind: "remove_namespace";
      readonly namespace: string;
      readonly expected?: ExpectedVersions;
    }
  /** What a namespace may have from now on; an empty one takes the quota away. */
  | { readonly kind: "set_quota"; readonly namespace: string; readonly quota: Quota }
  /** The scheduler's decisions. Rejected as stale when a named service has changed since. */
  | {
      readonly kind: "update_tasks";
      /** `version` of each service that the plan looked at. */
      readonly basedOn: Readonly<Record<string, number>>;
      readonly create: readonly Task[];
      readonly stop: readonly { readonly id: TaskId; readonly reason: string }[];
      /** Ended or orphaned tasks that nobody needs to remember. */
      readonly forget: readonly TaskId[];
      readonly rollouts: readonly RolloutChange[];
      /** Revisions that get all the traffic of their service from now on. */
      readonly traffic?: readonly TrafficMove[];
      /** Runs of jobs that begin or end. */
      readonly runs?: readonly { readonly service: ServiceKey; readonly change: RunChange }[];
      /** Jobs that have ended, and are to be removed then. */
      readonly remove?: readonly ServiceKey[];
      /** Tasks of jobs that have ended. */
      readonly results?: readonly { readonly id: TaskId; readonly result: TaskResult }[];
    }
  /** Brings an older revision back: the one before, or the named one. */
  | {
      readonly kind: "roll_back_service";
      readonly service: ServiceKey;
      readonly revision?: number;
      readonly nowMs: number;
      readonly expected?: ExpectedVersions;
    }
  /** New containers of the same description; or none, until it is started or submitted again. */
  | {
      readonly kind: "steer_service";
      readonly service: ServiceKey;
      readonly action: "restart" | "stop" | "start";
      readonly nowMs: number;
      readonly expected?: ExpectedVersions;
    }
  /** A person halts a roll-out, or lets one that was halted go on. */
  | {
      readonly kind: "steer_rollout";
      readonly service: ServiceKey;
      readonly action: "pause" | "resume";
      readonly nowMs: number;
    }
  | { readonly kind: "trigger_job"; readonly service: ServiceKey; readonly nowMs: number }
  | {
      readonly kind: "suspend_schedule";
      readonly service: ServiceKey;
      readonly isSuspended: boolean;
      readonly nowMs: number;
    };

export type TrafficMove = {
  readonly service: ServiceKey;
  readonly revision: number;
  /** Proposer's wall clock, ms. */
  readonly atMs: number;
};

/** What a plan decides about a roll-out. */
export type RolloutChange = {
  readonly service: ServiceKey;
  readonly state: RolloutState;
  /** The revision whose canary is over. */
  readonly promoted?: number;
  /** Of a pause; absent: failures. */
  readonly cause?: PauseCause;
};
/**
 * The `version` that each service was seen in by whoever decided, 0 where there was none; any
 * one of several is right. Where the cluster has come to another by now, and not to what is
 * asked for, the command is rejected as a conflict. Absent: whatever is there is changed.
 */
export type ExpectedVersions = Readonly<Record<string, readonly number[]>>;

/** What came of a command. A rejection changed nothing. */
export type Outcome =
  | { readonly kind: "accepted"; readonly index: number }
  | { readonly kind: "rejected"; readonly code: RejectionCode; readonly message: string };

export type RejectionCode =
  | "not_found"
  | "conflict"
  | "stale"
  | "token_invalid"
  | "name_taken"
  | "port_taken"
  | "quota_exceeded"
  | "invalid";
