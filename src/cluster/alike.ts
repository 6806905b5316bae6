import type { Service } from "./cluster-state.ts";
import { sameValue } from "./same-value.ts";

/**
 * Whether tasks of one revision do for tasks of the other: both are made of the same template,
 * and nobody asked for new ones in between.
 */
export function isAlike(service: Service, left: number, right: number): boolean {
  if (left === right) return true;
  const { templates, restartedAtRevision = 0 } = service;
  if (left < restartedAtRevision !== right < restartedAtRevision) return false;
  const template = templates.get(left);
  return template !== undefined && sameValue(template, templates.get(right));
}
