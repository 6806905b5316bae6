import { splitPort } from "./compile-ports.ts";
import type { Diagnostics } from "./diagnostics.ts";
import { type Placed, Section } from "./section.ts";
import type { IngressRule, Position } from "./service-spec.ts";
import { shortened } from "./tree.ts";

const maxPathLength = 1_024;
const hostName =
  /^(?:\*\.)?(?!.{254})[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*$/;

export type PlacedRule = { readonly rule: IngressRule; readonly position: Position };

/** The `x-ingress` and `x-ports` of a service; `ports` are those it has otherwise. */
export function compileIngress(
  service: Section,
  options: { readonly ports: readonly number[]; readonly diagnostics: Diagnostics },
): readonly PlacedRule[] {
  const drafts: (Draft | undefined)[] = [];
  for (const item of service.items("x-ingress")) {
    drafts.push(item instanceof Section ? longRule(item, options.diagnostics) : shortRule(item));
  }
  for (const item of service.items("x-ports")) {
    // Those with `@host` are ports and no routes.
    if (!(item instanceof Section) && !item.text.endsWith("@host"))
      drafts.push(unclouded(item, options.diagnostics));
  }
  return drafts.flatMap((draft) => {
    const rule = draft === undefined ? undefined : finish(draft, options);
    return rule === undefined ? [] : [rule];
  });
}

type Draft = {
  readonly host: string;
  readonly path: string;
  readonly port: number | undefined;
  readonly position: Position;
};

/** `HOST[/PATH][:PORT]`. */
function shortRule({ text, position }: Placed): Draft {
  const { before, port } = splitPort(text);
  const slash = before.indexOf("/");
  return {
    host: slash < 0 ? before : before.slice(0, slash),
    path: slash < 0 ? "/" : before.slice(slash),
    port,
    position,
  };
}

function longRule(item: Section, diagnostics: Diagnostics): Draft | undefined {
  const host = item.text("host");
  const path = item.text("path") ?? "/";
  const port = item.integer("port");
  if (!item.has("host")) {
    diagnostics.problem(item.position, "the ingress rule has no `host`", "name the host to route");
  }
  const isPortWrong = item.has("port") && port === undefined;
  if (host === undefined || isPortWrong) return undefined;
  return { host, path, port, position: item.position };
}

/** uncloud's `HOST:PORT/http`. */
function unclouded(item: Placed, diagnostics: Diagnostics): Draft | undefined {
  const match = /^([^:/@]+):(\d+)\/(\w+)$/.exec(item.text);
  if (match?.[3] === "http")
    return shortRule({ ...item, text: item.text.slice(0, -"/http".length) });
  diagnostics.problem(
    item.position,
    `\`x-ports: ${shortened(item.text)}\` is not supported yet`,
    match?.[3] === "https"
      ? "HTTPS is not served; write `/http`, or use `x-ingress`"
      : "write `HOST:PORT/http`, or use `ports` and `x-ingress`",
  );
  return undefined;
}

function finish(
  draft: Draft,
  options: { readonly ports: readonly number[]; readonly diagnostics: Diagnostics },
): PlacedRule | undefined {
  const { path, position } = draft;
  const { diagnostics } = options;
  const host = draft.host.toLowerCase();
  if (!hostName.test(host)) {
    const what = `\`${shortened(draft.host)}\` is not a host name`;
    diagnostics.problem(position, what, "write a name such as `shop.example.com:8080`");
    return undefined;
  }
  if (!/^\/[\x21-\x7e]*$/.test(path) || /[?#]/.test(path) || path.length > maxPathLength) {
    const what = `\`${shortened(path)}\` is not a path`;
    diagnostics.problem(position, what, "a path starts with `/` and has no spaces, `?` or `#`");
    return undefined;
  }
  const ports = [...new Set(options.ports)];
  const port = draft.port ?? (ports.length === 1 ? ports[0] : undefined);
  if (port === undefined) {
    const count = ports.length === 0 ? "no port" : `${ports.length} ports`;
    diagnostics.problem(
      position,
      `the ingress rule for \`${host}\` names no port, and the service has ${count}`,
      `write \`${host}${path === "/" ? "" : path}:PORT\``,
    );
    return undefined;
  }
  return { rule: { host, path, port }, position };
}
