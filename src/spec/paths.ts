import type { SectionName, ValueType } from "./key-rule.ts";
import { keyTable } from "./key-table.ts";
import type { MapEntry, Tree } from "./tree.ts";

/** `a/b` for `a/b/c.yaml`; empty for a file beside the manifest. */
export function directoryOf(path: string): string {
  return path.slice(0, Math.max(path.lastIndexOf("/"), path.startsWith("/") ? 1 : 0));
}

/** `path` as seen from where `directory` is seen from, without `.` and, where possible, `..`. */
export function joinPath(directory: string, path: string): string {
  if (directory === "" || /^[/~]/.test(path)) return path;
  const parts: string[] = [];
  for (const part of `${directory}/${path}`.split("/")) {
    if (part === "..") {
      if (parts.length > 0 && parts.at(-1) !== "..") parts.pop();
      else parts.push(part);
    } else if (part !== "." && part !== "") parts.push(part);
  }
  return `${directory.startsWith("/") ? "/" : ""}${parts.join("/")}`;
}

/**
 * Makes the paths of a manifest in another directory relative to the first manifest's, so
 * that it does not matter any more where each was written.
 */
export function rebasePaths(tree: Tree, type: ValueType, directory: string): Tree {
  if (directory === "") return tree;
  if ("isPath" in type && type.isPath && tree.kind === "scalar" && tree.type === "text") {
    return { ...tree, text: joinPath(directory, tree.text) };
  }
  if (tree.kind === "list" && (type.kind === "items" || type.kind === "texts")) {
    return { ...tree, items: tree.items.map((item) => rebasePaths(item, type, directory)) };
  }
  if (tree.kind !== "map" || !("section" in type) || type.section === undefined) return tree;
  const entries = new Map<string, MapEntry>();
  for (const [key, entry] of tree.entries) {
    const inner = typeInside(type, type.section, key);
    const value = inner === undefined ? entry.value : rebasePaths(entry.value, inner, directory);
    entries.set(key, { ...entry, value });
  }
  return { ...tree, entries };
}

function typeInside(type: ValueType, section: SectionName, key: string): ValueType | undefined {
  if (type.kind === "named") return { kind: "section", section };
  return Object.hasOwn(keyTable[section], key) ? keyTable[section][key]?.type : undefined;
}
