import type { Diagnostics } from "./diagnostics.ts";
import { reconnectPolicies } from "./failover-keys.ts";
import { leastFenceAfterMs } from "./fence.ts";
import { stopTimeMs } from "./pod.ts";
import type { Section } from "./section.ts";
import type { FailoverSpec, ServiceSpec, TaskTemplate } from "./service-spec.ts";

/** `x-failover`; nothing for what is usual. */
export function compileFailover(
  service: Section,
  {
    kind,
    template,
    diagnostics,
  }: {
    readonly kind: ServiceSpec["mode"]["kind"];
    readonly template: TaskTemplate;
    readonly diagnostics: Diagnostics;
  },
): FailoverSpec | undefined {
  const section = service.child("x-failover");
  if (section === undefined) return undefined;
  const afterMs = section.durationMs("after");
  const reconnect = section.choice("reconnect", reconnectPolicies);
  const isFenced = section.boolean("fence") ?? false;
  if (kind === "global" || kind === "global-job") {
    const what = "a task that belongs to its node is not replaced on another one";
    diagnostics.problem(section.position, what, "remove `x-failover`");
  }
  if (kind === "replicated-job") {
    for (const key of ["reconnect", "fence"]) {
      if (!section.has(key)) continue;
      const what = `\`x-failover.${key}\` means nothing for a job: a lost task is tried again`;
      diagnostics.problem(section.positionOf(key), what, `remove \`${key}\``);
    }
  }
  if (isFenced && reconnect === "keep-original") {
    const what = "a fenced task is stopped where its node is cut off: there is no original to keep";
    diagnostics.problem(section.positionOf("reconnect"), what, "remove `reconnect` or `fence`");
  }
  if (isFenced) checkFence(section, { afterMs, template, diagnostics });
  const spec: FailoverSpec = {
    ...(afterMs !== undefined && { afterMs }),
    ...(reconnect === "keep-original" && { reconnect }),
    ...(isFenced && { isFenced }),
  };
  return Object.keys(spec).length === 0 ? undefined : spec;
}

function checkFence(
  section: Section,
  {
    afterMs,
    template,
    diagnostics,
  }: {
    readonly afterMs: number | undefined;
    readonly template: TaskTemplate;
    readonly diagnostics: Diagnostics;
  },
): void {
  const leastMs = stopTimeMs(template) + leastFenceAfterMs;
  if (afterMs !== undefined && afterMs >= leastMs) return;
  const seconds = Math.ceil(leastMs / 1_000);
  diagnostics.problem(
    section.positionOf("after"),
    `a fenced service needs \`x-failover.after\` of at least ${seconds}s: its \`stop_grace_period\`, and 20s in which its node may find out that it is cut off`,
    `write \`after: ${seconds}s\` or more`,
  );
}
