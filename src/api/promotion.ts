import type { Service } from "../cluster/index.ts";
import type { ServiceSpec } from "../spec/index.ts";
import { ApiError } from "./problem.ts";

type PromotionOptions = {
  readonly namespace: string;
  /** Whether it takes over everything that is not a matter of the namespace itself. */
  readonly isWhole: boolean;
};

/**
 * A service as it is to be in another namespace: what runs in the one, to the digest, with
 * what belongs to the other. A service that is there already keeps its environment and all
 * else, and gets the image; its number of replicas, ports and host names it keeps in any case.
 */
export function promotedSpec(
  source: Service,
  target: Service | undefined,
  { namespace, isWhole }: PromotionOptions,
): ServiceSpec {
  const { isStopped: _stopped, ...spec } = source.spec;
  if (spec.namespace === namespace) {
    throw new ApiError("invalid", `${spec.name} is in namespace "${namespace}" already.`);
  }
  if (target !== undefined && target.spec.mode.kind !== spec.mode.kind) {
    throw new ApiError(
      "conflict",
      `${spec.name} runs as ${spec.mode.kind} in "${spec.namespace}" and as ${target.spec.mode.kind} in "${namespace}". Change one of them.`,
    );
  }
  if (target !== undefined && !isWhole) {
    const { image } = spec.template;
    return { ...target.spec, template: { ...target.spec.template, image } };
  }
  const own = target && {
    mode: target.spec.mode,
    ports: target.spec.ports,
    ingress: target.spec.ingress,
  };
  return { ...withVolumesOf(spec, namespace), ...own, namespace };
}

/** Volumes that were named after the one namespace are those of the other. */
function withVolumesOf(spec: ServiceSpec, namespace: string): ServiceSpec {
  const prefix = `${spec.namespace}_`;
  const mounts = spec.template.mounts.map((mount) =>
    mount.kind === "volume" && mount.source?.startsWith(prefix) === true
      ? { ...mount, source: `${namespace}_${mount.source.slice(prefix.length)}` }
      : mount,
  );
  return { ...spec, template: { ...spec.template, mounts } };
}
