import { isJobMode } from "./compile-job.ts";
import { stopsFirst } from "./exclusive.ts";
import { type RenderContext, renderService } from "./render-service.ts";
import { present } from "./render-values.ts";
import type { DependencySpec, Json, PodContainer, ServiceSpec } from "./service-spec.ts";

type Keys = Readonly<Record<string, Json>>;
type Entry = readonly [name: string, keys: Keys];
/** As `depends_on` has it, by the names of a file. */
type Dependency = Omit<DependencySpec, "service"> & { readonly name: string };

const conditions: Readonly<Record<DependencySpec["condition"], string>> = {
  started: "service_started",
  healthy: "service_healthy",
  completed: "service_completed_successfully",
};

/** A service as the services of a file that make it: one for each container. */
export function renderServices(
  spec: ServiceSpec,
  all: readonly ServiceSpec[],
  context: RenderContext,
): readonly Entry[] {
  const outer = (spec.dependsOn ?? []).flatMap(({ service, ...rest }): Dependency[] => {
    const name = nameInFile(all, service, rest.condition);
    return name === undefined ? [] : [{ name, ...rest }];
  });
  const { pod, ...template } = spec.template;
  if (pod === undefined) {
    return [[spec.name, { ...renderService(spec, context), ...renderDependsOn(outer) }]];
  }
  const setups = pod.others.filter(({ role }) => role === "init");
  const companions = pod.others.filter(({ role }) => role === "companion");
  const isNamed = spec.name !== pod.main || setups.length > 0;
  const last = setups.at(-1);
  const main: Entry = [
    pod.main,
    {
      ...renderService({ ...spec, template }, context),
      ...(isNamed && { "x-pod": spec.name }),
      ...renderDependsOn([...outer, ...(last === undefined ? [] : [after(last, "completed")])]),
    },
  ];
  return [
    ...setups.map((each, i): Entry => {
      const before = setups[i - 1];
      const depends = before === undefined ? [] : [after(before, "completed")];
      const keys = renderContainer(spec, each, context);
      return [each.name, { ...keys, "x-pod": spec.name, ...renderDependsOn(depends) }];
    }),
    main,
    ...companions.map((each, i): Entry => {
      const isSorted = companions.every(({ name }, j) => name > (companions[j - 1]?.name ?? ""));
      const before = isSorted ? undefined : companions[i - 1];
      const healthy = each.startsAfterHealthy ?? [];
      const depends = [
        ...(before === undefined || healthy.includes(before.name)
          ? []
          : [after(before, "started")]),
        ...healthy.map((name) => after({ name }, "healthy")),
      ];
      const keys = renderContainer(spec, each, context);
      const network_mode = `service:${pod.main}`;
      return [each.name, { ...keys, network_mode, ...renderDependsOn(depends) }];
    }),
  ];
}

function after(
  { name }: { readonly name: string },
  condition: DependencySpec["condition"],
): Dependency {
  return { name, condition, isRequired: true, restart: false };
}

/** The container as a service that says nothing beyond it. */
function renderContainer(spec: ServiceSpec, container: PodContainer, context: RenderContext): Keys {
  const { name, role, startsAfterHealthy: _after, ...template } = container;
  const { namespace, containerExtensions } = spec;
  const extensions = containerExtensions?.[name];
  const any = { condition: "any", delayMs: 0, windowMs: 0 } as const;
  const keys = renderService(
    {
      namespace,
      name,
      labels: {},
      mode: { kind: "replicated", replicas: 1 },
      template: role === "init" ? { ...template, restart: any } : template,
      ports: [],
      ingress: [],
      update: {
        parallelism: 1,
        delayMs: 0,
        order: stopsFirst(template, undefined) ? "stop-first" : "start-first",
        monitorMs: 5_000,
        failureAction: "rollback",
        maxFailureRatio: 0,
      },
      placement: { constraints: [] },
      ...(extensions !== undefined && { extensions }),
    },
    context,
  );
  const runsForEver = role === "companion" && template.restart.condition === "any";
  return { ...keys, ...(runsForEver && isJobMode(spec.mode) && { restart: "always" }) };
}

/** The name of a service in the file: that of the container of its pod which is waited for. */
function nameInFile(
  all: readonly ServiceSpec[],
  service: string,
  condition: DependencySpec["condition"],
): string | undefined {
  const template = all.find(({ name }) => name === service)?.template;
  if (template?.pod === undefined) return template && service;
  const checked = template.pod.others.find(({ healthCheck }) => healthCheck !== undefined);
  const isMainChecked = template.healthCheck !== undefined;
  if (condition !== "healthy" || isMainChecked) return template.pod.main;
  return checked?.name ?? template.pod.main;
}

/** Under another name where older tools would refuse what it says. */
function renderDependsOn(dependencies: readonly Dependency[]): Keys {
  if (dependencies.length === 0) return {};
  const isNew = dependencies.some(({ isRequired, restart }) => !isRequired || restart);
  const entries = dependencies.map(({ name, condition, isRequired, restart }) => [
    name,
    present({
      condition: conditions[condition],
      required: isRequired ? undefined : false,
      restart: restart || undefined,
    }),
  ]);
  return { [isNew ? "x-depends-on" : "depends_on"]: Object.fromEntries(entries) };
}
