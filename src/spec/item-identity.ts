import type { ValueType } from "./key-rule.ts";
import type { Tree } from "./tree.ts";

/**
 * What makes two items of two lists the same one: a port by its numbers and protocol, a
 * mount or device by where it appears in the container, anything else by its whole text.
 */
export function itemIdentity(item: Tree, type: ValueType): string {
  const identity = type.kind === "items" ? type.identity : undefined;
  if (item.kind === "scalar") {
    if (identity === "port") return portText(item.text);
    return identity === "target" ? targetOf(item.text) : item.text;
  }
  const field = (name: string): string => {
    const value = item.kind === "map" ? item.entries.get(name)?.value : undefined;
    return value?.kind === "scalar" ? value.text : "";
  };
  if (identity === "port") {
    const published = [field("host_ip"), field("published")].filter(Boolean).join(":");
    return `${published}>${field("target")}/${field("protocol") || "tcp"}`;
  }
  if (identity === "target") return trimmed(field("target"));
  const path = field("path");
  return path === "" ? JSON.stringify(plainOf(item)) : path;
}

/** `[IP:][PUBLISHED:]TARGET[/PROTOCOL]` */
function portText(text: string): string {
  const [addresses = "", protocol = "tcp"] = text.split("/");
  const colon = addresses.lastIndexOf(":");
  return `${addresses.slice(0, Math.max(0, colon))}>${addresses.slice(colon + 1)}/${protocol}`;
}

/** `[SOURCE:]TARGET[:OPTIONS]` */
function targetOf(text: string): string {
  const [first = "", second] = text.split(":");
  return trimmed(second?.startsWith("/") ? second : first);
}

function trimmed(path: string): string {
  return path.replace(/(?<=.)\/+$/, "");
}

/** The value without its places, for comparing. */
export function plainOf(tree: Tree): unknown {
  switch (tree.kind) {
    case "scalar":
      return tree.type === "null" ? null : tree.text;
    case "list":
      return tree.items.map(plainOf);
    case "map":
      return [...tree.entries]
        .map(([key, { value }]) => [key, plainOf(value)] as const)
        .sort(([left], [right]) => (left < right ? -1 : 1));
  }
}
