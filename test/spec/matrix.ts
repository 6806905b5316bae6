import { readFileSync } from "node:fs";
import {
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseDocument,
  type YAMLMap,
} from "yaml";

/**
 * What the published reference page says about the keys of a file, read from the page alone:
 * a second opinion beside the parser's.
 */

const page = new URL("../../docs/reference/manifest.md", import.meta.url);

/** The chapter of the page behind each place in a manifest; `*` is any name, `[]` an item. */
const chapters: Readonly<Record<string, string>> = {
  "": "Top level",
  "include[]": "Entries of `include`",
  "services.*": "Services: `services.NAME`",
  "services.*.extends": "`extends`",
  "services.*.env_file[]": "Entries of `env_file`",
  "services.*.depends_on.*": "Entries of `depends_on`",
  "services.*.ports[]": "Entries of `ports`",
  "services.*.volumes[]": "Entries of `volumes` of a service",
  "services.*.volumes[].bind": "`bind` of a mount",
  "services.*.volumes[].volume": "`volume` of a mount",
  "services.*.volumes[].tmpfs": "`tmpfs` of a mount",
  "services.*.devices[]": "Entries of `devices`",
  "services.*.ulimits.*": "Entries of `ulimits`",
  "services.*.logging": "`logging`",
  "services.*.blkio_config": "`blkio_config`",
  "services.*.x-ingress[]": "Entries of `x-ingress`",
  "services.*.healthcheck": "`healthcheck`",
  "services.*.x-healthcheck": "`x-healthcheck`",
  "services.*.deploy": "`deploy`",
  "services.*.deploy.update_config": "`deploy.update_config`",
  "services.*.deploy.rollback_config": "`deploy.rollback_config`",
  "services.*.deploy.restart_policy": "`deploy.restart_policy`",
  "services.*.deploy.resources": "`deploy.resources`",
  "services.*.deploy.resources.limits": "`deploy.resources.limits`",
  "services.*.deploy.resources.reservations": "`deploy.resources.reservations`",
  "services.*.deploy.placement": "`deploy.placement`",
  "volumes.*": "Volumes: `volumes.NAME`",
  "configs.*": "Configs: `configs.NAME` (read, but refused until they are delivered)",
  "secrets.*": "Secrets: `secrets.NAME` (read, but refused until they are delivered)",
};

type Verdict = "used" | "ignored" | "refused";

function readChapters(): ReadonlyMap<string, ReadonlyMap<string, Verdict>> {
  const found = new Map<string, ReadonlyMap<string, Verdict>>();
  for (const chapter of readFileSync(page, "utf8").split(/^## /m).slice(1)) {
    const keys = new Map<string, Verdict>();
    let list: Verdict = "used";
    for (const line of chapter.split("\n")) {
      if (line.startsWith("Accepted without effect")) list = "ignored";
      if (line.startsWith("Not supported yet")) list = "refused";
      const row = /^\| `([^`]+)` \|/.exec(line)?.[1];
      const item = /^- `([^`]+)`: /.exec(line)?.[1];
      if (row !== undefined) keys.set(row, "used");
      if (item !== undefined) keys.set(item, list);
    }
    found.set(chapter.slice(0, chapter.indexOf("\n")), keys);
  }
  return found;
}

const published = readChapters();

export type RefusedKey = { readonly key: string; readonly place: string };

/** The keys of a file that the page refuses or does not know, with `LINE:COLUMN`. */
export function refusedByMatrix(text: string): readonly RefusedKey[] {
  const lines = new LineCounter();
  const document = parseDocument(text, {
    lineCounter: lines,
    uniqueKeys: false,
    logLevel: "error",
  });
  const refused = new Map<string, RefusedKey>();
  const visit = (given: unknown, path: string): void => {
    const node = isAlias(given) ? given.resolve(document) : given;
    // An anchor may stand for what it is in.
    if (path.length > 200) return;
    const keys = published.get(chapters[path] ?? "");
    if (isSeq(node)) for (const item of node.items) visit(item, `${path}[]`);
    if (!isMap(node)) return;
    const isLeftOut = path === "services.*" && node.has("profiles");
    for (const { key, value } of pairsOf(node)) {
      const name = String(key.value ?? "");
      const isOpen = keys === undefined;
      const verdict = keys?.get(name) ?? (name.startsWith("x-") ? "used" : "refused");
      if (!isOpen && verdict === "refused" && !isLeftOut) {
        const { line, col } = lines.linePos(key.range?.[0] ?? 0);
        refused.set(`${line}:${col}`, { key: name, place: `${line}:${col}` });
      }
      if (isOpen || verdict === "used") visit(value, childPath(path, name, isOpen));
    }
  };
  const seen = new Set<Node>();
  const pairsOf = (
    map: YAMLMap,
  ): {
    readonly key: { readonly value: unknown; readonly range?: readonly number[] | null };
    readonly value: unknown;
  }[] => {
    if (seen.has(map)) return [];
    seen.add(map);
    const own: ReturnType<typeof pairsOf> = [];
    const names = new Set<unknown>();
    const merged: unknown[] = [];
    for (const { key, value } of map.items) {
      if (!isScalar(key)) continue;
      if (key.value === "<<") merged.push(value);
      else {
        names.add(key.value);
        own.push({ key, value });
      }
    }
    for (const each of merged.flatMap((value) => (isSeq(value) ? value.items : [value]))) {
      const node = isAlias(each) ? each.resolve(document) : each;
      if (isMap(node)) own.push(...pairsOf(node).filter(({ key }) => !names.has(key.value)));
    }
    seen.delete(map);
    return own;
  };
  visit(document.contents, "");
  return [...refused.values()];
}

const namedPlaces = [
  "services",
  "volumes",
  "configs",
  "secrets",
  "services.*.ulimits",
  "services.*.depends_on",
];

function childPath(path: string, name: string, isOpen: boolean): string {
  if (isOpen && namedPlaces.includes(path)) return `${path}.*`;
  return path === "" ? name : `${path}.${name}`;
}
