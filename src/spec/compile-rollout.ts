import { updateOrders } from "./deploy-keys.ts";
import { rollbackFailureActions } from "./rollout-keys.ts";
import type { Section } from "./section.ts";
import type { RolloutSpec } from "./service-spec.ts";

/** How a roll-back goes when `deploy.rollback_config` says nothing: like the update, but once. */
export function usualRollback(update: RolloutSpec): RolloutSpec {
  return {
    ...update,
    failureAction: update.failureAction === "continue" ? "continue" : "pause",
  };
}

/** `deploy.rollback_config`; nothing when it says what is usual. */
export function compileRollback(
  deploy: Section | undefined,
  update: RolloutSpec,
): RolloutSpec | undefined {
  const section = deploy?.child("rollback_config");
  if (section === undefined) return undefined;
  const usual = usualRollback(update);
  const said: RolloutSpec = {
    parallelism: section.integer("parallelism") ?? usual.parallelism,
    delayMs: section.durationMs("delay") ?? usual.delayMs,
    order: section.choice("order", updateOrders) ?? usual.order,
    monitorMs: section.durationMs("monitor") ?? usual.monitorMs,
    failureAction: section.choice("failure_action", rollbackFailureActions) ?? usual.failureAction,
    maxFailureRatio: section.number("max_failure_ratio") ?? usual.maxFailureRatio,
  };
  return JSON.stringify(said) === JSON.stringify(usual) ? undefined : said;
}
