import { compileUpdate } from "./compile-deploy.ts";
import { compileFailover } from "./compile-failover.ts";
import { compileRollback, compileStrategy } from "./compile-rollout.ts";
import type { Diagnostics } from "./diagnostics.ts";
import { stopsFirst } from "./exclusive.ts";
import type { Section } from "./section.ts";
import type { Position, ServiceSpec, TaskTemplate } from "./service-spec.ts";

/** How tasks take each other's place: by updates, by roll-backs, and when their node is lost. */
export function compileRolling(
  section: Section,
  deploy: Section | undefined,
  {
    kind,
    template,
    position,
    diagnostics,
  }: {
    readonly kind: ServiceSpec["mode"]["kind"];
    /** Of the whole task: what two tasks cannot share decides which one goes first. */
    readonly template: TaskTemplate;
    readonly position: Position;
    readonly diagnostics: Diagnostics;
  },
): Pick<ServiceSpec, "update" | "rollback" | "failover"> {
  const failover = compileFailover(section, { kind, template, diagnostics });
  const rolling = compileUpdate(deploy, { stopsFirst: stopsFirst(template, failover) });
  if (failover?.isFenced === true && rolling.order === "start-first") {
    const what = "a fenced service never has two tasks in one place, not even in an update";
    diagnostics.problem(deploy?.position ?? position, what, "write `order: stop-first`");
  }
  const strategy = compileStrategy(section, { update: rolling, kind, diagnostics });
  const rollback = compileRollback(deploy, rolling);
  return {
    update: { ...rolling, ...(strategy && { strategy }) },
    ...(rollback && { rollback }),
    ...(failover && { failover }),
  };
}
