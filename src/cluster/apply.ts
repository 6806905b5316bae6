import { assertNever } from "../kernel/index.ts";
import { type Applied, accepted, rejected } from "./applied.ts";
import { suspendSchedule, triggerJob } from "./apply-jobs.ts";
import { removeNamespace } from "./apply-namespaces.ts";
import {
  admitNode,
  bootstrap,
  labelNode,
  putToken,
  recover,
  removeNode,
  revokeToken,
  setEligibility,
} from "./apply-nodes.ts";
import { rollBackService } from "./apply-rollback.ts";
import { steerRollout } from "./apply-rollout.ts";
import { putServices, removeServices, scaleService } from "./apply-services.ts";
import { steerService } from "./apply-steering.ts";
import { updateTasks } from "./apply-tasks.ts";
import type { ClusterState } from "./cluster-state.ts";
import type { Command } from "./command.ts";
import { setQuota } from "./quota.ts";

/**
 * Applies one command at one log index. Every node calls it in the same order and must end
 * in the same state: it reads no clock, draws no random number and never throws for bad
 * input. A rejected command changes nothing but the index.
 */
export function apply(before: ClusterState, index: number, command: Command): Applied {
  const state: ClusterState = { ...before, index };
  switch (command.kind) {
    case "bootstrap":
      return bootstrap(state, command);
    case "set_max_voters":
      return accepted({ ...state, maxVoters: command.maxVoters });
    case "admit_node":
      return admitNode(state, command);
    case "set_eligibility":
      return setEligibility(state, command);
    case "label_node":
      return labelNode(state, command);
    case "remove_node":
      return removeNode(state, command);
    case "recover":
      return recover(state, command);
    case "put_token":
      return putToken(state, command);
    case "revoke_token":
      return revokeToken(state, command);
    case "put_services":
      return putServices(state, command);
    case "scale_service":
      return scaleService(state, command);
    case "remove_services":
      return removeServices(state, command);
    case "remove_namespace":
      return removeNamespace(state, command);
    case "set_quota":
      return setQuota(state, command);
    case "update_tasks":
      return updateTasks(state, command);
    case "roll_back_service":
      return rollBackService(state, command);
    case "steer_service":
      return steerService(state, command);
    case "steer_rollout":
      return steerRollout(state, command);
    case "trigger_job":
      return triggerJob(state, command);
    case "suspend_schedule":
      return suspendSchedule(state, command);
    default:
      return assertNever(command);
  }
}

/** What becomes of an entry that no command can be read from: the same on every node. */
export function applyUnreadable(before: ClusterState, index: number): Applied {
  return rejected({ ...before, index }, "invalid", "The log entry holds no command.");
}
