import type { ServiceSpec } from "../spec/index.ts";
import type { NodeFacts } from "./facts.ts";

type Constraint = ServiceSpec["placement"]["constraints"][number];

/**
 * The first placement constraint that a node does not meet; undefined when it meets all, or
 * when what it says of itself is not known yet.
 */
export function unmetConstraint(spec: ServiceSpec, node: NodeFacts): Constraint | undefined {
  return spec.placement.constraints.find(({ key, operator, value }) => {
    if (key.startsWith("node.platform.") && node.report === undefined) return false;
    const actual = attributeOf(node, key);
    if (operator === "in") return !value.split(",").some((each) => each === actual);
    return (actual === value) !== (operator === "==");
  });
}

/** `constraint node.labels.disk == ssd is not met (it is hdd)`. */
export function describeUnmet({ key, operator, value }: Constraint, node: NodeFacts): string {
  const actual = attributeOf(node, key);
  const is = actual === undefined ? "it has none" : `it is ${actual}`;
  return `constraint ${key} ${operator} ${value} is not met (${is})`;
}

/** What a node is by the name of a constraint's or a preference's key. */
export function attributeOf({ node, report }: NodeFacts, key: string): string | undefined {
  if (key.startsWith("node.labels.")) return node.labels[key.slice("node.labels.".length)];
  switch (key) {
    case "node.id":
      return node.id;
    case "node.hostname":
      return node.name;
    case "node.platform.os":
      return report?.platform.os;
    case "node.platform.arch":
      return report?.platform.arch;
    default:
      return undefined;
  }
}
