import type { Relations } from "./compile-relations.ts";
import type { Diagnostics } from "./diagnostics.ts";
import { nearest } from "./nearest.ts";
import { servicePattern } from "./service-name.ts";
import type { Position } from "./service-spec.ts";
import { shortened } from "./tree.ts";

/** A service of the file with what it says about others. */
export type Related = {
  readonly name: string;
  readonly position: Position;
  readonly relations: Relations;
  readonly diagnostics: Diagnostics;
};

/** Services that become one: the containers of a pod, or a single one. */
export type PodGroup = {
  /** Of the service that they become. */
  readonly name: string;
  /** By the file's names, in the file's order. */
  readonly members: readonly string[];
};

const podName = new RegExp(servicePattern);

/**
 * Which services of a file are containers of one pod: those that name the same pod, and those
 * on the network of another. The pod has the name that is said, or the name of the service
 * whose network it is.
 */
export function groupPods(services: readonly Related[]): readonly PodGroup[] {
  const known = new Map(services.map((each) => [each.name, each]));
  const groups = new Map<string, readonly string[]>(services.map(({ name }) => [name, [name]]));
  const join = (left: string, right: string): void => {
    const [a, b] = [groups.get(left) ?? [], groups.get(right) ?? []];
    if (a === b) return;
    const joined = [...a, ...b];
    for (const name of joined) groups.set(name, joined);
  };
  const firstOfPod = new Map<string, string>();
  for (const { name, relations, diagnostics } of services) {
    const { pod, networkOf } = relations;
    if (pod !== undefined) {
      if (!podName.test(pod.text)) {
        const what = `\`${shortened(pod.text)}\` cannot be the name of a pod`;
        const hint = "names are at most 63 lower-case letters, digits and `-`";
        diagnostics.problem(pod.position, what, hint);
      }
      join(firstOfPod.get(pod.text) ?? name, name);
      firstOfPod.set(pod.text, firstOfPod.get(pod.text) ?? name);
    }
    if (networkOf === undefined) continue;
    if (known.has(networkOf.text)) join(networkOf.text, name);
    else reportUnknown(networkOf, known.keys(), diagnostics);
  }
  const order = new Map(services.map(({ name }, i) => [name, i]));
  return [...new Set(groups.values())].map((names) => {
    const members = names.toSorted((a, b) => (order.get(a) ?? 0) - (order.get(b) ?? 0));
    return { name: nameOf(members, known), members };
  });
}

function nameOf(members: readonly string[], known: ReadonlyMap<string, Related>): string {
  const said = members.flatMap((name) => known.get(name)?.relations.pod ?? []);
  const [first] = said;
  const other = said.find(({ text }) => text !== first?.text);
  if (first !== undefined && other !== undefined) {
    const what = `\`${shortened(other.text)}\` is one pod with \`${shortened(first.text)}\``;
    const hint = "name it the same, or take one of them off the other's network";
    known.get(members[0] ?? "")?.diagnostics.problem(other.position, what, hint);
  }
  const owner = members.find((name) => known.get(name)?.relations.networkOf === undefined);
  return first?.text ?? owner ?? members[0] ?? "";
}

/** A name that stands for no service of the file. */
export function reportUnknown(
  { text, position }: { readonly text: string; readonly position: Position },
  known: Iterable<string>,
  diagnostics: Diagnostics,
): void {
  const meant = nearest(text, known);
  const hint = meant === undefined ? undefined : `did you mean \`${meant}\`?`;
  diagnostics.problem(position, `there is no service \`${shortened(text)}\``, hint);
}
