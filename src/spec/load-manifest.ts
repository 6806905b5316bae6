import type { Diagnostics } from "./diagnostics.ts";
import { readDotEnv } from "./env-file.ts";
import { ExtendsResolver } from "./extends.ts";
import { plainOf } from "./item-identity.ts";
import { MergeBudget, mergeTrees, withoutResets } from "./merge-trees.ts";
import { directoryOf, joinPath, rebasePaths } from "./paths.ts";
import { Section } from "./section.ts";
import type { Position } from "./service-spec.ts";
import type { MapEntry, MapTree, Tree } from "./tree.ts";
import { type ManifestFile, maxValues, TooLarge, tooManyValues } from "./tree-builder.ts";
import { readYaml } from "./yaml-tree.ts";

/** Files that one project may be made of, however they name each other. */
const maxFiles = 100;
const maxIncludeDepth = 20;

export type LoadContext = {
  readonly environment: Readonly<Record<string, string>>;
  /** `undefined` when there is no such file. The path is seen from the project's directory. */
  readonly readFile: ((path: string) => string | undefined) | undefined;
  readonly diagnostics: Diagnostics;
};

type Place = {
  readonly environment: Readonly<Record<string, string>>;
  /** Of the manifest, seen from the project's directory; empty for that itself. */
  readonly directory: string;
  /** The files that include this one, outermost first. */
  readonly chain: readonly string[];
};

/**
 * Reads files into one tree: extended services are taken over, included manifests are taken
 * in, and later files are laid over earlier ones. `undefined` when a file cannot be read.
 */
export function loadManifest(
  files: readonly ManifestFile[],
  context: LoadContext,
): MapTree | undefined {
  try {
    const place = { environment: context.environment, directory: "", chain: [] };
    const tree = new Loader(context).load(files, place);
    if (tree !== undefined) checkSize(tree);
    return tree;
  } catch (error) {
    if (!(error instanceof TooLarge)) throw error;
    context.diagnostics.problem(error.position, error.message);
    return undefined;
  }
}

class Loader {
  readonly #context: LoadContext;
  readonly #budget = new MergeBudget();
  #filesRead = 0;

  constructor(context: LoadContext) {
    this.#context = context;
  }

  load(files: readonly ManifestFile[], place: Place): MapTree | undefined {
    const trees = files.map((file) => this.#loadOne(file, place));
    // What a file that cannot be read would add or replace is unknown, so the rest is not judged.
    if (!trees.every((tree) => tree !== undefined)) return undefined;
    const [first, ...others] = trees;
    if (first === undefined) return undefined;
    const merged = others.reduce<Tree>(
      (base, over) => mergeTrees(base, over, top, this.#budget),
      first,
    );
    return merged.kind === "map" ? withoutResets(merged) : undefined;
  }

  #loadOne(file: ManifestFile, place: Place): MapTree | undefined {
    const { diagnostics } = this.#context;
    const own = this.#read(file, place);
    if (own === undefined) return undefined;
    const resolver = new ExtendsResolver({
      diagnostics,
      budget: this.#budget,
      load: (path, position) => this.#extended(path, position, place),
    });
    const extended = resolver.resolve(file.name, own);
    return extended && this.#include(extended, place);
  }

  #read(file: ManifestFile, place: Pick<Place, "environment" | "directory">) {
    this.#filesRead += 1;
    const { environment, directory } = place;
    const tree = readYaml(file, { environment, diagnostics: this.#context.diagnostics });
    if (this.#filesRead > maxFiles) {
      const start: Position = { file: file.name, line: 1, column: 1 };
      throw new TooLarge(start, `the manifest is made of more than ${maxFiles} files`);
    }
    const rebased = tree && rebasePaths(tree, top, directory);
    return rebased?.kind === "map" ? rebased : undefined;
  }

  /** A file that `extends` names. */
  #extended(path: string, position: Position, place: Place): MapTree | undefined {
    const text = this.#text(path, position);
    if (text === undefined) return undefined;
    const directory = directoryOf(path);
    return this.#read({ name: path, text }, { environment: place.environment, directory });
  }

  #text(path: string, position: Position): string | undefined {
    const { readFile, diagnostics } = this.#context;
    if (path === "") {
      diagnostics.problem(position, "the name of a file is empty");
      return undefined;
    }
    if (/^[a-z]+:\/\/|^git@|^oci:/.test(path)) {
      const hint = "fetch it first and name the file";
      diagnostics.problem(position, `\`${path}\` is not a file, and is not supported yet`, hint);
      return undefined;
    }
    if (readFile === undefined) {
      const hint = "files can only be read by the command line";
      diagnostics.problem(position, `\`${path}\` cannot be read here`, hint);
      return undefined;
    }
    const text = readFile(path);
    if (text === undefined) diagnostics.problem(position, `the file \`${path}\` does not exist`);
    return text;
  }

  #include(tree: MapTree, place: Place): MapTree | undefined {
    const entry = tree.entries.get("include");
    if (entry === undefined) return tree;
    const { diagnostics } = this.#context;
    const only = { ...tree, entries: new Map([["include", entry]]) };
    const section = new Section(only, { section: "top", where: "", prefix: "", diagnostics });
    const entries = new Map(tree.entries);
    entries.delete("include");
    let isWhole = true;
    for (const item of section.items("include")) {
      const included = this.#includeOne(item, place);
      if (included === undefined) isWhole = false;
      else this.#takeIn(entries, included, item.position);
    }
    return isWhole ? { ...tree, entries } : undefined;
  }

  #includeOne(item: ReturnType<Section["items"]>[number], place: Place): MapTree | undefined {
    const { position } = item;
    const { diagnostics } = this.#context;
    const paths =
      item instanceof Section ? item.texts("path").map(({ text }) => text) : [item.text];
    const [first] = paths;
    if (first === undefined) {
      diagnostics.problem(position, "the entry of `include` has no `path`");
      return undefined;
    }
    const again = paths.find((path) => place.chain.includes(path));
    if (again !== undefined || place.chain.length >= maxIncludeDepth) {
      const chain = [...place.chain, again ?? first]
        .map((path) => `\`${path}\``)
        .join(" includes ");
      const what =
        again === undefined
          ? "files include each other too deeply"
          : "files include each other in a circle";
      diagnostics.problem(position, `${what}: ${chain}`);
      return undefined;
    }
    const directory =
      (item instanceof Section ? item.text("project_directory") : undefined) ?? directoryOf(first);
    const envFiles = item instanceof Section ? item.texts("env_file").map(({ text }) => text) : [];
    const environment = this.#environment(envFiles, { position, directory, place });
    const files = paths.map((path) => ({ name: path, text: this.#text(path, position) }));
    if (!files.every((file): file is ManifestFile => file.text !== undefined)) return undefined;
    return this.load(files, { environment, directory, chain: [...place.chain, ...paths] });
  }

  /** What is set where the command runs wins over the included project's own `.env`. */
  #environment(
    envFiles: readonly string[],
    at: { readonly position: Position; readonly directory: string; readonly place: Place },
  ): Readonly<Record<string, string>> {
    const { diagnostics, readFile } = this.#context;
    const { environment } = at.place;
    const values: Record<string, string> = {};
    const add = (name: string, text: string | undefined) => {
      if (text === undefined) return;
      Object.assign(values, readDotEnv({ name, text }, { environment, diagnostics }));
    };
    for (const path of envFiles) add(path, this.#text(path, at.position));
    const usual = joinPath(at.directory, ".env");
    if (envFiles.length === 0 && at.directory !== "") add(usual, readFile?.(usual));
    return { ...values, ...environment };
  }

  #takeIn(entries: Map<string, MapEntry>, included: MapTree, position: Position): void {
    for (const group of ["services", "networks", "volumes", "configs", "secrets"]) {
      const theirs = included.entries.get(group);
      if (theirs?.value.kind !== "map") continue;
      const ours = entries.get(group);
      const merged = new Map(ours?.value.kind === "map" ? ours.value.entries : []);
      for (const [name, entry] of theirs.value.entries) {
        const own = merged.get(name);
        if (own !== undefined && !isSame(own.value, entry.value)) {
          this.#context.diagnostics.problem(
            own.keyPosition,
            `\`${group}.${name}\` is defined here and, differently, in the included ${entry.keyPosition.file}:${entry.keyPosition.line}`,
            "rename one of them, or change it in a file of its own given with `-f`",
          );
        } else merged.set(name, entry);
      }
      const value: MapTree = {
        kind: "map",
        entries: merged,
        position: ours?.value.position ?? position,
      };
      entries.set(group, { keyPosition: ours?.keyPosition ?? position, value });
    }
  }
}

const top = { kind: "section", section: "top" } as const;

function isSame(left: Tree, right: Tree): boolean {
  return JSON.stringify(plainOf(left)) === JSON.stringify(plainOf(right));
}

/** What services take over from others counts for each of them. */
function checkSize(tree: MapTree): void {
  const sizes = new Map<Tree, number>();
  const sizeOf = (node: Tree): number => {
    const known = sizes.get(node);
    if (known !== undefined) return known;
    let size = 1;
    if (node.kind === "list") for (const item of node.items) size += sizeOf(item);
    if (node.kind === "map") for (const { value } of node.entries.values()) size += sizeOf(value);
    if (size > maxValues) throw new TooLarge(node.position, tooManyValues);
    sizes.set(node, size);
    return size;
  };
  sizeOf(tree);
}
