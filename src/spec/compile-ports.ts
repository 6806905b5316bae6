import type { Diagnostics } from "./diagnostics.ts";
import { type Placed, Section } from "./section.ts";
import { appProtocols, portModes, protocols } from "./service-keys.ts";
import type { PortSpec, Position } from "./service-spec.ts";
import { shortened } from "./tree.ts";
import { readPort, readPortRange } from "./values.ts";

/** Ranges could otherwise ask for all 65535 ports, each of them a listener on every node. */
const maxPorts = 1_000;

export type PlacedPort = { readonly port: PortSpec; readonly position: Position };

type Range = { readonly first: number; readonly last: number };

/** The `ports` of a service, ranges taken apart. */
export function compilePorts(service: Section, diagnostics: Diagnostics): readonly PlacedPort[] {
  const ports = new Map<string, PlacedPort>();
  for (const item of service.items("ports")) {
    if (ports.size > maxPorts) break;
    const compiled =
      item instanceof Section ? longPort(item, diagnostics) : shortPort(item, diagnostics);
    for (const port of compiled) {
      const { target, published, protocol, mode } = port;
      // The same port named in two files is one port; the later words on it count.
      ports.set([published, target, protocol, mode].join("/"), { port, position: item.position });
    }
  }
  if (ports.size > maxPorts) {
    const position = service.positionOf("ports");
    diagnostics.problem(position, `\`ports\` names more than ${maxPorts} ports`);
    return [];
  }
  for (const item of service.items("x-ports")) {
    if (item instanceof Section || !item.text.endsWith("@host")) continue;
    const plain = { ...item, text: item.text.slice(0, -"@host".length) };
    for (const port of shortPort(plain, diagnostics)) {
      const { target, published, protocol } = port;
      const placed: PlacedPort = { port: { ...port, mode: "host" }, position: item.position };
      ports.set([published, target, protocol, "host"].join("/"), placed);
    }
  }
  return [...ports.values()].sort(
    ({ port: left }, { port: right }) =>
      left.target - right.target ||
      (left.published ?? 0) - (right.published ?? 0) ||
      (left.protocol < right.protocol ? -1 : 1),
  );
}

/** `[PUBLISHED:]TARGET[/PROTOCOL]`. */
function shortPort(item: Placed, diagnostics: Diagnostics): readonly PortSpec[] {
  const { text, position } = item;
  const [addresses = "", protocolWord = "tcp", ...rest] = text.split("/");
  const protocol = protocols.find((word) => word === protocolWord);
  if (protocol === undefined || rest.length > 0) {
    const what = `\`${shortened(text)}\` has no valid protocol`;
    diagnostics.problem(position, what, "after the `/` stands `tcp` or `udp`");
    return [];
  }
  const target = addresses.slice(addresses.lastIndexOf(":") + 1);
  const before = addresses.slice(0, Math.max(0, addresses.length - target.length - 1));
  if (before.includes(":") || before.includes(".")) {
    diagnostics.problem(
      position,
      `\`${shortened(text)}\` binds to one address, which is not supported yet`,
      "leave the address out; a port answers on all addresses of a node",
    );
    return [];
  }
  const targets = readPortRange(target);
  const published = before === "" || before === "0" ? undefined : readPortRange(before);
  if (targets === undefined || (published === undefined && before !== "" && before !== "0")) {
    diagnostics.problem(
      position,
      `\`${shortened(text)}\` is not a port`,
      "write `PUBLISHED:TARGET` or `TARGET`, with numbers from 1 to 65535",
    );
    return [];
  }
  const mode = published === undefined ? "host" : "ingress";
  return pairUp({ targets, published, protocol, mode, appProtocol: "auto" }, item, diagnostics);
}

function longPort(item: Section, diagnostics: Diagnostics): readonly PortSpec[] {
  const target = item.integer("target");
  const publishedText = item.text("published");
  const protocol = item.choice("protocol", protocols) ?? "tcp";
  const appProtocol = item.choice("app_protocol", appProtocols) ?? "auto";
  const givenMode = item.choice("mode", portModes);
  if (!item.has("target")) {
    diagnostics.problem(item.position, "the port has no `target`", "name the container's port");
  }
  if (target === undefined) return [];
  const isDynamic = publishedText === undefined || publishedText === "0";
  const published = isDynamic ? undefined : readPortRange(publishedText);
  if (!isDynamic && published === undefined) {
    item.reject("published", "a port from 1 to 65535, or 0 for a free one");
    return [];
  }
  if (item.has("published") && publishedText === undefined) return [];
  if (isDynamic && givenMode === "ingress") {
    diagnostics.problem(
      item.positionOf("mode"),
      "a port in mode `ingress` needs `published`",
      "name the port that every node answers on, or write `mode: host` for a free port",
    );
    return [];
  }
  const mode = givenMode ?? (isDynamic ? "host" : "ingress");
  const targets = { first: target, last: target };
  return pairUp({ targets, published, protocol, mode, appProtocol }, item, diagnostics);
}

function pairUp(
  ports: Pick<PortSpec, "protocol" | "mode" | "appProtocol"> & {
    readonly targets: Range;
    readonly published: Range | undefined;
  },
  at: { readonly position: Position },
  diagnostics: Diagnostics,
): readonly PortSpec[] {
  const { targets, published, ...rest } = ports;
  const count = targets.last - targets.first + 1;
  if (count > maxPorts) {
    const what = `the range ${targets.first}-${targets.last} names ${count} ports; at most ${maxPorts} are allowed`;
    diagnostics.problem(at.position, what);
    return [];
  }
  if (published !== undefined && published.last - published.first + 1 !== count) {
    diagnostics.problem(
      at.position,
      `the range ${published.first}-${published.last} is not as long as that of the container's ports`,
      "both sides of a port range must be equally long",
    );
    return [];
  }
  return Array.from({ length: count }, (_, index) => ({
    target: targets.first + index,
    ...(published !== undefined && { published: published.first + index }),
    ...rest,
  }));
}

/** The ports of `expose`. */
export function compileExpose(service: Section, diagnostics: Diagnostics): readonly number[] {
  return service.texts("expose").flatMap(({ text, position }) => {
    const range = readPortRange(text.replace(/\/(?:tcp|udp)$/, ""));
    if (range === undefined) {
      const hint = "write a port such as `8080`, or a range such as `8080-8090`";
      diagnostics.problem(position, `\`${shortened(text)}\` is not a port`, hint);
      return [];
    }
    if (range.last - range.first >= maxPorts) {
      diagnostics.problem(position, `\`${text}\` names more than ${maxPorts} ports`);
      return [];
    }
    const length = range.last - range.first + 1;
    return Array.from({ length }, (_, index) => range.first + index);
  });
}

/** A port behind the last colon: `:8080`, `host:8080`. */
export function splitPort(text: string): { readonly before: string; readonly port?: number } {
  const colon = text.lastIndexOf(":");
  const port = colon < 0 ? undefined : readPort(text.slice(colon + 1));
  return port === undefined ? { before: text } : { before: text.slice(0, colon), port };
}
