import { closeSync, existsSync, openSync, readSync } from "node:fs";
import { basename, dirname, relative, resolve } from "node:path";
import { messageOf } from "../kernel/index.ts";
import {
  formatProblem,
  type Manifest,
  maxFileLength,
  type ParseManifestOptions,
  parseManifest,
  readDotEnvFile,
} from "../spec/index.ts";
import { CliError } from "./cli-error.ts";
import type { Session } from "./session.ts";

const defaultFiles = ["compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml"];

export type ManifestFlags = {
  readonly file?: readonly string[];
  readonly envFile?: readonly string[];
  readonly profile?: readonly string[];
  readonly allowIgnored?: boolean;
};

/** Reads and checks the Compose files that `-f` names, or the one that lies here. */
export function readManifest(
  session: Session,
  flags: ManifestFlags,
  // Standard input can be read once only, so who needs the files again hands them in.
  options: ParseManifestOptions = manifestOptions(session, flags),
): Manifest {
  const parsed = parseManifest(options);
  if (parsed.kind === "invalid") {
    throw new CliError("usage", parsed.problems.map(formatProblem).join("\n"));
  }
  for (const ignored of parsed.ignored) session.note(`ignored: ${formatProblem(ignored)}\n`);
  return parsed.manifest;
}

/** The files with all that they may name: variables, profiles, further files. */
export function manifestOptions(session: Session, flags: ManifestFlags): ParseManifestOptions {
  const { workingDirectory, environment, namespace } = session;
  const names = flags.file ?? defaultFile(workingDirectory);
  const files = names.map((name) => ({
    name,
    text: readText(name === "-" ? 0 : resolve(workingDirectory, name), name),
  }));
  const first = names[0] ?? "";
  const directory = dirname(resolve(workingDirectory, first === "-" ? "x" : first));
  const variables = definedOnly(environment);
  const projectName = namespace ?? variables["COMPOSE_PROJECT_NAME"];
  const profiles = flags.profile ?? variables["COMPOSE_PROFILES"]?.split(",").filter(Boolean) ?? [];
  return {
    files,
    environment: {
      ...readDotEnv(directory, flags.envFile, { workingDirectory, variables }),
      ...variables,
    },
    directory: basename(directory),
    profiles,
    ...(projectName === undefined ? {} : { projectName }),
    ...(flags.allowIgnored === undefined ? {} : { allowIgnored: flags.allowIgnored }),
    readFile: (path) => {
      const file = resolve(directory, path);
      return existsSync(file) ? readText(file, path) : undefined;
    },
  };
}

/** The file that lies here, and the one beside it that overrides it. */
function defaultFile(directory: string): readonly string[] {
  const found = defaultFiles.find((name) => existsSync(resolve(directory, name)));
  if (found === undefined) {
    throw new CliError(
      "usage",
      `There is no ${defaultFiles[0]} in ${directory}. Name the file with: -f FILE`,
    );
  }
  const override = found.replace(/\.(ya?ml)$/, ".override.$1");
  return existsSync(resolve(directory, override)) ? [found, override] : [found];
}

/** Text of a file that people write: bounded, and UTF-8. */
function readText(file: string | number, name: string): string {
  let bytes: Buffer;
  try {
    bytes = readBounded(file, maxFileLength + 1);
  } catch (error) {
    throw new CliError("usage", `Cannot read ${name}: ${messageOf(error)}`, {
      cause: error,
    });
  }
  if (bytes.length > maxFileLength) {
    throw new CliError("usage", `${name}:1:1: the file is larger than 1 MiB`);
  }
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new CliError(
      "usage",
      `${name}:${placeOfBadByte(bytes)}: this is not UTF-8; save the file as UTF-8`,
    );
  }
}

/** At most `limit` bytes, also of what has no end. */
function readBounded(file: string | number, limit: number): Buffer {
  const descriptor = typeof file === "number" ? file : openSync(file, "r");
  try {
    const bytes = Buffer.alloc(limit);
    let length = 0;
    while (length < limit) {
      const count = readSync(descriptor, bytes, length, limit - length, null);
      if (count === 0) break;
      length += count;
    }
    return bytes.subarray(0, length);
  } finally {
    if (typeof file === "string") closeSync(descriptor);
  }
}

/** `LINE:COLUMN` of the first byte that is no UTF-8. */
function placeOfBadByte(bytes: Buffer): string {
  let line = 1;
  let start = 0;
  for (;;) {
    const end = bytes.indexOf(10, start);
    const part = bytes.subarray(start, end < 0 ? bytes.length : end);
    const text = part.toString("utf8");
    // A file may well hold the replacement character itself.
    if (!Buffer.from(text).equals(part)) {
      let column = 1;
      while (
        Buffer.from(text.slice(0, column)).equals(
          part.subarray(0, Buffer.byteLength(text.slice(0, column))),
        )
      ) {
        column += 1;
      }
      return `${line}:${column}`;
    }
    if (end < 0) return `${line}:1`;
    line += 1;
    start = end + 1;
  }
}

/** `.env` beside the manifest, or the files that `--env-file` names instead. */
function readDotEnv(
  directory: string,
  named: readonly string[] | undefined,
  at: { readonly workingDirectory: string; readonly variables: Readonly<Record<string, string>> },
): Readonly<Record<string, string>> {
  const usual = resolve(directory, ".env");
  const paths =
    named?.map((name) => resolve(at.workingDirectory, name)) ?? (existsSync(usual) ? [usual] : []);
  let values: Readonly<Record<string, string>> = {};
  for (const path of paths) {
    const name = relative(at.workingDirectory, path) || path;
    const read = readDotEnvFile(
      { name, text: readText(path, name) },
      { ...values, ...at.variables },
    );
    if (read.kind === "invalid")
      throw new CliError("usage", read.problems.map(formatProblem).join("\n"));
    values = { ...values, ...read.values };
  }
  return values;
}

function definedOnly(environment: NodeJS.ProcessEnv): Record<string, string> {
  const values: Record<string, string> = {};
  for (const [name, value] of Object.entries(environment)) {
    if (value !== undefined) values[name] = value;
  }
  return values;
}
