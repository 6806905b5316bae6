import {
  type Alias,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  type LineCounter,
  type Node,
  type Pair,
  type Scalar,
  type YAMLMap,
} from "yaml";
import type { Diagnostics } from "./diagnostics.ts";
import { interpolate } from "./interpolate.ts";
import type { Position } from "./service-spec.ts";
import {
  holdsNul,
  type MapEntry,
  type MapTree,
  type MergeTag,
  type ScalarTree,
  shortened,
  type Tree,
} from "./tree.ts";

export const maxDepth = 50;
/** Values in a manifest, each alias counted with all that it stands for. */
export const maxValues = 100_000;
/** All texts of a file together, with their variables replaced. */
const maxInterpolatedLength = 4 * 2 ** 20;

export type ManifestFile = { readonly name: string; readonly text: string };

export function positionAt(file: ManifestFile, lines: LineCounter, offset: number): Position {
  const { line, col } = lines.linePos(offset);
  return { file: file.name, line: Math.max(line, 1), column: Math.max(col, 1) };
}

/** Ends the reading of a file; `readYaml` reports it. */
export class TooLarge extends Error {
  readonly position: Position;

  constructor(position: Position, message: string) {
    super(message);
    this.position = position;
  }
}

/** Turns the parser's nodes into a {@link Tree}. Each anchor is built once and then shared. */
export class TreeBuilder {
  readonly #file: ManifestFile;
  readonly #lines: LineCounter;
  readonly #environment: Readonly<Record<string, string>>;
  readonly #diagnostics: Diagnostics;
  /** What stands behind each anchor; `undefined` while it is being built. */
  readonly #anchors = new Map<string, Tree | undefined>();
  /** How many values each tree stands for, aliases followed. */
  readonly #sizes = new WeakMap<Tree, number>();
  /** Values copied by merge keys, which are work even where they are shared. */
  #mergedValues = 0;
  #interpolatedLength = 0;

  constructor(options: {
    readonly file: ManifestFile;
    readonly lines: LineCounter;
    readonly environment: Readonly<Record<string, string>>;
    readonly diagnostics: Diagnostics;
  }) {
    this.#file = options.file;
    this.#lines = options.lines;
    this.#environment = options.environment;
    this.#diagnostics = options.diagnostics;
  }

  build(contents: Node): Tree {
    return this.#build(contents, { depth: 0, fallback: this.#position(contents) });
  }

  #build(
    node: Node | null,
    context: { readonly depth: number; readonly fallback: Position },
  ): Tree {
    const position = node === null ? context.fallback : this.#position(node);
    if (context.depth > maxDepth) {
      throw new TooLarge(position, `values are nested more than ${maxDepth} deep`);
    }
    if (isAlias(node)) return this.#follow(node, position);
    const anchor = isScalar(node) || isMap(node) || isSeq(node) ? node.anchor : undefined;
    if (anchor !== undefined) this.#anchors.set(anchor, undefined);
    const plain = this.#buildValue(node, { ...context, position });
    const tag = node === null ? undefined : mergeTagOf(node);
    const tree = tag === undefined ? plain : this.#sized({ ...plain, tag }, [plain]);
    if (anchor !== undefined) this.#anchors.set(anchor, tree);
    return tree;
  }

  #buildValue(
    node: Node | null,
    context: { readonly depth: number; readonly fallback: Position; readonly position: Position },
  ): Tree {
    const { depth, fallback, position } = context;
    if (isMap(node)) return this.#buildMap(node, { depth, position });
    if (isSeq(node)) {
      const items = node.items.map((item) =>
        this.#build(asNode(item), { depth: depth + 1, fallback: position }),
      );
      return this.#sized({ kind: "list", items, position }, items);
    }
    return this.#sized(isScalar(node) ? this.#scalar(node, position, fallback) : nothing(fallback));
  }

  #buildMap(
    node: YAMLMap,
    context: { readonly depth: number; readonly position: Position },
  ): MapTree {
    const entries = new Map<string, MapEntry>();
    const merged: { readonly tree: Tree; readonly keyPosition: Position }[] = [];
    for (const pair of node.items) {
      const keyNode = asNode(pair.key);
      const keyPosition = keyNode === null ? context.position : this.#position(keyNode);
      const value = this.#build(asNode(pair.value), {
        depth: context.depth + 1,
        fallback: keyPosition,
      });
      if (isMergeKey(pair)) {
        merged.push({ tree: value, keyPosition });
        continue;
      }
      const key = this.#key(keyNode, keyPosition);
      const first = entries.get(key);
      if (first !== undefined) {
        this.#diagnostics.problem(
          keyPosition,
          `the key \`${key}\` stands here twice; the first time in line ${first.keyPosition.line}`,
        );
      }
      entries.set(key, { keyPosition, value });
    }
    for (const { tree, keyPosition } of merged) this.#merge(entries, tree, keyPosition);
    const map: MapTree = { kind: "map", entries, position: context.position };
    return this.#sized(
      map,
      [...entries.values()].map((entry) => entry.value),
    );
  }

  /** `<<`: takes over the keys of another map, or of several, that are not there yet. */
  #merge(entries: Map<string, MapEntry>, source: Tree, keyPosition: Position): void {
    const sources = source.kind === "list" ? source.items : [source];
    for (const tree of sources) {
      if (tree.kind !== "map") {
        this.#diagnostics.problem(keyPosition, "`<<` must be followed by a map or a list of maps");
        continue;
      }
      this.#mergedValues += tree.entries.size;
      if (this.#mergedValues > maxValues) throw new TooLarge(keyPosition, tooManyValues);
      for (const [key, entry] of tree.entries) {
        if (!entries.has(key)) entries.set(key, entry);
      }
    }
  }

  #key(node: Node | null, position: Position): string {
    if (isScalar(node)) {
      const key = typeof node.value === "string" ? node.value : (node.source ?? "");
      this.#refuseNul(key, position);
      return key;
    }
    this.#diagnostics.problem(position, "a key must be text");
    return "";
  }

  #follow(alias: Alias, position: Position): Tree {
    const tree = this.#anchors.get(alias.source);
    if (tree !== undefined) return tree;
    const message = this.#anchors.has(alias.source)
      ? `the anchor \`&${alias.source}\` contains itself`
      : `no anchor \`&${alias.source}\` stands before \`*${alias.source}\``;
    this.#diagnostics.problem(position, message);
    this.#diagnostics.markBroken(position);
    return nothing(position);
  }

  #scalar(node: Scalar, position: Position, fallback: Position): ScalarTree {
    const { value } = node;
    if (
      node.tag === "!override" &&
      node.type === "PLAIN" &&
      /^(?:null|~)?$/i.test(node.source ?? "")
    ) {
      return nothing(position);
    }
    if (typeof value === "string") {
      const text = this.#interpolate(node, value);
      this.#refuseNul(text, position);
      return { kind: "scalar", type: "text", text, position };
    }
    if (value === null) return nothing(node.source === "" ? fallback : position);
    const type = typeof value === "boolean" ? "boolean" : "number";
    return { kind: "scalar", type, text: node.source ?? String(value), position };
  }

  /** Wherever it stands: programs and engines would get what comes before it, or nothing. */
  #refuseNul(text: string, position: Position): void {
    if (!text.includes("\0")) return;
    this.#diagnostics.problem(position, `\`${shortened(text)}\` ${holdsNul}`, "remove it");
    this.#diagnostics.markBroken(position);
  }

  #interpolate(node: Scalar, value: string): string {
    const result = interpolate(value, this.#environment);
    if (result.kind === "failed") {
      this.#diagnostics.problem(
        this.#dollarPosition(node, result.dollar),
        result.message,
        result.hint,
      );
      this.#diagnostics.markBroken(this.#position(node));
      return value;
    }
    for (const { name, dollar } of result.missing) {
      // Finding each place reads the file, which must not happen as often as the file is long.
      if (this.#diagnostics.isIgnoredFull) break;
      this.#diagnostics.ignored(
        this.#dollarPosition(node, dollar),
        `the variable \`${name}\` is not set; an empty text stands for it`,
      );
    }
    this.#interpolatedLength += result.text.length;
    if (this.#interpolatedLength > maxInterpolatedLength) {
      throw new TooLarge(this.#position(node), "the file with its variables is larger than 4 MiB");
    }
    return result.text;
  }

  /** Where the n-th dollar sign of a value stands, whatever quotes and indentation surround it. */
  #dollarPosition(node: Scalar, dollar: number): Position {
    const [start, end] = node.range ?? [0, 0];
    let offset = start - 1;
    for (let seen = 0; seen <= dollar; seen += 1) {
      offset = this.#file.text.indexOf("$", offset + 1);
      if (offset < 0 || offset >= end) return this.#position(node);
    }
    return positionAt(this.#file, this.#lines, offset);
  }

  #position(node: Node): Position {
    return positionAt(this.#file, this.#lines, node.range?.[0] ?? 0);
  }

  #sized<Value extends Tree>(tree: Value, children: readonly Tree[] = []): Value {
    let size = 1;
    for (const child of children) size += this.#sizes.get(child) ?? 1;
    if (size > maxValues) throw new TooLarge(tree.position, tooManyValues);
    this.#sizes.set(tree, size);
    return tree;
  }
}

export const tooManyValues = `this holds more than ${maxValues} values once its aliases are followed`;

function nothing(position: Position): ScalarTree {
  return { kind: "scalar", type: "null", text: "", position };
}

function mergeTagOf(node: Node): MergeTag | undefined {
  const tag = isScalar(node) || isMap(node) || isSeq(node) ? node.tag : undefined;
  if (tag === "!reset") return "reset";
  return tag === "!override" ? "override" : undefined;
}

function isMergeKey(pair: Pair): boolean {
  return isScalar(pair.key) && pair.key.value === "<<" && pair.key.type === "PLAIN";
}

function asNode(value: unknown): Node | null {
  return isAlias(value) || isMap(value) || isSeq(value) || isScalar(value) ? value : null;
}
