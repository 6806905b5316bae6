import { choice, duration, integer, type SectionRules, supported } from "./key-rule.ts";

/** How a roll-back that fails goes on: never by going back once more. */
export const rollbackFailureActions = ["pause", "continue"] as const;

/** `deploy.rollback_config`; what it leaves out is as in `update_config`. */
export const rollbackKeys: SectionRules = {
  parallelism: supported(integer(0, 10_000), "2", "How many tasks are put back at a time; 0: all."),
  delay: supported(duration(), "10s", "The pause between two batches."),
  order: supported(choice(["start-first", "stop-first"]), "stop-first", "What comes first."),
  monitor: supported(duration(), "20s", "How long a task must stay healthy before it counts."),
  failure_action: supported(
    choice(rollbackFailureActions),
    "continue",
    "What happens when too many of the tasks that were put back fail. Default `pause`, or `continue` where `update_config` says that.",
  ),
  max_failure_ratio: supported(
    { kind: "number", minimum: 0, maximum: 1 },
    "0.5",
    "The share of them that may fail.",
  ),
};
