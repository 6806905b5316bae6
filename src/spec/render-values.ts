import type { Json } from "./service-spec.ts";

/** In the largest unit that needs no fraction. */
export function duration(ms: number): string {
  return ms % 1_000 === 0 ? `${ms / 1_000}s` : `${ms}ms`;
}

/** In the largest unit that needs no fraction. */
export function bytes(count: number): string {
  for (const [unit, size] of [
    ["G", 2 ** 30],
    ["M", 2 ** 20],
    ["K", 2 ** 10],
  ] as const) {
    if (count % size === 0) return `${count / size}${unit}`;
  }
  return `${count}b`;
}

/** Nothing for what is the default. */
export function unless<Value extends Json>(
  value: Value,
  usual: Value,
  show: (value: Value) => Json = (each) => each,
): Json | undefined {
  return value === usual ? undefined : show(value);
}

/** Without what is not set, and without lists and maps of nothing (but an empty command counts). */
export function present(keys: Readonly<Record<string, unknown>>): Record<string, Json> {
  const kept = Object.entries(keys).filter(([key, value]) => {
    if (value === undefined) return false;
    if (key === "command" || key === "entrypoint") return true;
    return typeof value !== "object" || value === null || Object.keys(value).length > 0;
  });
  return Object.fromEntries(kept) as Record<string, Json>;
}
