import type { Diagnostics } from "./diagnostics.ts";
import { readEnvFile } from "./env-file.ts";
import { Section } from "./section.ts";
import type { Position } from "./service-spec.ts";
import { shortened } from "./tree.ts";

export type EnvironmentContext = {
  readonly environment: Readonly<Record<string, string>>;
  readonly readFile: ((path: string) => string | undefined) | undefined;
  readonly diagnostics: Diagnostics;
};

/** The environment of the container: `env_file`, then `environment` over it. */
export function compileEnvironment(
  service: Section,
  context: EnvironmentContext,
): Readonly<Record<string, string>> {
  const values = new Map<string, string>();
  for (const item of service.items("env_file")) {
    const path = item instanceof Section ? item.text("path") : item.text;
    const isRequired = item instanceof Section ? (item.boolean("required") ?? true) : true;
    const isRaw = item instanceof Section && item.choice("format", ["raw"]) === "raw";
    if (item instanceof Section && !item.has("path")) {
      context.diagnostics.problem(item.position, "the entry of `env_file` has no `path`");
    }
    if (path === undefined) continue;
    const found = readOne({ path, isRequired, isRaw, position: item.position }, context);
    for (const [key, value] of found) values.set(key, value);
  }
  for (const [key, { text, position }] of service.pairs("environment")) {
    const inherited = Object.hasOwn(context.environment, key)
      ? context.environment[key]
      : undefined;
    const value = text ?? inherited;
    if (key === "" || key.includes("=")) {
      const what = `\`${shortened(key)}\` is not a variable that a process can have`;
      context.diagnostics.problem(position, what);
    } else if (value === undefined) {
      const what = `the variable \`${key}\` is not set where the file is read, so the container does not get it`;
      context.diagnostics.ignored(position, what);
      values.delete(key);
    } else {
      values.set(key, value);
    }
  }
  return toRecord(values);
}

/** The labels in the files that `label_file` names; later ones win. */
export function compileLabelFiles(
  service: Section,
  context: EnvironmentContext,
): Readonly<Record<string, string>> {
  const labels = new Map<string, string>();
  for (const { text: path, position } of service.texts("label_file")) {
    for (const [key, value] of readOne({ path, isRequired: true, position }, context)) {
      if (key.startsWith("skein.")) {
        const what = `the label \`${shortened(key)}\` in ${shortened(path)} is taken`;
        context.diagnostics.problem(
          position,
          what,
          "labels that start with `skein.` are Skein's own",
        );
      } else labels.set(key, value);
    }
  }
  return toRecord(labels);
}

/** The labels behind a key; those that Skein uses itself are refused. */
export function compileLabels(
  section: Section | undefined,
  diagnostics: Diagnostics,
): Readonly<Record<string, string>> {
  const labels = new Map<string, string>();
  for (const [key, { text, position }] of section?.pairs("labels") ?? []) {
    if (key === "" || key.startsWith("skein.")) {
      const what = key === "" ? "a label needs a name" : `the label \`${shortened(key)}\` is taken`;
      diagnostics.problem(position, what, "labels that start with `skein.` are Skein's own");
    } else labels.set(key, text ?? "");
  }
  return toRecord(labels);
}

function readOne(
  file: {
    readonly path: string;
    readonly isRequired: boolean;
    readonly isRaw?: boolean;
    readonly position: Position;
  },
  context: EnvironmentContext,
): ReadonlyMap<string, string> {
  const { diagnostics, readFile, environment } = context;
  const shown = shortened(file.path);
  if (readFile === undefined) {
    const hint = "files can only be read by the command line; use `environment`";
    diagnostics.problem(file.position, `\`${shown}\` cannot be read here`, hint);
    return new Map();
  }
  const text = readFile(file.path);
  if (text !== undefined) {
    const { isRaw = false } = file;
    return readEnvFile({ name: file.path, text }, { environment, diagnostics, isRaw });
  }
  if (file.isRequired) {
    const hint = "add the file, or write `{path: …, required: false}`";
    diagnostics.problem(file.position, `the file \`${shown}\` does not exist`, hint);
  }
  return new Map();
}

/** Sorted, and safe for keys such as `__proto__`. */
function toRecord(values: ReadonlyMap<string, string>): Readonly<Record<string, string>> {
  return Object.fromEntries([...values].sort(([left], [right]) => (left < right ? -1 : 1)));
}
