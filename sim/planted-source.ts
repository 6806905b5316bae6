import { registerHooks } from "node:module";
import { fileURLToPath } from "node:url";

/** A mistake, put in on purpose: one text of a production file replaced by another. */
export type SourceEdit = {
  /** Below `src/`. */
  readonly file: string;
  readonly find: string;
  readonly replace: string;
};

const marker = "planted";

type Planted = { readonly edit: SourceEdit; readonly reloaded: RegExp; isPlanted: boolean };

const planted = new Map<string, Planted>();
let hasHooks = false;

/**
 * Loads a module again, with everything that it imports and that matches `reloaded`, as if `edit`
 * stood in the source. Production code needs no switch for a mistake that way.
 * @throws when the text is not there exactly once, or its file is not loaded at all: the mistake
 * would not be the one that is meant.
 */
export async function importWithEdit(
  url: URL,
  edit: SourceEdit,
  reloaded: RegExp,
): Promise<unknown> {
  if (!hasHooks) registerHooks({ resolve: resolveMarked, load: loadEdited });
  hasHooks = true;
  const name = String(planted.size);
  const mistake: Planted = { edit, reloaded, isPlanted: false };
  planted.set(name, mistake);
  const marked = new URL(url);
  marked.searchParams.set(marker, name);
  const module: unknown = await import(marked.href);
  if (!mistake.isPlanted) throw new Error(`${url.pathname} does not load src/${edit.file}`);
  return module;
}

/** The worlds of a simulation with a planted bug, each loaded once. */
export class BrokenWorlds<World> {
  readonly #options: BrokenWorldsOptions;
  readonly #worlds = new Map<string, World>();

  constructor(options: BrokenWorldsOptions) {
    this.#options = options;
  }

  async load(bug: string): Promise<World> {
    const known = this.#worlds.get(bug);
    if (known !== undefined) return known;
    const { url, bugs, reloaded } = this.#options;
    const edit = bugs.find(({ name }) => name === bug);
    if (edit === undefined) throw new Error(`there is no ${bug}`);
    const world = (await importWithEdit(url, edit, reloaded)) as World;
    this.#worlds.set(bug, world);
    return world;
  }
}

type BrokenWorldsOptions = {
  readonly url: URL;
  readonly bugs: readonly (SourceEdit & { readonly name: string })[];
  readonly reloaded: RegExp;
};

/** What a marked module imports is marked as well. */
const resolveMarked: Parameters<typeof registerHooks>[0]["resolve"] = (
  specifier,
  context,
  next,
) => {
  const resolved = next(specifier, context);
  const { parentURL } = context;
  const name = parentURL === undefined ? null : new URL(parentURL).searchParams.get(marker);
  if (name === null || planted.get(name)?.reloaded.test(resolved.url) !== true) return resolved;
  const marked = new URL(resolved.url);
  marked.searchParams.set(marker, name);
  return { ...resolved, url: marked.href };
};

const loadEdited: Parameters<typeof registerHooks>[0]["load"] = (url, context, next) => {
  const loaded = next(url, context);
  const { pathname, searchParams } = new URL(url);
  const mistake = planted.get(searchParams.get(marker) ?? "");
  if (mistake === undefined || !pathname.endsWith(`/src/${mistake.edit.file}`)) return loaded;
  const { edit } = mistake;
  const source = String(loaded.source);
  const parts = source.split(edit.find);
  if (parts.length !== 2) {
    throw new Error(
      `${fileURLToPath(url)} has ${parts.length - 1} times instead of once: ${edit.find}`,
    );
  }
  mistake.isPlanted = true;
  return { ...loaded, source: parts.join(edit.replace) };
};
