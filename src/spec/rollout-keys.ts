import {
  boolean,
  choice,
  duration,
  integer,
  type SectionRules,
  supported,
  text,
} from "./key-rule.ts";

/** How a roll-back that fails goes on: never by going back once more. */
export const rollbackFailureActions = ["pause", "continue"] as const;

export const updateStrategies = ["rolling", "blue-green", "canary"] as const;

export const xUpdateKeys: SectionRules = {
  strategy: supported(
    choice(updateStrategies),
    "canary",
    "`rolling` (the default): batch by batch. `blue-green`: all new tasks start beside the old ones, get no traffic until all are healthy and every proxy knows them, and then all of it in one step. `canary`: some tasks first, the rest when they have stayed healthy. Required.",
  ),
  keep: supported(
    duration(),
    "10m",
    "Of `blue-green`: how long the old tasks stay beside the new ones, so that `skein rollback` moves the traffic back in one step. Default 5m.",
  ),
  canary: supported(
    text,
    '"25%"',
    "Of `canary`: how many tasks are updated first, a number or a share of all. Default 1.",
  ),
  bake: supported(
    duration(),
    "10m",
    "Of `canary`: how long they must stay healthy before the rest follows. Default 1m.",
  ),
  pause: supported(
    boolean,
    "true",
    "Of `canary`: whether the rest then waits for `skein rollout resume`. Default false.",
  ),
};

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
