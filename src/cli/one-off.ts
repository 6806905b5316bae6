import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { parseManifest, type ServiceSpec } from "../spec/index.ts";
import { CliError } from "./cli-error.ts";
import type { Session } from "./session.ts";
import { variablesOf } from "./variables.ts";

export type RunOptions = {
  readonly rm?: boolean;
  readonly interactive?: boolean;
  readonly tty?: boolean;
  readonly detach?: boolean;
  readonly name?: string;
  readonly env?: readonly string[];
  readonly envFile?: readonly string[];
  readonly volume?: readonly string[];
  readonly publish?: readonly string[];
  readonly cpus?: string;
  readonly memory?: string;
  readonly constraint?: readonly string[];
  readonly restart?: string;
  readonly workdir?: string;
  readonly user?: string;
  readonly entrypoint?: string;
};

/**
 * The service that `skein run` asks for, by way of the same manifest as everything else: a job
 * that is tried once, or a service that is started again where `--restart` says so.
 */
export function oneOffSpec(
  session: Session,
  {
    image,
    command,
    name,
    namespace,
  }: {
    readonly image: string;
    readonly command: readonly string[];
    readonly name: string;
    readonly namespace: string;
  },
  options: RunOptions,
): ServiceSpec {
  const { detach = false, interactive = false, tty = false, rm = false } = options;
  const restart = restartOf(options);
  const service = {
    image,
    command: command.length === 0 ? undefined : command,
    entrypoint: options.entrypoint === undefined ? undefined : [options.entrypoint],
    environment: variablesOf(options.env ?? [], session.environment),
    env_file: options.envFile,
    volumes: options.volume,
    ports: options.publish,
    working_dir: options.workdir,
    user: options.user,
    stdin_open: interactive || undefined,
    tty: tty || undefined,
    deploy: {
      ...restart.deploy,
      placement: options.constraint && { constraints: options.constraint },
      resources: limitsOf(options),
    },
  };
  const volumes = Object.fromEntries((options.volume ?? []).flatMap(namedVolume));
  const manifest = { name: namespace, services: { [name]: service }, volumes };
  // What is written on the command line stands for itself; in a manifest `$` begins a variable.
  const text = JSON.stringify(manifest).replaceAll("$", "$$$$");
  const parsed = parseManifest({
    files: [{ name: "skein run", text }],
    environment: {},
    projectName: namespace,
    readFile: (path) => readText(resolve(session.workingDirectory, path)),
  });
  if (parsed.kind === "invalid") {
    // Where it stands in a file that nobody sees is of no use.
    const problems = parsed.problems.map(({ message, hint }) => [message, hint].join("; "));
    throw new CliError("usage", problems.join("\n").replaceAll(/; $/gm, ""));
  }
  const [spec] = parsed.manifest.services;
  if (spec === undefined) throw new CliError("failed", "There is nothing to run.");
  return {
    ...spec,
    ...(rm ? { removedAtEnd: true as const } : {}),
    template: { ...spec.template, ...(detach ? {} : { startsAttached: true as const }) },
  };
}

function restartOf({ restart = "no", rm = false, detach = false }: RunOptions) {
  const [policy, count] = restart.split(":");
  const isJob = policy === "no" || policy === "on-failure";
  if (rm && policy !== "no") {
    throw new CliError(
      "usage",
      `--rm and --restart ${restart} say opposite things: leave one out.`,
    );
  }
  if (!detach && policy !== "no") {
    throw new CliError(
      "usage",
      `--restart ${restart} needs -d: what starts again has no terminal.`,
    );
  }
  if (!isJob && policy !== "always" && policy !== "unless-stopped") {
    throw new CliError(
      "usage",
      `--restart takes no, on-failure[:N], always or unless-stopped, not "${restart}"`,
    );
  }
  if (!isJob) return { deploy: { restart_policy: { condition: "any" } } };
  const retries = policy === "no" ? 0 : Number(count ?? 3);
  if (!Number.isInteger(retries) || retries < 0) {
    throw new CliError("usage", `--restart on-failure takes a number of retries, not "${count}"`);
  }
  const policyOf =
    retries === 0 ? { condition: "none" } : { condition: "on-failure", max_attempts: retries };
  return { deploy: { mode: "replicated-job", restart_policy: policyOf } };
}

function limitsOf({ cpus, memory }: RunOptions): object | undefined {
  if (cpus === undefined && memory === undefined) return undefined;
  const amounts = { cpus, memory };
  return { limits: amounts, reservations: amounts };
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}

/** `data:/var/lib/data` names a volume; a path is a folder of the machine. */
function namedVolume(text: string): readonly (readonly [string, object])[] {
  const source = text.split(":")[0] ?? "";
  return text.includes(":") && !/^[./~]/.test(source) ? [[source, {}]] : [];
}
