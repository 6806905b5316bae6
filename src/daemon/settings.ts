import { hostname } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { voterCounts } from "../cluster/index.ts";
import { CodedError, messageOf } from "../kernel/index.ts";

/** A setting that cannot be used; the message names it and the remedy. */
export class SettingsError extends CodedError<"usage"> {}

const labelPattern = /^([A-Za-z0-9][\w./-]{0,127})=(.{0,255})$/;
const votersHint = "voters: 1, 3, 5 or 7, an even number bears no more failures";
const namePattern = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

/** What `skein daemon` is started with. The only place where defaults stand. */
const settingsSchema = z.strictObject({
  name: z
    .string()
    .toLowerCase()
    .regex(namePattern, "a name has lower-case letters, digits and dashes, at most 63"),
  dataDirectory: z.string().min(1),
  listen: z.object({ host: z.string(), port: z.number().int().min(0).max(65_535) }),
  /** Where others reach this node; found out by itself when absent. */
  advertise: z.string().optional(),
  join: z.array(z.string()),
  token: z.string().optional(),
  httpPort: z.number().int().min(0).max(65_535),
  runtime: z.enum(["docker", "process", "auto"]),
  /** Engine network that tasks attach to; the engine's default bridge when absent. */
  dockerNetwork: z.string().optional(),
  labels: z.record(z.string(), z.string()),
  timing: z.enum(["local", "lan", "wan"]),
  /** How many nodes of a cluster that this node creates may vote. */
  maxVoters: z.literal(voterCounts, votersHint).optional(),
  /** Of the certificates that this node issues; they are renewed when a third of it is over. */
  certificateLifetimeMs: z
    .number("certificate lifetime: a number and s, m, h or d, such as 90d")
    .min(10_000, "certificate lifetime: at least 10s"),
  logLevel: z.enum(["debug", "info", "warn", "error"]),
});

export type Settings = Readonly<z.infer<typeof settingsSchema>>;

/** The flags as commander hands them over. */
export type DaemonFlags = {
  readonly name?: string;
  readonly dataDir?: string;
  readonly listen?: string;
  readonly advertise?: string;
  readonly join?: string;
  readonly token?: string;
  readonly tokenFile?: string;
  readonly httpPort?: string;
  readonly runtime?: string;
  readonly dockerNetwork?: string;
  readonly label?: readonly string[];
  readonly timing?: string;
  readonly voters?: string;
  readonly certificateLifetime?: string;
  readonly logLevel?: string;
};

const defaultPort = 7946;

/**
 * Flag, then environment (`SKEIN_…`), then default.
 * @throws SettingsError
 */
export function readSettings(
  flags: DaemonFlags,
  environment: NodeJS.ProcessEnv,
  readFile: (path: string) => string,
): Settings {
  const from = (flag: string | undefined, variable: string, fallback: string): string =>
    flag ?? environment[variable] ?? fallback;
  const advertise = flags.advertise ?? environment["SKEIN_ADVERTISE"];
  const join = from(flags.join, "SKEIN_JOIN", "");
  const dockerNetwork = flags.dockerNetwork ?? environment["SKEIN_DOCKER_NETWORK"];
  const voters = flags.voters ?? environment["SKEIN_VOTERS"];
  const token = readToken(flags, environment, readFile);
  const parsed = settingsSchema.safeParse({
    name: from(flags.name, "SKEIN_NAME", defaultName()),
    dataDirectory: from(flags.dataDir, "SKEIN_DATA_DIR", defaultDataDirectory(environment)),
    listen: parseAddress(from(flags.listen, "SKEIN_LISTEN", `0.0.0.0:${defaultPort}`), "--listen"),
    ...(advertise === undefined ? {} : { advertise: normalAddress(advertise, "--advertise") }),
    join: join
      .split(",")
      .map((each) => each.trim())
      .filter((each) => each !== "")
      .map((each) => normalAddress(each, "--join")),
    ...(token === undefined ? {} : { token }),
    httpPort: Number(from(flags.httpPort, "SKEIN_HTTP_PORT", "80")),
    runtime: from(flags.runtime, "SKEIN_RUNTIME", "auto"),
    ...(dockerNetwork === undefined ? {} : { dockerNetwork }),
    labels: parseLabels(flags.label ?? splitList(environment["SKEIN_LABELS"])),
    timing: from(flags.timing, "SKEIN_TIMING", "lan"),
    ...(voters === undefined ? {} : { maxVoters: Number(voters) }),
    certificateLifetimeMs: durationMs(
      from(flags.certificateLifetime, "SKEIN_CERTIFICATE_LIFETIME", "90d"),
    ),
    logLevel: from(flags.logLevel, "SKEIN_LOG_LEVEL", "info"),
  });
  if (parsed.success) return parsed.data;
  throw new SettingsError("usage", z.prettifyError(parsed.error));
}

const unitMs: Readonly<Record<string, number>> = {
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** Not a number for what is no duration. */
function durationMs(text: string): number {
  const match = /^(\d+)([smhd])$/.exec(text);
  return Number(match?.[1]) * (unitMs[match?.[2] ?? ""] ?? Number.NaN);
}

/** A token on the command line shows in `ps`: the environment and a file do not. */
function readToken(
  flags: DaemonFlags,
  environment: NodeJS.ProcessEnv,
  readFile: (path: string) => string,
): string | undefined {
  const file = flags.tokenFile ?? environment["SKEIN_TOKEN_FILE"];
  if (flags.token === undefined && file !== undefined) {
    try {
      return readFile(file).trim();
    } catch (error) {
      throw new SettingsError("usage", `--token-file: ${messageOf(error)}`, { cause: error });
    }
  }
  return flags.token ?? environment["SKEIN_TOKEN"];
}

function defaultName(): string {
  const short = hostname().split(".")[0] ?? "";
  const cleaned = short.toLowerCase().replace(/[^a-z0-9-]/g, "-");
  return cleaned === "" ? "node" : cleaned;
}

/** `/var/lib/skein` as root; without root a place that the user owns. */
function defaultDataDirectory(environment: NodeJS.ProcessEnv): string {
  const isRoot = process.getuid?.() === 0;
  if (isRoot) return "/var/lib/skein";
  return join(environment["HOME"] ?? ".", ".local", "share", "skein");
}

/** `HOST:PORT`, `[V6]:PORT` or `HOST` (then port 7946). */
export function parseAddress(
  text: string,
  setting: string,
): { readonly host: string; readonly port: number } {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:\s]+))(?::(\d{1,5}))?$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = match?.[3] === undefined ? defaultPort : Number(match[3]);
  if (host === undefined || port > 65_535) {
    throw new SettingsError("usage", `${setting}: "${text}" is no address. Write HOST:PORT`);
  }
  return { host, port };
}

export function formatAddress({
  host,
  port,
}: {
  readonly host: string;
  readonly port: number;
}): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

function normalAddress(text: string, setting: string): string {
  return formatAddress(parseAddress(text, setting));
}

function parseLabels(pairs: readonly string[]): Record<string, string> {
  const labels: Record<string, string> = {};
  for (const pair of pairs) {
    const match = labelPattern.exec(pair);
    if (match?.[1] === undefined) {
      throw new SettingsError("usage", `--label: "${pair}" is not NAME=VALUE`);
    }
    labels[match[1]] = match[2] ?? "";
  }
  return labels;
}

function splitList(text: string | undefined): readonly string[] {
  return (text ?? "").split(",").filter((each) => each !== "");
}
