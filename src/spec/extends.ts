import type { Diagnostics } from "./diagnostics.ts";
import { type MergeBudget, mergeTrees } from "./merge-trees.ts";
import { nearest } from "./nearest.ts";
import { Section } from "./section.ts";
import type { Position } from "./service-spec.ts";
import { type MapEntry, type MapTree, shortened, type Tree } from "./tree.ts";

const maxChain = 50;

export type ExtendsContext = {
  readonly diagnostics: Diagnostics;
  readonly budget: MergeBudget;
  /** The manifest behind a path, or `undefined` when it cannot be read, which is reported. */
  readonly load: (path: string, position: Position) => MapTree | undefined;
};

type File = { readonly name: string; readonly services: ReadonlyMap<string, MapEntry> };
type Service = { readonly file: File; readonly name: string };

/** Lays every service over the one that it `extends`, in this file or another one. */
export class ExtendsResolver {
  readonly #context: ExtendsContext;
  readonly #files = new Map<string, File | undefined>();
  readonly #resolved = new Map<string, Tree>();

  constructor(context: ExtendsContext) {
    this.#context = context;
  }

  /** `undefined` when another file cannot be read, so that nothing can be said of the rest. */
  resolve(name: string, tree: MapTree): MapTree | undefined {
    const given = tree.entries.get("services");
    if (given?.value.kind !== "map") return tree;
    const file: File = { name, services: given.value.entries };
    const services = new Map<string, MapEntry>();
    for (const [service, entry] of file.services) {
      services.set(service, { ...entry, value: this.#service({ file, name: service }, []) });
    }
    if ([...this.#files.values()].includes(undefined)) return undefined;
    const entries = new Map(tree.entries);
    entries.set("services", { ...given, value: { ...given.value, entries: services } });
    return { ...tree, entries };
  }

  #service(service: Service, chain: readonly string[]): Tree {
    const own = service.file.services.get(service.name)?.value;
    if (own?.kind !== "map") return own ?? nothing({ file: service.file.name, line: 1, column: 1 });
    const entry = own.entries.get("extends");
    if (entry === undefined) return own;
    const id = `${service.file.name}: ${service.name}`;
    const known = this.#resolved.get(id);
    if (known !== undefined) return known;
    const entries = new Map(own.entries);
    entries.delete("extends");
    const rest: MapTree = { ...own, entries };
    const base = this.#base(entry, { service, chain: [...chain, id] });
    const type = { kind: "section", section: "service" } as const;
    const result = base === undefined ? rest : mergeTrees(base, rest, type, this.#context.budget);
    // A result without its base is not what the service is; the problem is reported anyway.
    if (base !== undefined) this.#resolved.set(id, result);
    return result;
  }

  #base(
    entry: MapEntry,
    at: { readonly service: Service; readonly chain: readonly string[] },
  ): Tree | undefined {
    const { diagnostics } = this.#context;
    const only: MapTree = {
      kind: "map",
      entries: new Map([["extends", entry]]),
      position: entry.keyPosition,
    };
    const where = `in service \`${at.service.name}\``;
    const given = new Section(only, { section: "service", where, prefix: "", diagnostics }).short(
      "extends",
    );
    if (given === undefined) return undefined;
    const name = given instanceof Section ? given.text("service") : given.text;
    const path = given instanceof Section ? given.text("file") : undefined;
    if (name === undefined) {
      if (given instanceof Section && !given.has("service")) {
        diagnostics.problem(
          given.position,
          "`extends` has no `service`",
          "name the service to take over",
        );
      }
      return undefined;
    }
    const file = path === undefined ? at.service.file : this.#file(path, given.position);
    if (file === undefined) return undefined;
    if (!file.services.has(name)) {
      const meant = nearest(name, file.services.keys());
      diagnostics.problem(
        given.position,
        `there is no service \`${shortened(name)}\` in ${file.name} to extend`,
        meant === undefined ? undefined : `did you mean \`${meant}\`?`,
      );
      return undefined;
    }
    const id = `${file.name}: ${name}`;
    if (at.chain.includes(id) || at.chain.length >= maxChain) {
      const what = at.chain.includes(id)
        ? "services extend each other in a circle"
        : `more than ${maxChain} services extend each other`;
      const shown = [...at.chain.slice(-4), id].join(" -> ");
      diagnostics.problem(given.position, `${what}: ${shown}`);
      return undefined;
    }
    return this.#service({ file, name }, at.chain);
  }

  #file(path: string, position: Position): File | undefined {
    if (this.#files.has(path)) return this.#files.get(path);
    const tree = this.#context.load(path, position);
    const services = tree?.entries.get("services")?.value;
    const file = tree && {
      name: path,
      services: services?.kind === "map" ? services.entries : new Map(),
    };
    this.#files.set(path, file);
    return file;
  }
}

function nothing(position: Position): Tree {
  return { kind: "scalar", type: "null", text: "", position };
}
