import { usualRollback } from "./compile-rollout.ts";
import { stopsFirst } from "./exclusive.ts";
import { duration, present, unless } from "./render-values.ts";
import type { Json, ServiceSpec } from "./service-spec.ts";

type Keys = Readonly<Record<string, Json>>;

/** `deploy.update_config` */
export function renderUpdate({ update, template, failover }: ServiceSpec): Keys {
  const order = stopsFirst(template, failover) ? "stop-first" : "start-first";
  return present({
    parallelism: unless(update.parallelism, 1),
    delay: unless(update.delayMs, 0, duration),
    order: unless(update.order, order),
    monitor: unless(update.monitorMs, 5_000, duration),
    failure_action: unless(update.failureAction, "rollback"),
    max_failure_ratio: unless(update.maxFailureRatio, 0),
  });
}

/** `deploy.rollback_config` */
export function renderRollback({ update, rollback }: ServiceSpec): Keys {
  if (rollback === undefined) return {};
  const usual = usualRollback(update);
  return present({
    parallelism: unless(rollback.parallelism, usual.parallelism),
    delay: unless(rollback.delayMs, usual.delayMs, duration),
    order: unless(rollback.order, usual.order),
    monitor: unless(rollback.monitorMs, usual.monitorMs, duration),
    failure_action: unless(rollback.failureAction, usual.failureAction),
    max_failure_ratio: unless(rollback.maxFailureRatio, usual.maxFailureRatio),
  });
}

/** `x-update` */
export function renderStrategy({ update: { strategy } }: ServiceSpec): Keys {
  if (strategy === undefined) return {};
  if (strategy.kind === "blue-green") {
    return present({ strategy: strategy.kind, keep: unless(strategy.keepMs, 300_000, duration) });
  }
  const { share, bakeMs, pauses } = strategy;
  const text = share.kind === "count" ? String(share.count) : `${share.percent}%`;
  return present({
    strategy: strategy.kind,
    canary: unless(text, "1"),
    bake: unless(bakeMs, 60_000, duration),
    pause: pauses || undefined,
  });
}

/** `x-failover` */
export function renderFailover({ failover }: ServiceSpec): Keys {
  if (failover === undefined) return {};
  return present({
    after: failover.afterMs === undefined ? undefined : duration(failover.afterMs),
    reconnect: failover.reconnect,
    fence: failover.isFenced,
  });
}
