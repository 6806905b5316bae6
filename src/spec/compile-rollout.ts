import { updateOrders } from "./deploy-keys.ts";
import type { Diagnostics } from "./diagnostics.ts";
import { rollbackFailureActions, updateStrategies } from "./rollout-keys.ts";
import type { Section } from "./section.ts";
import type { RolloutSpec, ServiceSpec, StrategySpec } from "./service-spec.ts";

/** How a roll-back goes when `deploy.rollback_config` says nothing: like the update, but once. */
export function usualRollback({ strategy: _strategy, ...update }: RolloutSpec): RolloutSpec {
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

type CanaryShare = Extract<StrategySpec, { readonly kind: "canary" }>["share"];

/** The keys of `x-update` that mean something with one strategy only. */
const keysOf = {
  rolling: [],
  "blue-green": ["keep"],
  canary: ["canary", "bake", "pause"],
} as const;

/** `x-update`; nothing for what is usual. */
export function compileStrategy(
  service: Section,
  {
    update,
    kind,
    diagnostics,
  }: {
    readonly update: RolloutSpec;
    readonly kind: ServiceSpec["mode"]["kind"];
    readonly diagnostics: Diagnostics;
  },
): StrategySpec | undefined {
  const section = service.child("x-update");
  if (section === undefined) return undefined;
  const strategy = section.choice("strategy", updateStrategies);
  if (strategy === undefined) {
    if (!section.has("strategy")) section.reject("strategy", "`rolling`, `blue-green` or `canary`");
    return undefined;
  }
  if (kind === "replicated-job" || kind === "global-job") {
    const what = "a job has no roll-out: each run is of the newest revision";
    diagnostics.problem(section.position, what, "remove `x-update`");
  }
  const keys: readonly string[] = keysOf[strategy];
  for (const key of Object.values(keysOf).flat()) {
    if (!section.has(key) || keys.includes(key)) continue;
    const what = `\`x-update.${key}\` means nothing with \`strategy: ${strategy}\``;
    diagnostics.problem(section.positionOf(key), what, `remove \`${key}\``);
  }
  if (strategy === "rolling") return undefined;
  if (strategy === "canary") {
    return {
      kind: "canary",
      share: compileShare(section),
      bakeMs: section.durationMs("bake") ?? 60_000,
      pauses: section.boolean("pause") ?? false,
    };
  }
  if (update.order === "stop-first") {
    diagnostics.problem(
      section.positionOf("strategy"),
      "`blue-green` runs the old and the new tasks beside each other, and this service stops the old ones first",
      "take `order: stop-first`, named volumes and fixed ports in mode `host` away, or the strategy",
    );
  }
  return { kind: "blue-green", keepMs: section.durationMs("keep") ?? 300_000 };
}

function compileShare(section: Section): CanaryShare {
  const text = section.text("canary") ?? "1";
  const [, digits = "", percent] = /^(\d{1,5}(?:\.\d{1,3})?)(%)?$/.exec(text) ?? [];
  const number = Number(digits);
  if (digits !== "" && percent !== undefined && number > 0 && number <= 100) {
    return { kind: "percent", percent: number };
  }
  if (digits !== "" && percent === undefined && Number.isInteger(number) && number > 0) {
    return { kind: "count", count: number };
  }
  section.reject("canary", "a number of tasks such as `2`, or a share such as `10%`");
  return { kind: "count", count: 1 };
}
