type Rule<T> = { readonly path: string; readonly value: T };

/**
 * Finds what a host and path lead to: an exact host before a wildcard of one label, and
 * within a host the longest path prefix, by whole segments.
 */
export class HostRouter<T> {
  readonly #rules = new Map<string, Rule<T>[]>();

  constructor(
    routes: readonly { readonly host: string; readonly path: string; readonly value: T }[],
  ) {
    for (const { host, path, value } of routes) {
      const rules = this.#rules.get(host);
      if (rules === undefined) this.#rules.set(host, [{ path, value }]);
      else rules.push({ path, value });
    }
    for (const rules of this.#rules.values()) rules.sort((a, b) => b.path.length - a.path.length);
  }

  /** `host` is a Host field, with or without a port; `target` a request target. */
  find(host: string, target: string): T | undefined {
    const name = hostName(host);
    const path = pathOf(target);
    const exact = longest(this.#rules.get(name), path);
    if (exact !== undefined) return exact;
    const dot = name.indexOf(".");
    return dot > 0 ? longest(this.#rules.get(`*${name.slice(dot)}`), path) : undefined;
  }
}

function longest<T>(rules: readonly Rule<T>[] | undefined, path: string): T | undefined {
  return rules?.find((rule) => isPrefix(rule.path, path))?.value;
}

function isPrefix(prefix: string, path: string): boolean {
  if (!path.startsWith(prefix)) return false;
  return prefix.endsWith("/") || path.length === prefix.length || path[prefix.length] === "/";
}

/** Lower-case, without port and without the root's dot. */
export function hostName(host: string): string {
  const lower = host.toLowerCase();
  const colon = lower.startsWith("[") ? lower.indexOf("]:") + 1 : lower.indexOf(":");
  const name = colon > 0 ? lower.slice(0, colon) : lower;
  return name.endsWith(".") ? name.slice(0, -1) : name;
}

function pathOf(target: string): string {
  const query = target.indexOf("?");
  return query < 0 ? target : target.slice(0, query);
}
