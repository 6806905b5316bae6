import {
  compileMode,
  compileModeKind,
  compilePlacement,
  compileRestart,
} from "./compile-deploy.ts";
import { compileEngine } from "./compile-engine.ts";
import {
  compileEnvironment,
  compileLabelFiles,
  compileLabels,
  type EnvironmentContext,
} from "./compile-environment.ts";
import { compileHealthCheck } from "./compile-health.ts";
import { compileIngress, type PlacedRule } from "./compile-ingress.ts";
import { compileJobRestart, compileSchedule } from "./compile-job.ts";
import { compileMounts, type VolumeNames } from "./compile-mounts.ts";
import { compileMachines, compilePlatform } from "./compile-nodes.ts";
import { compileExpose, compilePorts, type PlacedPort } from "./compile-ports.ts";
import { compileResources } from "./compile-resources.ts";
import { compileRolling } from "./compile-rolling.ts";
import type { Diagnostics } from "./diagnostics.ts";
import type { Section } from "./section.ts";
import { pullPolicies } from "./service-keys.ts";
import { servicePattern } from "./service-name.ts";
import type { Position, ServiceSpec, TaskTemplate } from "./service-spec.ts";
import { shortened } from "./tree.ts";
import { splitWords } from "./values.ts";

const serviceName = new RegExp(servicePattern);
/** Registry, path, tag and digest as engines read them; the path is lower-case. */
const imageReference =
  /^(?:[A-Za-z0-9.-]+(?::\d+)?\/)?[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:\/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*(?::\w[\w.-]{0,127})?(?:@[a-z0-9]+:[a-f0-9]{32,128})?$/;
const maxImageLength = 1_024;

export type ServiceContext = EnvironmentContext & {
  readonly namespace: string;
  readonly volumes: VolumeNames;
  /** Whether other services wait for this one to complete. */
  readonly isAwaited: boolean;
};

/** A service with the places of what must be unique in the manifest. */
export type CompiledService = {
  readonly spec: ServiceSpec;
  readonly ports: readonly PlacedPort[];
  readonly rules: readonly PlacedRule[];
  readonly section: Section;
  readonly position: Position;
};

/** Compiles one service, with every default filled in. Its problems are in `diagnostics`. */
export function compileService(
  service: { readonly name: string; readonly position: Position; readonly section: Section },
  context: ServiceContext,
): CompiledService {
  const { name, section } = service;
  const { diagnostics } = context;
  checkName(name, service.position, diagnostics);

  const deploy = section.child("deploy");
  const ports = compilePorts(section, diagnostics);
  const ownPorts = [
    ...ports.map(({ port }) => port.target),
    ...compileExpose(section, diagnostics),
  ];
  const rules = compileIngress(section, { ports: ownPorts, diagnostics });
  const rulePorts = rules.map(({ rule }) => rule.port);
  const container = compileContainer(service, context);
  const checkedPort = checkPort(container);
  const engine = compileEngine(section, { deploy, diagnostics });
  const placement = compilePlacement(section, deploy, diagnostics);
  const extensions = section.extensions();
  service.section.choice("pull_policy", pullPolicies);

  const schedule = compileSchedule(section);
  const isScheduled = section.has("x-schedule");
  const kind = compileModeKind(deploy, {
    isScheduled,
    isAwaited: context.isAwaited,
    diagnostics,
  });
  const { restart, retries } = compileRestarts(section, deploy, { kind, diagnostics });
  const template: TaskTemplate = {
    ...container,
    exposedPorts: sortedNumbers([...ownPorts, ...rulePorts, ...checkedPort]),
    hostPorts: ports.map(({ port }) => port).filter((port) => port.mode === "host"),
    ...compileResources(section, deploy, diagnostics),
    restart,
    ...(engine && { engine }),
  };
  if ((engine?.memorySwapBytes ?? 0) > 0 && template.limits.memoryBytes === undefined) {
    section.reject("memswap_limit", "together with a limit of memory", "add `mem_limit`");
  }
  const { position } = service;
  const spec: ServiceSpec = {
    namespace: context.namespace,
    name,
    labels: compileLabels(deploy, diagnostics),
    mode: compileMode(section, deploy, { retries, kind, diagnostics }),
    ...(schedule !== undefined && { schedule }),
    template,
    ports: ports.map(({ port }) => port).filter((port) => port.mode === "ingress"),
    ingress: rules.map(({ rule }) => rule),
    ...compileRolling(section, deploy, { kind, template, position, diagnostics }),
    placement: {
      ...placement,
      constraints: [
        ...placement.constraints,
        ...compilePlatform(section),
        ...compileMachines(section, diagnostics),
      ],
    },
    ...(Object.keys(extensions).length > 0 && { extensions }),
  };
  return { spec, ports, rules, section, position };
}

/** A job counts its retries itself; anything else is started again on its node. */
function compileRestarts(
  section: Section,
  deploy: Section | undefined,
  {
    kind,
    diagnostics,
  }: { readonly kind: ServiceSpec["mode"]["kind"]; readonly diagnostics: Diagnostics },
): { readonly restart: TaskTemplate["restart"]; readonly retries: number } {
  const policy = compileRestart(section, deploy);
  if (kind === "replicated-job" || kind === "global-job") {
    return compileJobRestart(section, deploy, { policy, diagnostics });
  }
  if (section.has("x-job")) {
    const what = "`x-job` is for jobs only";
    const hint = "write `deploy: {mode: replicated-job}`, or remove `x-job`";
    diagnostics.problem(section.positionOf("x-job"), what, hint);
  }
  return { restart: policy, retries: 0 };
}

/** The daemon must reach what it checks. */
function checkPort(container: Pick<TaskTemplate, "healthCheck">): readonly number[] {
  const test = container.healthCheck?.test;
  return test === undefined || test.kind === "command" ? [] : [test.port];
}

type ContainerPart = Omit<
  TaskTemplate,
  "exposedPorts" | "hostPorts" | "limits" | "reservations" | "restart"
>;

function compileContainer(
  service: { readonly name: string; readonly position: Position; readonly section: Section },
  context: ServiceContext,
): ContainerPart {
  const { section } = service;
  const { diagnostics } = context;
  const entrypoint = words(section, "entrypoint", diagnostics);
  const command = words(section, "command", diagnostics);
  const workingDirectory = section.text("working_dir");
  const user = section.text("user");
  const hostname = compileHostname(section);
  const healthCheck = compileHealthCheck(section, diagnostics);
  const stopSignal = compileStopSignal(section);
  return {
    image: compileImage(service, diagnostics),
    ...(entrypoint && { entrypoint: [...entrypoint] }),
    ...(command && { command: [...command] }),
    environment: compileEnvironment(section, context),
    ...(workingDirectory !== undefined && { workingDirectory }),
    ...(user !== undefined && { user }),
    ...(hostname !== undefined && { hostname }),
    labels: { ...compileLabelFiles(section, context), ...compileLabels(section, diagnostics) },
    mounts: [...compileMounts(section, context)],
    init: section.boolean("init") ?? false,
    readOnlyRoot: section.boolean("read_only") ?? false,
    capAdd: capabilities(section, "cap_add", diagnostics),
    capDrop: capabilities(section, "cap_drop", diagnostics),
    ...(healthCheck && { healthCheck }),
    ...(stopSignal !== undefined && { stopSignal }),
    stopGracePeriodMs: section.durationMs("stop_grace_period") ?? 10_000,
  };
}

function checkName(name: string, position: Position, diagnostics: Diagnostics): void {
  if (serviceName.test(name)) return;
  const better = name
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .slice(0, 63)
    .replace(/^-|-$/g, "");
  diagnostics.problem(
    position,
    `\`${shortened(name)}\` cannot be the name of a service: names are at most 63 lower-case letters, digits and \`-\`, because they are names in DNS`,
    serviceName.test(better) ? `write \`${better}\`` : undefined,
  );
}

function compileImage(
  service: { readonly name: string; readonly position: Position; readonly section: Section },
  diagnostics: Diagnostics,
): string {
  const { name, position, section } = service;
  const image = section.text("image");
  if (!section.has("image")) {
    const what = `the service \`${shortened(name)}\` has no \`image\``;
    diagnostics.problem(position, what, "name the image to run");
    return "";
  }
  if (image === undefined) return "";
  // The process runtime runs programs and directories of the machine, named by their path.
  const isPath = image.startsWith("/") && image.length <= maxImageLength;
  if (!isPath && (image.length > maxImageLength || !imageReference.test(image))) {
    section.reject("image", "the name of an image such as `example/web:1.2`", imageHint(image));
  }
  return image;
}

function imageHint(image: string): string | undefined {
  const lower = image.toLowerCase();
  return image !== lower && imageReference.test(lower)
    ? "the name of an image is in lower case; only its tag may have capitals"
    : undefined;
}

/** `command` and `entrypoint`: words as a list, or a line to be split into them. */
function words(
  section: Section,
  key: "command" | "entrypoint",
  diagnostics: Diagnostics,
): readonly string[] | undefined {
  const tree = section.tree(key);
  if (tree === undefined || (tree.kind === "scalar" && tree.type === "null")) return undefined;
  if (tree.kind !== "scalar") return section.texts(key).map((word) => word.text);
  const split = splitWords(tree.text);
  if (split === undefined) {
    diagnostics.problem(tree.position, `\`${key}\` has a quote that is not closed`);
  }
  return split;
}

function compileHostname(section: Section): string | undefined {
  const hostname = section.text("hostname");
  if (
    hostname !== undefined &&
    !/^(?=.{1,63}$)[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?$/.test(hostname)
  ) {
    section.reject("hostname", "a host name of at most 63 letters, digits, `-` and `.`");
  }
  return hostname;
}

/** In the spelling `SIGTERM`; numbers stay numbers. */
function compileStopSignal(section: Section): string | undefined {
  const signal = section.text("stop_signal")?.toUpperCase();
  if (signal === undefined) return undefined;
  if (/^[1-9]\d?$/.test(signal)) return signal;
  if (!/^(?:SIG)?[A-Z][A-Z0-9]{1,9}(?:[+-]\d{1,2})?$/.test(signal)) {
    section.reject("stop_signal", "a signal such as `SIGTERM`");
  }
  return signal.startsWith("SIG") ? signal : `SIG${signal}`;
}

/** Without `CAP_`, sorted: another spelling or order makes no other container. */
function capabilities(
  section: Section,
  key: "cap_add" | "cap_drop",
  diagnostics: Diagnostics,
): string[] {
  const names = section.texts(key).map(({ text, position }) => {
    const name = text.toUpperCase().replace(/^CAP_/, "");
    if (!/^[A-Z][A-Z_]{1,39}$/.test(name)) {
      const what = `\`${shortened(text)}\` is not a capability`;
      diagnostics.problem(position, what, "write a name such as `NET_ADMIN`, or `ALL`");
    }
    return name;
  });
  return [...new Set(names)].sort();
}

function sortedNumbers(numbers: readonly number[]): number[] {
  return [...new Set(numbers)].sort((left, right) => left - right);
}
