import {
  formatProblem,
  type ParseManifestOptions,
  parseManifest,
  type ServiceSpec,
} from "../../src/spec/index.ts";

type Overrides = Partial<ParseManifestOptions>;

/** The problems of one file `c.yaml`, a line each; empty when it is valid. */
export function problemsOf(text: string, overrides: Overrides = {}): readonly string[] {
  const files = [{ name: "c.yaml", text }];
  const parsed = parseManifest({ files, environment: {}, ...overrides });
  return parsed.kind === "valid" ? [] : parsed.problems.map(formatProblem);
}

/** The manifest of a file that must be valid. */
export function valid(text: string, overrides: Overrides = {}) {
  const files = [{ name: "c.yaml", text }];
  const parsed = parseManifest({ files, environment: {}, ...overrides });
  if (parsed.kind === "valid") {
    return { ...parsed.manifest, ignored: parsed.ignored.map(formatProblem) };
  }
  throw new Error(parsed.problems.map(formatProblem).join("\n"));
}

/** The service `web` of a file whose lines under `web:` are given. */
export function web(lines: string, overrides: Overrides = {}): ServiceSpec {
  const service = valid(webFile(lines), overrides).services.find(({ name }) => name === "web");
  if (service === undefined) throw new Error("The service `web` is missing.");
  return service;
}

/** A file with the one service `web`; its lines start in line 4, column 5. */
export function webFile(lines: string): string {
  const indented = lines
    .trim()
    .split("\n")
    .map((line) => `    ${line}`);
  return ["services:", "  web:", "    image: web:1", ...indented, ""].join("\n");
}
