import { isJobMode } from "./compile-job.ts";
import { renderEngine } from "./render-engine.ts";
import { renderJob, renderMode, renderRetries } from "./render-job.ts";
import { renderFailover, renderRollback, renderStrategy, renderUpdate } from "./render-rollout.ts";
import { bytes, duration, present, unless } from "./render-values.ts";
import type {
  Amounts,
  HealthCheckSpec,
  Json,
  MountSpec,
  PortSpec,
  ServiceSpec,
} from "./service-spec.ts";

type Keys = Readonly<Record<string, Json>>;
export type RenderContext = { readonly volumes: ReadonlyMap<string, string> };

/** One service with one container as the keys of a manifest; what is the default is left out. */
export function renderService(spec: ServiceSpec, context: RenderContext): Keys {
  const { template } = spec;
  const deploy = renderDeploy(spec);
  const tmpfs = template.mounts.filter(({ kind }) => kind === "tmpfs").map(tmpfsText);
  const mounts = template.mounts.filter(({ kind }) => kind !== "tmpfs");
  const keys = present({
    image: template.image,
    entrypoint: template.entrypoint,
    command: template.command,
    environment: template.environment,
    working_dir: template.workingDirectory,
    user: template.user,
    hostname: template.hostname,
    labels: template.labels,
    ports: [...spec.ports, ...template.hostPorts].map(renderPort),
    expose: renderExpose(spec),
    volumes: mounts.map((mount) => renderMount(mount, context)),
    tmpfs,
    volumes_from: template.volumesFrom?.map(
      ({ container, readOnly }) => `${container}${readOnly ? ":ro" : ""}`,
    ),
    init: template.init || undefined,
    read_only: template.readOnlyRoot || undefined,
    cap_add: template.capAdd,
    cap_drop: template.capDrop,
    ...renderHealthCheck(template.healthCheck),
    ...renderEngine(template.engine),
    stop_signal: template.stopSignal,
    stop_grace_period: unless(template.stopGracePeriodMs, 10_000, duration),
    restart: isJobMode(spec.mode) ? undefined : plainRestart(template.restart),
    "x-ingress": spec.ingress.map(({ host, path, port }) => ({ host, path, port })),
    "x-machines": machinesOf(spec),
    "x-placement": present({ strategy: spec.placement.strategy }),
    "x-update": renderStrategy(spec),
    "x-failover": renderFailover(spec),
    "x-priority": spec.placement.priority,
    ...renderJob(spec),
    ...(Object.keys(deploy).length > 0 && { deploy }),
  });
  // As they were written: nobody knows what an empty one means.
  return { ...keys, ...spec.extensions };
}

function renderDeploy(spec: ServiceSpec): Keys {
  const { mode, template, placement } = spec;
  const resources = present({
    limits: renderAmounts(template.limits),
    reservations: renderAmounts(template.reservations),
  });
  return present({
    ...renderMode(mode),
    labels: spec.labels,
    update_config: renderUpdate(spec),
    rollback_config: renderRollback(spec),
    restart_policy: renderRetries(spec) ?? renderRestart(template.restart),
    resources,
    placement: present({
      constraints: placement.constraints
        .filter(({ operator }) => operator !== "in")
        .map(({ key, operator, value }) => `${key} ${operator} ${value}`),
      max_replicas_per_node: placement.maxReplicasPerNode,
      preferences: placement.preferences?.map(({ spread }) => ({ spread })),
    }),
  });
}

type Restart = ServiceSpec["template"]["restart"];

/** `restart`, where that can say it. */
function plainRestart(restart: Restart): string | undefined {
  const { condition, maxAttempts } = restart;
  if (!isPlain(restart) || condition === "any") return undefined;
  if (condition === "none") return "no";
  return maxAttempts === undefined ? "on-failure" : `on-failure:${maxAttempts}`;
}

function isPlain({ condition, delayMs, windowMs, maxAttempts }: Restart): boolean {
  if (delayMs !== 0 || windowMs !== 0) return false;
  return condition === "on-failure" || maxAttempts === undefined;
}

function renderRestart(restart: Restart): Keys {
  if (isPlain(restart)) return {};
  return present({
    condition: restart.condition,
    delay: unless(restart.delayMs, 0, duration),
    max_attempts: restart.maxAttempts,
    window: unless(restart.windowMs, 0, duration),
  });
}

function renderAmounts({ cpuMillis, memoryBytes }: Amounts): Keys {
  return present({
    cpus: cpuMillis === undefined ? undefined : String(cpuMillis / 1_000),
    memory: memoryBytes === undefined ? undefined : bytes(memoryBytes),
  });
}

function renderPort({ target, published, protocol, mode, appProtocol }: PortSpec): Json {
  return present({
    target,
    published,
    protocol: unless(protocol, "tcp"),
    mode,
    "x-app-protocol": unless(appProtocol, "auto"),
  });
}

/** Ports that nothing else of the service names. */
function renderExpose({ template, ports, ingress }: ServiceSpec): readonly string[] {
  const test = template.healthCheck?.test;
  const named = new Set([
    ...[...ports, ...template.hostPorts].map(({ target }) => target),
    ...ingress.map(({ port }) => port),
    ...(test === undefined || test.kind === "command" ? [] : [test.port]),
  ]);
  return template.exposedPorts.filter((port) => !named.has(port)).map(String);
}

function renderMount(mount: MountSpec, { volumes }: RenderContext): Json {
  const { kind, source, target, readOnly, propagation, noCopy } = mount;
  return present({
    type: kind,
    source: kind === "volume" && source !== undefined ? (volumes.get(source) ?? source) : source,
    target,
    read_only: readOnly || undefined,
    bind: present({ propagation }),
    volume: present({ nocopy: noCopy || undefined }),
  });
}

function tmpfsText({ target, readOnly, sizeBytes, mode }: MountSpec): string {
  const options = [
    ...(sizeBytes === undefined ? [] : [`size=${sizeBytes}`]),
    ...(mode === undefined ? [] : [`mode=${mode.toString(8).padStart(4, "0")}`]),
    ...(readOnly ? ["ro"] : []),
  ];
  return options.length === 0 ? target : `${target}:${options.join(",")}`;
}

function renderHealthCheck(check: HealthCheckSpec | undefined): Keys {
  if (check === undefined) return {};
  const { test } = check;
  const timing = {
    interval: unless(check.intervalMs, 30_000, duration),
    timeout: unless(check.timeoutMs, 30_000, duration),
    retries: unless(check.retries, 3),
    start_period: unless(check.startPeriodMs, 0, duration),
  };
  const startInterval = unless(check.startIntervalMs, 5_000, duration);
  if (test.kind === "command") {
    const [program, option, line, ...more] = test.argv;
    const isShell = program === "/bin/sh" && option === "-c" && more.length === 0;
    const words = isShell && line !== undefined ? ["CMD-SHELL", line] : ["CMD", ...test.argv];
    return {
      healthcheck: present({
        test: words,
        ...timing,
        "x-start-interval": startInterval,
        "x-keep-unhealthy": check.keepUnhealthy,
      }),
    };
  }
  const probe =
    test.kind === "http" ? { http: `:${test.port}${test.path}` } : { tcp: `:${test.port}` };
  const keep = { "keep-unhealthy": check.keepUnhealthy };
  return {
    "x-healthcheck": present({ ...probe, ...timing, start_interval: startInterval, ...keep }),
  };
}

function machinesOf({ placement }: ServiceSpec): readonly string[] {
  const any = placement.constraints.find(({ operator }) => operator === "in");
  return any?.value.split(",") ?? [];
}
