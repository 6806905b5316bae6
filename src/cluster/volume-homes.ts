import type { NodeId } from "../kernel/index.ts";
import { mountsOf, runsPerNode, type ServiceSpec, type TaskTemplate } from "../spec/index.ts";
import type { Task } from "./task.ts";

/**
 * On which node the data of a named volume lies. A volume is a directory of one node; the
 * replica that used it first bound it, and whoever takes that replica's place goes there.
 * Replicas of one service have one each, as their slots are different places.
 */
export type VolumeHomes = ReadonlyMap<string, NodeId>;

/** More of them are forgotten, the oldest first. */
const maxVolumeHomes = 20_000;

/** The volumes that a task in this slot needs the data of. Empty in a service with one task per node. */
export function boundVolumes(
  mode: ServiceSpec["mode"],
  template: TaskTemplate,
  slot: number,
): readonly { readonly volume: string; readonly key: string }[] {
  if (runsPerNode(mode)) return [];
  return mountsOf(template).flatMap(({ kind, source }) =>
    kind === "volume" && source !== undefined ? [{ volume: source, key: `${source}#${slot}` }] : [],
  );
}

/** The homes after tasks were created; those that are known stay as they are. */
export function withNewHomes(
  homes: VolumeHomes,
  created: readonly {
    readonly task: Task;
    readonly mode: ServiceSpec["mode"];
    readonly template: TaskTemplate;
  }[],
): VolumeHomes {
  let next: Map<string, NodeId> | undefined;
  for (const { task, mode, template } of created) {
    for (const { key } of boundVolumes(mode, template, task.slot)) {
      if ((next ?? homes).has(key)) continue;
      next ??= new Map(homes);
      next.set(key, task.nodeId);
    }
  }
  if (next === undefined) return homes;
  return next.size <= maxVolumeHomes ? next : new Map([...next].slice(-maxVolumeHomes));
}

/** The homes without those on nodes that are no members any more: their data is gone. */
export function withoutHomesOn(homes: VolumeHomes, gone: readonly NodeId[]): VolumeHomes {
  if (![...homes.values()].some((node) => gone.includes(node))) return homes;
  return new Map([...homes].filter(([, node]) => !gone.includes(node)));
}
