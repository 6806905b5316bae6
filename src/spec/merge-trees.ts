import { itemIdentity } from "./item-identity.ts";
import type { SectionName, ValueType } from "./key-rule.ts";
import { keyTable } from "./key-table.ts";
import {
  hostList,
  type ListTree,
  type MapEntry,
  type MapTree,
  namesAsMap,
  pairsOf,
  type Tree,
} from "./tree.ts";
import { TooLarge } from "./tree-builder.ts";

const maxMergedValues = 1_000_000;

/** Merging copies; what a few short files ask to have copied must not take minutes. */
export class MergeBudget {
  #left = maxMergedValues;

  spend(values: number, at: Tree): void {
    this.#left -= values;
    if (this.#left < 0) {
      throw new TooLarge(
        at.position,
        `merging all that is extended, included and overridden here makes more than ${maxMergedValues} values`,
      );
    }
  }
}

/**
 * Lays one manifest over another by the rules of the Compose Specification: maps merge,
 * lists append, anything else is replaced. An item of a list that stands for the same thing
 * as one before (a port, a mount point) takes its place. `!reset` and `!override` are obeyed.
 */
export function mergeTrees(base: Tree, over: Tree, type: ValueType, budget: MergeBudget): Tree {
  if (over.tag === "override") return over;
  const isEmpty = over.kind === "scalar" && over.type === "null";
  if (isEmpty && base.kind !== "scalar") return base;
  switch (type.kind) {
    case "section":
    case "short":
      return mergeMaps(base, over, (key) => ruleType(type.section, key), budget);
    case "named":
      return mergeMaps(base, over, () => ({ kind: "section", section: type.section }), budget);
    case "references":
      return mergeMaps(
        namesAsMap(base),
        namesAsMap(over),
        () => ({ kind: "section", section: type.section }),
        budget,
      );
    case "pairs":
      return mergeMaps(pairsOf(base) ?? base, pairsOf(over) ?? over, () => anything, budget);
    case "hosts":
      return append(hostList(base), hostList(over), type, budget);
    case "texts":
    case "items":
      return append(base, over, type, budget);
    default:
      return over;
  }
}

const anything: ValueType = { kind: "any" };

function ruleType(section: SectionName, key: string): ValueType {
  const rules = keyTable[section];
  return (Object.hasOwn(rules, key) ? rules[key]?.type : undefined) ?? anything;
}

function mergeMaps(
  base: Tree,
  over: Tree,
  typeOf: (key: string) => ValueType,
  budget: MergeBudget,
): Tree {
  if (base.kind !== "map" || over.kind !== "map") return over;
  budget.spend(base.entries.size + over.entries.size, over);
  const entries = new Map<string, MapEntry>(base.entries);
  for (const [key, entry] of over.entries) {
    const before = base.entries.get(key);
    if (entry.value.tag === "reset") {
      entries.delete(key);
      continue;
    }
    const value =
      before === undefined
        ? entry.value
        : mergeTrees(before.value, entry.value, typeOf(key), budget);
    entries.set(key, { keyPosition: entry.keyPosition, value });
  }
  return { kind: "map", entries, position: base.position } satisfies MapTree;
}

function append(base: Tree, over: Tree, type: ValueType, budget: MergeBudget): Tree {
  const before = listOf(base);
  const after = listOf(over);
  if (before === undefined || after === undefined) return over;
  budget.spend(before.items.length + after.items.length, over);
  const replacing = new Map(after.items.map((item) => [itemIdentity(item, type), item]));
  const kept = before.items.filter((item) => !replacing.has(itemIdentity(item, type)));
  return { ...after, items: [...kept, ...after.items] };
}

function listOf(tree: Tree): ListTree | undefined {
  if (tree.kind === "list") return tree;
  if (tree.kind === "map") return undefined;
  return { kind: "list", items: [tree], position: tree.position };
}

/**
 * Takes away what `!reset` stands at, where there was nothing to take it away from. Parts
 * that aliases share are visited once.
 */
export function withoutResets<Kind extends Tree>(tree: Kind, seen = new Map<Tree, Tree>()): Kind {
  const known = seen.get(tree);
  if (known !== undefined) return known as Kind;
  const result = withoutResetsIn(tree, seen);
  seen.set(tree, result);
  return result as Kind;
}

function withoutResetsIn(tree: Tree, seen: Map<Tree, Tree>): Tree {
  if (tree.kind === "scalar") return tree;
  let isChanged = false;
  const visit = (child: Tree): Tree | undefined => {
    const kept = child.tag === "reset" ? undefined : withoutResets(child, seen);
    isChanged ||= kept !== child;
    return kept;
  };
  if (tree.kind === "list") {
    const items = tree.items.flatMap((item) => visit(item) ?? []);
    return isChanged ? { ...tree, items } : tree;
  }
  const entries = new Map<string, MapEntry>();
  for (const [key, entry] of tree.entries) {
    const value = visit(entry.value);
    if (value !== undefined) entries.set(key, { ...entry, value });
  }
  return isChanged ? { ...tree, entries } : tree;
}
