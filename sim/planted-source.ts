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
/** These folders are loaded anew for each edit; others have no part in it. */
const reloaded = /\/(src|sim)\/gossip\//;

const edits = new Map<string, SourceEdit>();
let hasHooks = false;

/**
 * Loads a module again, with everything of its folders that it imports, as if `edit` stood in the
 * source. Production code needs no switch for a mistake that way.
 * @throws when the text is not there exactly once: the mistake would not be the one that is meant.
 */
export async function importWithEdit(url: URL, edit: SourceEdit): Promise<unknown> {
  if (!hasHooks) registerHooks({ resolve: resolveMarked, load: loadEdited });
  hasHooks = true;
  const name = String(edits.size);
  edits.set(name, edit);
  const marked = new URL(url);
  marked.searchParams.set(marker, name);
  return await import(marked.href);
}

/** What a marked module imports is marked as well. */
const resolveMarked: Parameters<typeof registerHooks>[0]["resolve"] = (
  specifier,
  context,
  next,
) => {
  const resolved = next(specifier, context);
  const { parentURL } = context;
  const name = parentURL === undefined ? null : new URL(parentURL).searchParams.get(marker);
  if (name === null || !reloaded.test(resolved.url)) return resolved;
  const marked = new URL(resolved.url);
  marked.searchParams.set(marker, name);
  return { ...resolved, url: marked.href };
};

const loadEdited: Parameters<typeof registerHooks>[0]["load"] = (url, context, next) => {
  const loaded = next(url, context);
  const { pathname, searchParams } = new URL(url);
  const edit = edits.get(searchParams.get(marker) ?? "");
  if (edit === undefined || !pathname.endsWith(`/src/${edit.file}`)) return loaded;
  const source = String(loaded.source);
  const parts = source.split(edit.find);
  if (parts.length !== 2) {
    throw new Error(
      `${fileURLToPath(url)} has ${parts.length - 1} times instead of once: ${edit.find}`,
    );
  }
  return { ...loaded, source: parts.join(edit.replace) };
};
