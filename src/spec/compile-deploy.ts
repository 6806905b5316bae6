import { compileJobMode } from "./compile-job.ts";
import {
  endpointModes,
  failureActions,
  modes,
  placementStrategies,
  restartConditions,
  updateOrders,
} from "./deploy-keys.ts";
import type { Diagnostics } from "./diagnostics.ts";
import { nearest } from "./nearest.ts";
import { type Placed, Section } from "./section.ts";
import type { RolloutSpec, ServiceSpec, TaskTemplate } from "./service-spec.ts";
import { shortened } from "./tree.ts";
import { readInteger } from "./values.ts";

type Restart = TaskTemplate["restart"];
type Placement = ServiceSpec["placement"];
type Constraint = Placement["constraints"][number];

/** `deploy.mode` with `deploy.replicas` or `scale`. */
export function compileMode(
  service: Section,
  deploy: Section | undefined,
  {
    retries,
    kind,
    diagnostics,
  }: {
    readonly retries: number;
    readonly kind: ServiceSpec["mode"]["kind"];
    readonly diagnostics: Diagnostics;
  },
): ServiceSpec["mode"] {
  const replicas = deploy?.integer("replicas");
  const scale = service.integer("scale");
  deploy?.choice("endpoint_mode", endpointModes);
  if (replicas !== undefined && scale !== undefined && replicas !== scale) {
    diagnostics.problem(
      service.positionOf("scale"),
      `\`scale\` is ${scale} and \`deploy.replicas\` is ${replicas}`,
      "keep one of them",
    );
  }
  if (kind === "replicated") return { kind, replicas: replicas ?? scale ?? 1 };
  if (kind === "replicated-job") {
    return compileJobMode(service, { kind, replicas: replicas ?? scale, retries, diagnostics });
  }
  if (replicas !== undefined || scale !== undefined) {
    diagnostics.problem(
      deploy?.positionOf("mode") ?? service.position,
      `a service in mode \`${kind}\` runs once on every node and has no number of replicas`,
      `remove \`replicas\`, or \`mode: ${kind}\``,
    );
  }
  if (kind === "global") return { kind };
  return compileJobMode(service, { kind, replicas: undefined, retries, diagnostics });
}

/** The mode as it is named; a schedule, or who waits for it to complete, makes a job. */
export function compileModeKind(
  deploy: Section | undefined,
  {
    isScheduled,
    isAwaited,
    diagnostics,
  }: {
    readonly isScheduled: boolean;
    readonly isAwaited: boolean;
    readonly diagnostics: Diagnostics;
  },
): ServiceSpec["mode"]["kind"] {
  const said = deploy?.choice("mode", modes);
  if (!isScheduled) return said ?? (isAwaited ? "replicated-job" : "replicated");
  if (deploy !== undefined && (said === "replicated" || said === "global")) {
    diagnostics.problem(
      deploy.positionOf("mode"),
      `a service with \`x-schedule\` is a job, and not \`${said}\``,
      "write `replicated-job` or `global-job`, or remove `mode`",
    );
  }
  return said === "global-job" ? said : "replicated-job";
}

/** `deploy.update_config`. `stopsFirst`: two of its tasks cannot stand beside each other. */
export function compileUpdate(
  deploy: Section | undefined,
  options: { readonly stopsFirst: boolean },
): RolloutSpec {
  const update = deploy?.child("update_config");
  return {
    parallelism: update?.integer("parallelism") ?? 1,
    delayMs: update?.durationMs("delay") ?? 0,
    order:
      update?.choice("order", updateOrders) ?? (options.stopsFirst ? "stop-first" : "start-first"),
    monitorMs: update?.durationMs("monitor") ?? 5_000,
    failureAction: update?.choice("failure_action", failureActions) ?? "rollback",
    maxFailureRatio: update?.number("max_failure_ratio") ?? 0,
  };
}

/** `deploy.restart_policy`, or else `restart`. */
export function compileRestart(service: Section, deploy: Section | undefined): Restart {
  const plain = plainRestart(service);
  const policy = deploy?.child("restart_policy");
  if (policy === undefined) return plain;
  const maxAttempts = policy.integer("max_attempts");
  return {
    condition: policy.choice("condition", restartConditions) ?? "any",
    delayMs: policy.durationMs("delay") ?? 0,
    windowMs: policy.durationMs("window") ?? 0,
    ...(maxAttempts !== undefined && { maxAttempts }),
  };
}

function plainRestart(service: Section): Restart {
  const words = "`no`, `always`, `on-failure`, `on-failure:ATTEMPTS` or `unless-stopped`";
  const any: Restart = { condition: "any", delayMs: 0, windowMs: 0 };
  const tree = service.tree("restart");
  // YAML 1.1 readers, and so many people's files, take an unquoted `no` for `false`.
  if (tree?.kind === "scalar" && tree.type === "boolean") {
    service.reject("restart", words, 'write `"no"`');
    return any;
  }
  const [word, attempts, ...rest] = (service.text("restart") ?? "always").split(":");
  if (word === "on-failure" && rest.length === 0) {
    if (attempts === undefined) return { ...any, condition: "on-failure" };
    const maxAttempts = readInteger(attempts, { minimum: 0, maximum: 1_000_000 });
    if (maxAttempts !== undefined) return { ...any, condition: "on-failure", maxAttempts };
  }
  if (attempts === undefined && word === "no") return { ...any, condition: "none" };
  if (attempts !== undefined || (word !== "always" && word !== "unless-stopped")) {
    const meant = nearest(word ?? "", ["always", "on-failure", "unless-stopped"]);
    service.reject(
      "restart",
      words,
      meant === undefined ? undefined : `did you mean \`${meant}\`?`,
    );
  }
  return any;
}

/** `deploy.placement`. */
export function compilePlacement(
  service: Section,
  deploy: Section | undefined,
  diagnostics: Diagnostics,
): Placement {
  const placement = deploy?.child("placement");
  const maxReplicasPerNode = placement?.integer("max_replicas_per_node");
  const constraints = (placement?.texts("constraints") ?? []).flatMap((item) => {
    const constraint = readConstraint(item, diagnostics);
    return constraint === undefined ? [] : [constraint];
  });
  const preferences = compilePreferences(placement, diagnostics);
  const strategy = service.child("x-placement")?.choice("strategy", placementStrategies);
  const priority = service.integer("x-priority") ?? 0;
  return {
    constraints,
    ...(maxReplicasPerNode !== undefined && { maxReplicasPerNode }),
    ...(preferences.length > 0 && { preferences }),
    // Only what differs from the default is kept, so that naming the default changes nothing.
    ...(strategy === "pack" && { strategy }),
    ...(priority !== 0 && { priority }),
  };
}

function compilePreferences(
  placement: Section | undefined,
  diagnostics: Diagnostics,
): { readonly spread: string }[] {
  const preferences: { readonly spread: string }[] = [];
  for (const item of placement?.items("preferences") ?? []) {
    const spread =
      item instanceof Section ? item.text("spread") : /^spread=(.+)$/.exec(item.text)?.[1];
    if (spread !== undefined && isNodeAttribute(spread)) preferences.push({ spread });
    else if (item instanceof Section && item.has("spread")) {
      item.reject("spread", attributeWords);
    } else {
      const what = "a preference must name what to spread over";
      diagnostics.problem(item.position, what, "write `spread: node.labels.NAME`");
    }
  }
  return preferences;
}

const attributeWords =
  "one of `node.id`, `node.hostname`, `node.platform.os`, `node.platform.arch` and `node.labels.NAME`";

function isNodeAttribute(key: string): boolean {
  return constraintKeys.includes(key) || /^node\.labels\.[\w./-]+$/.test(key);
}

const constraintKeys = ["node.id", "node.hostname", "node.platform.os", "node.platform.arch"];

function readConstraint(item: Placed, diagnostics: Diagnostics): Constraint | undefined {
  const match = /^([^\s=!]+)\s*(==|!=)\s*(.+)$/.exec(item.text.trim());
  const [, key = "", operator = "", value = ""] = match ?? [];
  if (match === null) {
    const what = `\`${shortened(item.text)}\` is not a constraint`;
    diagnostics.problem(item.position, what, "write `key == value` or `key != value`");
    return undefined;
  }
  if (!isNodeAttribute(key)) {
    const meant = nearest(key, constraintKeys);
    diagnostics.problem(
      item.position,
      `\`${shortened(key)}\` is not something to choose nodes by`,
      meant === undefined
        ? "use `node.id`, `node.hostname`, `node.platform.os`, `node.platform.arch` or `node.labels.NAME`"
        : `did you mean \`${meant}\`?`,
    );
    return undefined;
  }
  return { key, operator: operator === "==" ? "==" : "!=", value };
}
