import { assert } from "../kernel/index.ts";
import { checkKey, hintFor, ruleOf } from "./check-key.ts";
import type { Diagnostics } from "./diagnostics.ts";
import { expected, type KeyRule, type SectionName, type ValueType } from "./key-rule.ts";
import { extensionName } from "./key-table.ts";
import type { Json, Position } from "./service-spec.ts";
import {
  describeTree,
  hostList,
  jsonOf,
  type MapEntry,
  type MapTree,
  namesAsMap,
  pairsOf,
  type ScalarTree,
  type Tree,
} from "./tree.ts";
import {
  readBoolean,
  readBytes,
  readCpuMillis,
  readDuration,
  readInteger,
  readNumber,
} from "./values.ts";

/** A text and where it stands. */
export type Placed = { readonly text: string; readonly position: Position };

export type SectionOptions = {
  readonly section: SectionName;
  /** For "unknown key … in …": `` in `deploy` ``. */
  readonly where: string;
  /** Goes before keys in messages: `deploy.`. */
  readonly prefix: string;
  readonly diagnostics: Diagnostics;
};

/** Opens a map as a section of the key table and reports the keys that do not belong there. */
export function openSection(tree: Tree, options: SectionOptions): Section | undefined {
  if (tree.kind === "map") return new Section(tree, options);
  options.diagnostics.problem(
    tree.position,
    `what stands ${options.where} must be a map, not ${describeTree(tree)}`,
  );
  return undefined;
}

/**
 * One map of a manifest, read by the key table. Every reader returns `undefined` both for
 * a key that is absent and for one that is wrong; the latter is reported.
 */
export class Section {
  readonly position: Position;
  /** Where the readers of this section report to. */
  readonly diagnostics: Diagnostics;
  readonly #tree: MapTree;
  readonly #options: SectionOptions;

  constructor(tree: MapTree, options: SectionOptions) {
    this.#tree = tree;
    this.#options = options;
    this.diagnostics = options.diagnostics;
    this.position = tree.position;
    for (const [key, entry] of tree.entries) checkKey(key, entry.keyPosition, options);
  }

  has(key: string): boolean {
    return this.tree(key) !== undefined;
  }

  /** The value of a supported key, as it stands. */
  tree(key: string): Tree | undefined {
    this.#rule(key);
    return this.#entry(key)?.value;
  }

  /** Where the value stands, or the section where the key is absent. */
  positionOf(key: string): Position {
    return this.#entry(key)?.value.position ?? this.position;
  }

  /** Reports that the value of `key` is not what it must be. */
  reject(key: string, mustBe: string, hint?: string): void {
    const tree = this.#entry(key)?.value;
    const actually = tree === undefined ? "absent" : describeTree(tree);
    this.#options.diagnostics.problem(
      this.positionOf(key),
      `\`${this.#options.prefix}${key}\` must be ${mustBe}, not ${actually}`,
      hint,
    );
  }

  /** Text that is not empty; a number counts as text. */
  text(key: string): string | undefined {
    return this.#read(key, "text", (_type, tree) =>
      tree.type === "boolean" || tree.text === "" ? undefined : tree.text,
    );
  }

  boolean(key: string): boolean | undefined {
    return this.#read(key, "boolean", (_type, { text }) => readBoolean(text));
  }

  integer(key: string): number | undefined {
    return this.#read(key, "integer", (type, { text }) => readInteger(text, type));
  }

  number(key: string): number | undefined {
    return this.#read(key, "number", (type, { text }) => readNumber(text, type));
  }

  cpuMillis(key: string): number | undefined {
    return this.#read(key, "cpus", (_type, { text }) => readCpuMillis(text));
  }

  bytes(key: string): number | undefined {
    return this.#read(key, "bytes", (type, { text }) => atLeast(readBytes(text), type.minimum));
  }

  durationMs(key: string): number | undefined {
    return this.#read(key, "duration", (type, { text }) =>
      atLeast(readDuration(text), type.minimumMs),
    );
  }

  /** One of the words that the key table lists for the key. */
  choice<const Word extends string>(key: string, words: readonly Word[]): Word | undefined {
    return this.#read(key, "choice", (_type, { text }) => words.find((word) => word === text));
  }

  /** A list of texts, each with its place; one text counts as a list of one. */
  texts(key: string): readonly Placed[] {
    const tree = this.tree(key);
    if (tree === undefined) return [];
    const placed: Placed[] = [];
    for (const item of tree.kind === "list" ? tree.items : [tree]) {
      if (item.kind === "scalar" && item.type !== "null") placed.push(item);
      else this.#wrongItem(key, item);
    }
    return placed;
  }

  /** A map of texts, or a list of `KEY=value`. Null is passed on as `undefined`. */
  pairs(key: string): ReadonlyMap<string, { readonly position: Position; readonly text?: string }> {
    const pairs = new Map<string, { readonly position: Position; readonly text?: string }>();
    const tree = this.tree(key);
    if (tree === undefined || isNull(tree)) return pairs;
    const map = pairsOf(tree);
    if (map === undefined) this.#wrong(key, tree);
    for (const [name, { value, keyPosition }] of map?.entries ?? []) {
      if (value.kind !== "scalar") {
        this.#wrongItem(`${key}.${name}`, value);
      } else {
        pairs.set(name, {
          position: keyPosition,
          ...(value.type !== "null" && { text: value.text }),
        });
      }
    }
    return pairs;
  }

  /** The section behind a key. */
  child(key: string): Section | undefined {
    const { type } = this.#rule(key);
    assert(type.kind === "section", `\`${key}\` is a section`);
    const tree = this.tree(key);
    if (tree === undefined) return undefined;
    if (tree.kind === "map") return this.#open(tree, { section: type.section, path: key });
    this.#wrong(key, tree);
    return undefined;
  }

  /** Keys that start with `x-` and that the key table does not know. */
  extensions(): Record<string, Json> {
    const entries = [...this.#tree.entries]
      .filter(([key]) => key.startsWith("x-") && ruleOf(this.#options.section, key) === undefined)
      .map(([key, { value }]) => [key, jsonOf(value)] as const);
    return Object.fromEntries(entries);
  }

  /** Text in the key's short form, or the section that it stands for. */
  short(key: string): Placed | Section | undefined {
    const { type } = this.#rule(key);
    assert(type.kind === "short", `\`${key}\` has a short form`);
    const tree = this.tree(key);
    if (tree === undefined) return undefined;
    if (tree.kind === "scalar" && tree.type !== "null") return tree;
    if (tree.kind === "map") return this.#open(tree, { section: type.section, path: key });
    this.#wrong(key, tree);
    return undefined;
  }

  /** A map of names behind a key, each with text in the short form or a section. */
  namedOrShort(
    key: string,
  ): readonly { readonly name: string; readonly value: Placed | Section }[] {
    const { type } = this.#rule(key);
    assert(type.kind === "named", `\`${key}\` is a map of names`);
    const tree = this.tree(key);
    if (tree === undefined || isNull(tree)) return [];
    if (tree.kind !== "map") {
      this.#wrong(key, tree);
      return [];
    }
    const found: { readonly name: string; readonly value: Placed | Section }[] = [];
    for (const [name, { value }] of tree.entries) {
      const path = `${key}.${name}`;
      if (value.kind === "scalar" && value.type !== "null") found.push({ name, value });
      else if (value.kind === "map") {
        found.push({ name, value: this.#open(value, { section: type.section, path }) });
      } else this.#wrongItem(path, value);
    }
    return found;
  }

  /** The names that a list holds, or a map with a section for each. */
  references(key: string): readonly {
    readonly name: string;
    readonly position: Position;
    readonly section: Section;
  }[] {
    const { type } = this.#rule(key);
    assert(type.kind === "references", `\`${key}\` holds names`);
    const tree = this.tree(key);
    if (tree === undefined || isNull(tree)) return [];
    const map = namesAsMap(tree);
    if (map.kind !== "map") {
      this.#wrong(key, tree);
      return [];
    }
    return [...map.entries].flatMap(([name, { keyPosition, value }]) => {
      const path = `${key}.${name}`;
      if (value.kind === "map") {
        const section = this.#open(value, { section: type.section, path });
        return [{ name, position: keyPosition, section }];
      }
      this.#wrongItem(path, value);
      return [];
    });
  }

  /** `HOST=ADDRESS` texts, each with its place. */
  hosts(key: string): readonly Placed[] {
    const tree = this.tree(key);
    if (tree === undefined || isNull(tree)) return [];
    const list = hostList(tree);
    if (list.kind !== "list") {
      this.#wrong(key, tree);
      return [];
    }
    return list.items.flatMap((item) => {
      if (item.kind === "scalar" && item.type !== "null") return [item];
      this.#wrongItem(key, item);
      return [];
    });
  }

  /** The items of a list: texts as they stand, and maps opened as the section of the key. */
  items(key: string): readonly (Placed | Section)[] {
    const { type } = this.#rule(key);
    assert(type.kind === "items", `\`${key}\` is a list of items`);
    const tree = this.tree(key);
    if (tree === undefined) return [];
    const items: (Placed | Section)[] = [];
    for (const item of tree.kind === "list" ? tree.items : [tree]) {
      if (item.kind === "scalar" && item.type !== "null") items.push(item);
      else if (item.kind === "map" && tree.kind === "list" && type.section !== undefined) {
        items.push(this.#open(item, { section: type.section, path: key }));
      } else this.#wrongItem(key, item);
    }
    return items;
  }

  /** The sections of a map of names, e.g. `services`. */
  named(
    key: string,
    where: (name: string) => string,
    diagnosticsFor: (tree: Tree) => Diagnostics = () => this.#options.diagnostics,
  ): readonly { readonly name: string; readonly position: Position; readonly section: Section }[] {
    const { type } = this.#rule(key);
    assert(type.kind === "named", `\`${key}\` is a map of names`);
    const tree = this.tree(key);
    if (tree === undefined || isNull(tree)) return [];
    if (tree.kind !== "map") {
      this.#wrong(key, tree);
      return [];
    }
    return [...tree.entries].flatMap(([name, { keyPosition, value }]) => {
      const diagnostics = diagnosticsFor(value);
      // `data:` alone is a volume with nothing to say about it.
      const map = isNull(value) ? { ...noEntries, position: keyPosition } : value;
      const options = { section: type.section, where: where(name), prefix: "", diagnostics };
      const section = openSection(map, options);
      return section === undefined ? [] : [{ name, position: keyPosition, section }];
    });
  }

  #entry(key: string): MapEntry | undefined {
    const { entries } = this.#tree;
    const entry = entries.get(key);
    if (entry !== undefined) return entry;
    const other = extensionName(this.#options.section, key);
    return other === undefined ? undefined : entries.get(other);
  }

  #open(tree: MapTree, at: { readonly section: SectionName; readonly path: string }): Section {
    const path = `${this.#options.prefix}${at.path}`;
    return new Section(tree, {
      section: at.section,
      where: `in \`${path}\``,
      prefix: `${path}.`,
      diagnostics: this.#options.diagnostics,
    });
  }

  #read<Kind extends ValueType["kind"], Value>(
    key: string,
    kind: Kind,
    read: (type: Extract<ValueType, { kind: Kind }>, tree: ScalarTree) => Value | undefined,
  ): Value | undefined {
    const { type } = this.#rule(key);
    assert(isOfKind(type, kind), `the key table says that \`${key}\` is a ${kind}`);
    const tree = this.tree(key);
    if (tree === undefined) return undefined;
    const value = tree.kind === "scalar" && tree.type !== "null" ? read(type, tree) : undefined;
    if (value === undefined) this.#wrong(key, tree);
    return value;
  }

  #rule(key: string): KeyRule {
    const rule = ruleOf(this.#options.section, key);
    // What is not acted on yet may be read all the same, to say what is wrong with it.
    assert(rule !== undefined && rule.type.kind !== "any", `the key table knows \`${key}\``);
    return rule;
  }

  #wrong(key: string, tree: Tree): void {
    const { type } = this.#rule(key);
    const words = tree.kind === "scalar" ? tree.text : "";
    if (type.kind === "choice" && type.notYet.includes(words)) {
      const { diagnostics, prefix } = this.#options;
      diagnostics.problem(tree.position, `\`${prefix}${key}: ${words}\` is not supported yet`);
      return;
    }
    this.reject(key, expected(type), hintFor(type, words));
  }

  #wrongItem(key: string, item: Tree): void {
    this.#options.diagnostics.problem(
      item.position,
      `\`${this.#options.prefix}${key}\` holds ${describeTree(item)} where text is expected`,
    );
  }
}

const noEntries: Omit<MapTree, "position"> = { kind: "map", entries: new Map() };

function isNull(tree: Tree): boolean {
  return tree.kind === "scalar" && tree.type === "null";
}

function isOfKind<Kind extends ValueType["kind"]>(
  type: ValueType,
  kind: Kind,
): type is Extract<ValueType, { kind: Kind }> {
  return type.kind === kind;
}

function atLeast(value: number | undefined, minimum: number): number | undefined {
  return value !== undefined && value >= minimum ? value : undefined;
}
