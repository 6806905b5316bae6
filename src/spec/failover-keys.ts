import { boolean, choice, duration, type SectionRules, supported } from "./key-rule.ts";

export const reconnectPolicies = ["keep-newest", "keep-original"] as const;

export const xFailoverKeys: SectionRules = {
  after: supported(
    duration(),
    "1m",
    "How long a node must have been given up before its tasks start elsewhere. Default 5s, or when it has been suspected or given up for 6s, if that is sooner. With `fence`: required, and at least 20s longer than `stop_grace_period`.",
  ),
  reconnect: supported(
    choice(reconnectPolicies),
    "keep-original",
    "Which task stays when a node that was given up comes back. `keep-newest` (the default): the replacement. `keep-original`: the one that it still runs, if that serves.",
  ),
  fence: supported(
    boolean,
    "true",
    "Whether a node that cannot reach a majority of the voters stops its task before another may start it, so that there are never two. Needs `order: stop-first`, which is then the default. Default false.",
  ),
};
