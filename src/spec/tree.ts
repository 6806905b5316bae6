import type { Json, Position } from "./service-spec.ts";

/**
 * A YAML document without its syntax: aliases and merge keys are followed and variables
 * replaced, and each value still knows where it stands in which file.
 */
export type Tree = (ScalarTree | ListTree | MapTree) & { readonly tag?: MergeTag };

/**
 * What the Compose Specification lets a later file say about an earlier one: `!reset` takes
 * the key away, `!override` replaces it where it would be merged.
 */
export type MergeTag = "reset" | "override";

export type ScalarTree = {
  readonly kind: "scalar";
  /** What the value is by its spelling in YAML; a quoted `"3"` is text. */
  readonly type: "text" | "number" | "boolean" | "null";
  /** As written (`1.10` stays `1.10`), with variables replaced; empty for null. */
  readonly text: string;
  readonly position: Position;
};

export type ListTree = {
  readonly kind: "list";
  readonly items: readonly Tree[];
  readonly position: Position;
};

export type MapTree = {
  readonly kind: "map";
  readonly entries: ReadonlyMap<string, MapEntry>;
  readonly position: Position;
};

export type MapEntry = { readonly keyPosition: Position; readonly value: Tree };

/** What somebody wrote, as the end of "must be …, not …". */
export function describeTree(tree: Tree): string {
  if (tree.kind !== "scalar") return tree.kind === "list" ? "a list" : "a map";
  switch (tree.type) {
    case "null":
      return "empty";
    case "boolean":
      return tree.text;
    case "number":
      return `the number ${tree.text}`;
    case "text":
      return tree.text === "" ? "an empty text" : `the text "${shortened(tree.text)}"`;
  }
}

/** Of a text with a NUL byte: what is wrong with it. */
export const holdsNul = "holds a NUL byte, which no process can be given";

/** A value in a message: one line of at most 60 characters that shows also a NUL byte. */
export function shortened(text: string): string {
  const line = text.replace(/\s+/g, " ").replaceAll("\0", "\\0");
  return line.length > 60 ? `${line.slice(0, 59)}…` : line;
}

/** `- KEY=value` items as the map they stand for; `undefined` when an item is no text. */
export function pairsOf(tree: Tree): MapTree | undefined {
  if (tree.kind === "map") return tree;
  if (tree.kind === "scalar") return undefined;
  const entries = new Map<string, MapEntry>();
  for (const item of tree.items) {
    if (item.kind !== "scalar" || item.type === "null") return undefined;
    const { position } = item;
    const equals = item.text.indexOf("=");
    const key = equals < 0 ? item.text : item.text.slice(0, equals);
    const value: ScalarTree =
      equals < 0
        ? { kind: "scalar", type: "null", text: "", position }
        : { kind: "scalar", type: "text", text: item.text.slice(equals + 1), position };
    entries.set(key, { keyPosition: position, value });
  }
  return { kind: "map", entries, position: tree.position };
}

/** `- NAME` items as the map from names to nothing that they stand for. */
export function namesAsMap(tree: Tree): Tree {
  if (tree.kind !== "list") return tree;
  const entries = new Map<string, MapEntry>();
  for (const item of tree.items) {
    if (item.kind !== "scalar" || item.type === "null") return tree;
    const { position } = item;
    entries.set(item.text, {
      keyPosition: position,
      value: { kind: "map", entries: new Map(), position },
    });
  }
  return { kind: "map", entries, position: tree.position };
}

/** `{host: address}` as the list of `HOST=ADDRESS` that it stands for: a host may have several. */
export function hostList(tree: Tree): Tree {
  if (tree.kind !== "map") return tree;
  const items = [...tree.entries].flatMap(([host, { value }]) =>
    (value.kind === "list" ? value.items : [value]).map(
      (address): Tree =>
        address.kind === "scalar"
          ? {
              kind: "scalar",
              type: "text",
              text: `${host}=${address.text}`,
              position: address.position,
            }
          : address,
    ),
  );
  return { kind: "list", items, position: tree.position };
}

/** The value without its places. */
export function jsonOf(tree: Tree): Json {
  if (tree.kind === "list") return tree.items.map(jsonOf);
  if (tree.kind === "map") {
    return Object.fromEntries([...tree.entries].map(([key, { value }]) => [key, jsonOf(value)]));
  }
  switch (tree.type) {
    case "null":
      return null;
    case "boolean":
      return tree.text.toLowerCase() === "true";
    case "number": {
      const value = Number(tree.text);
      return Number.isFinite(value) ? value : tree.text;
    }
    case "text":
      return tree.text;
  }
}
