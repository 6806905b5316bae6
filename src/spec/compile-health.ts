import { splitPort } from "./compile-ports.ts";
import type { Diagnostics } from "./diagnostics.ts";
import type { Section } from "./section.ts";
import type { HealthCheckSpec } from "./service-spec.ts";
import { readPort } from "./values.ts";

/** The `healthcheck` or `x-healthcheck` of a service, with the defaults of Docker. */
export function compileHealthCheck(
  service: Section,
  diagnostics: Diagnostics,
): HealthCheckSpec | undefined {
  const inside = service.child("healthcheck");
  const daemon = service.child("x-healthcheck");
  if (inside !== undefined && daemon !== undefined) {
    diagnostics.problem(
      daemon.position,
      "`healthcheck` and `x-healthcheck` cannot both be there",
      "keep the one that tells best whether the service works",
    );
  }
  const timing = (section: Section) => ({
    intervalMs: section.durationMs("interval") ?? 30_000,
    timeoutMs: section.durationMs("timeout") ?? 30_000,
    retries: section.integer("retries") ?? 3,
    startPeriodMs: section.durationMs("start_period") ?? 0,
    startIntervalMs: section.durationMs("start_interval") ?? 5_000,
  });
  if (daemon !== undefined) {
    const rest = { ...timing(daemon), ...kept(daemon.boolean("keep-unhealthy")) };
    const test = daemonTest(daemon, diagnostics);
    return test && { test, ...rest };
  }
  if (inside === undefined) return undefined;
  const rest = { ...timing(inside), ...kept(inside.boolean("x-keep-unhealthy")) };
  const test = insideTest(inside, diagnostics);
  return test && { test, ...rest };
}

function kept(isKept: boolean | undefined): Pick<HealthCheckSpec, "keepUnhealthy"> {
  return isKept === true ? { keepUnhealthy: true } : {};
}

type Test = HealthCheckSpec["test"];

function insideTest(section: Section, diagnostics: Diagnostics): Test | undefined {
  const isDisabled = section.boolean("disable") ?? false;
  const tree = section.tree("test");
  if (tree === undefined) {
    if (!isDisabled) {
      diagnostics.problem(
        section.position,
        "the health check has no `test`",
        "a check that the image brings along is not read; write its command here",
      );
    }
    return undefined;
  }
  if (tree.kind === "scalar" && tree.type === "text" && tree.text !== "") {
    return isDisabled ? undefined : shell(tree.text);
  }
  const words = section.texts("test").map((word) => word.text);
  const [kind, ...argv] = words;
  if (kind === "NONE" || isDisabled) return undefined;
  if (kind === "CMD" && argv.length > 0) return { kind: "command", argv };
  if (kind === "CMD-SHELL" && argv.length === 1) return shell(argv.join(" "));
  diagnostics.problem(
    tree.position,
    "`healthcheck.test` does not say what to run",
    'write a line for the shell, `["CMD", program, argument…]`, `["CMD-SHELL", line]` or `["NONE"]`',
  );
  return undefined;
}

function shell(line: string): Test {
  return { kind: "command", argv: ["/bin/sh", "-c", line] };
}

function daemonTest(section: Section, diagnostics: Diagnostics): Test | undefined {
  const http = section.text("http");
  const tcp = section.text("tcp");
  if (section.has("http") === section.has("tcp")) {
    const what = "`x-healthcheck` needs either `http` or `tcp`";
    diagnostics.problem(section.position, what, 'write for example `http: ":8080/healthz"`');
    return undefined;
  }
  if (tcp !== undefined) {
    const port = readPort(tcp.replace(/^:/, ""));
    if (port === undefined) section.reject("tcp", "a port such as `:5432`");
    return port === undefined ? undefined : { kind: "tcp", port };
  }
  if (http === undefined) return undefined;
  const slash = http.indexOf("/");
  const address = slash < 0 ? http : http.slice(0, slash);
  const path = slash < 0 ? "/" : http.slice(slash);
  const { before, port } = splitPort(address.includes(":") ? address : `:${address}`);
  if (port === undefined || before !== "" || !/^\/[\x21-\x7e]*$/.test(path)) {
    section.reject("http", "a port and a path such as `:8080/healthz`");
    return undefined;
  }
  return { kind: "http", port, path };
}
