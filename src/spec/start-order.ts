export type StartOrder =
  | { readonly kind: "ordered"; readonly items: readonly string[] }
  /** Each comes after the next one, and the last after the first. */
  | { readonly kind: "circle"; readonly items: readonly string[] };

/** Puts `items` in their own order, save that each comes after what has to be `before` it. */
export function startOrder(
  items: readonly string[],
  before: (item: string) => readonly string[],
): StartOrder {
  const known = new Set(items);
  const ordered = new Set<string>();
  const path = new Set<string>();
  /** Returns the circle that the item is in, if any. */
  const visit = (item: string): readonly string[] | undefined => {
    if (ordered.has(item) || !known.has(item)) return undefined;
    if (path.has(item)) {
      const all = [...path];
      return all.slice(all.indexOf(item));
    }
    path.add(item);
    for (const each of before(item)) {
      const circle = visit(each);
      if (circle !== undefined) return circle;
    }
    path.delete(item);
    ordered.add(item);
    return undefined;
  };
  for (const item of items) {
    const circle = visit(item);
    if (circle !== undefined) return { kind: "circle", items: circle };
  }
  return { kind: "ordered", items: [...ordered] };
}
