import type { SectionName, ValueType } from "./key-rule.ts";
import { keyTable } from "./key-table.ts";
import { type ListTree, type MapEntry, type MapTree, pairsOf, type Tree } from "./tree.ts";

/**
 * Lays one manifest over another by the rules of the Compose Specification: maps merge,
 * lists append, anything else is replaced. Mounts and ports that stand for the same thing
 * are sorted out by their readers, which see from which file each comes.
 */
export function mergeTrees(base: Tree, over: Tree, type: ValueType): Tree {
  const isEmpty = over.kind === "scalar" && over.type === "null";
  if (isEmpty && base.kind !== "scalar") return base;
  switch (type.kind) {
    case "section":
      return mergeMaps(base, over, (key) => ruleType(type.section, key));
    case "named":
      return mergeMaps(base, over, () => ({ kind: "section", section: type.section }));
    case "pairs":
      return mergeMaps(pairsOf(base) ?? base, pairsOf(over) ?? over, () => ({ kind: "any" }));
    case "texts":
    case "items":
      return append(base, over);
    default:
      return over;
  }
}

function ruleType(section: SectionName, key: string): ValueType {
  const rules = keyTable[section];
  return (Object.hasOwn(rules, key) ? rules[key]?.type : undefined) ?? { kind: "any" };
}

function mergeMaps(base: Tree, over: Tree, typeOf: (key: string) => ValueType): Tree {
  if (base.kind !== "map" || over.kind !== "map") return over;
  const entries = new Map<string, MapEntry>(base.entries);
  for (const [key, entry] of over.entries) {
    const before = base.entries.get(key);
    const value =
      before === undefined ? entry.value : mergeTrees(before.value, entry.value, typeOf(key));
    entries.set(key, { keyPosition: entry.keyPosition, value });
  }
  return { kind: "map", entries, position: base.position } satisfies MapTree;
}

function append(base: Tree, over: Tree): Tree {
  const before = listOf(base);
  const after = listOf(over);
  if (before === undefined || after === undefined) return over;
  return { ...after, items: [...before.items, ...after.items] };
}

function listOf(tree: Tree): ListTree | undefined {
  if (tree.kind === "list") return tree;
  if (tree.kind === "map") return undefined;
  return { kind: "list", items: [tree], position: tree.position };
}
