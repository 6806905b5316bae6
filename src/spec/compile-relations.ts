import type { Placed, Section } from "./section.ts";
import { dependencyConditions } from "./service-keys.ts";
import type { DependencySpec, Position } from "./service-spec.ts";
import { shortened } from "./tree.ts";

/** An entry of `depends_on`. */
export type Dependency = Omit<DependencySpec, "service"> & {
  /** Of the service as the file names it. */
  readonly name: string;
  readonly position: Position;
};

/** Another container whose mounts are taken over. */
export type MountSource = {
  readonly name: string;
  readonly readOnly: boolean;
  readonly position: Position;
};

/** What a service says about others of its file. */
export type Relations = {
  readonly dependsOn: readonly Dependency[];
  /** The service on whose network it is. */
  readonly networkOf: Placed | undefined;
  /** The pod that it belongs to. */
  readonly pod: Placed | undefined;
  readonly volumesFrom: readonly MountSource[];
};

const conditions: Readonly<
  Record<(typeof dependencyConditions)[number], DependencySpec["condition"]>
> = {
  service_started: "started",
  service_healthy: "healthy",
  service_completed_successfully: "completed",
};

export function compileRelations(section: Section): Relations {
  return {
    dependsOn: section.references("depends_on").map(({ name, position, section: entry }) => ({
      name,
      position,
      condition: conditions[entry.choice("condition", dependencyConditions) ?? "service_started"],
      isRequired: entry.boolean("required") ?? true,
      restart: entry.boolean("restart") ?? false,
    })),
    networkOf: compileNetworkMode(section),
    pod: compilePodName(section),
    volumesFrom: section.texts("volumes_from").flatMap((item) => {
      const source = mountSourceOf(item, section);
      return source === undefined ? [] : [source];
    }),
  };
}

function compileNetworkMode(section: Section): Placed | undefined {
  const text = section.text("network_mode");
  if (text === undefined) return undefined;
  const position = section.positionOf("network_mode");
  const name = /^service:(.+)$/.exec(text)?.[1];
  if (name !== undefined) return { text: name, position };
  const what = `\`network_mode: ${shortened(text)}\` is not supported yet`;
  section.diagnostics.notYet(position, what, "`network_mode: service:NAME` is");
  return undefined;
}

function compilePodName(section: Section): Placed | undefined {
  const text = section.text("x-pod");
  return text === undefined ? undefined : { text, position: section.positionOf("x-pod") };
}

/** `NAME[:ro|rw]` */
function mountSourceOf({ text, position }: Placed, section: Section): MountSource | undefined {
  const [name = "", access = "rw", ...rest] = text.split(":");
  if (name === "container" || rest.length > 0 || (access !== "ro" && access !== "rw")) {
    const what = `\`${shortened(text)}\` is not a container of the pod`;
    section.diagnostics.problem(position, what, "write `NAME` or `NAME:ro`");
    return undefined;
  }
  return { name, readOnly: access === "ro", position };
}
