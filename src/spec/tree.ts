import type { Position } from "./service-spec.ts";

/**
 * A YAML document without its syntax: aliases and merge keys are followed and variables
 * replaced, and each value still knows where it stands in which file.
 */
export type Tree = ScalarTree | ListTree | MapTree;

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

/** A value in a message: one line of at most 60 characters. */
export function shortened(text: string): string {
  const line = text.replace(/\s+/g, " ");
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
