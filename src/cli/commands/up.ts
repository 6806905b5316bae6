import { existsSync, readFileSync } from "node:fs";
import { basename, dirname, resolve } from "node:path";
import type { AppliedChanges, ServiceView } from "../../api/index.ts";
import { codeOf, messageOf } from "../../kernel/index.ts";
import { formatProblem, type Manifest, parseManifest } from "../../spec/index.ts";
import { CliError } from "../cli-error.ts";
import { followRollout } from "../follow.ts";
import type { Session } from "../session.ts";

const defaultFiles = ["compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml"];

/** Far above any real file; the parser has its own bound on what it expands. */
const maxFileBytes = 4 * 1024 * 1024;

type UpOptions = {
  readonly file?: readonly string[];
  readonly detach?: boolean;
  readonly dryRun?: boolean;
  readonly allowIgnored?: boolean;
};

/** `skein up`: reads the file, submits it, shows the change and follows it to its end. */
export async function up(session: Session, options: UpOptions): Promise<void> {
  const manifest = readManifest(session, options);
  const applied = await session.client.call("applyServices", {
    body: { services: [...manifest.services], dryRun: options.dryRun ?? false },
    signal: session.signal,
  });
  const isJson = session.output === "json";
  if (!isJson) session.print(describeChanges(applied, options.dryRun ?? false));
  if (options.dryRun || options.detach) {
    if (isJson) session.print(`${JSON.stringify(applied, undefined, 2)}\n`);
    return;
  }
  const services = await followOrDetach(session, manifest);
  if (isJson) session.print(`${JSON.stringify({ ...applied, services }, undefined, 2)}\n`);
  else session.print(describeAddresses(services));
}

async function followOrDetach(
  session: Session,
  { namespace, services }: Manifest,
): Promise<readonly ServiceView[]> {
  const names = new Set(services.map((service) => service.name));
  try {
    return await followRollout(session, names, { namespace, isUpdate: true });
  } catch (error) {
    if (session.signal.aborted) session.note("The roll-out goes on. Look with: skein ls\n");
    throw error;
  }
}

/** Reads and checks the Compose files that `-f` names, or the one that lies here. */
export function readManifest(session: Session, options: UpOptions): Manifest {
  const { workingDirectory, environment, namespace } = session;
  const names = options.file ?? defaultFile(workingDirectory);
  const files = names.map((name) => ({
    name,
    text: readText(name === "-" ? 0 : resolve(workingDirectory, name), name),
  }));
  const first = names[0] ?? "";
  const directory = dirname(resolve(workingDirectory, first === "-" ? "x" : first));
  const parsed = parseManifest({
    files,
    environment: { ...readDotEnv(resolve(directory, ".env")), ...definedOnly(environment) },
    directory: basename(directory),
    ...(namespace === undefined ? {} : { projectName: namespace }),
    ...(options.allowIgnored === undefined ? {} : { allowIgnored: options.allowIgnored }),
    readFile: (path) => {
      const file = resolve(directory, path);
      return existsSync(file) ? readText(file, path) : undefined;
    },
  });
  if (parsed.kind === "invalid") {
    throw new CliError("usage", parsed.problems.map(formatProblem).join("\n"));
  }
  for (const ignored of parsed.ignored) session.note(`ignored: ${formatProblem(ignored)}\n`);
  return parsed.manifest;
}

function defaultFile(directory: string): readonly string[] {
  const found = defaultFiles.find((name) => existsSync(resolve(directory, name)));
  if (found !== undefined) return [found];
  throw new CliError(
    "usage",
    `There is no ${defaultFiles[0]} in ${directory}. Name the file with: skein up -f FILE`,
  );
}

function readText(file: string | number, name: string): string {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    throw new CliError("usage", `Cannot read ${name}: ${codeOf(error) ?? messageOf(error)}`, {
      cause: error,
    });
  }
  if (text.length > maxFileBytes) throw new CliError("usage", `${name} is larger than 4 MiB.`);
  return text;
}

/** `.env` beside the file, as Compose reads it: NAME=VALUE lines, `#` comments, optional quotes. */
function readDotEnv(file: string): Record<string, string> {
  if (!existsSync(file)) return {};
  const values: Record<string, string> = {};
  for (const line of readText(file, ".env").split(/\r?\n/)) {
    const match = /^\s*(?:export\s+)?([A-Za-z_]\w*)\s*=\s*(.*?)\s*$/.exec(line);
    if (match?.[1] === undefined) continue;
    const value = match[2] ?? "";
    const quoted = /^(["'])(.*)\1$/.exec(value);
    values[match[1]] = quoted?.[2] ?? value.replace(/\s+#.*$/, "");
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

export function describeChanges({ changes }: AppliedChanges, isDryRun: boolean): string {
  if (changes.every((change) => change.action === "none")) return "no changes\n";
  const marks = { create: "+", update: "~", none: "=" };
  const lines = changes.map(({ action, namespace, name, details }) => {
    const detail = details.length === 0 ? "" : `  ${details.join(", ")}`;
    return `${marks[action]} ${namespace}/${name}${action === "none" ? "  unchanged" : detail}\n`;
  });
  return lines.join("") + (isDryRun ? "nothing was changed (dry run)\n" : "");
}

function describeAddresses(services: readonly ServiceView[]): string {
  return services
    .flatMap((service) =>
      service.endpoints.map((endpoint) => {
        const port = /^:(\d+)->/.exec(endpoint)?.[1];
        const where = port === undefined ? endpoint : `port ${port} of every node`;
        return `${service.name}: ${where}\n`;
      }),
    )
    .join("");
}
