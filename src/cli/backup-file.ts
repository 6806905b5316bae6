import { createHash } from "node:crypto";
import {
  closeSync,
  fsyncSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { dirname } from "node:path";
import { z } from "zod";
import { type Backup, quotaSchema } from "../api/index.ts";
import { voterCounts } from "../cluster/voter-counts.ts";
import { messageOf } from "../kernel/index.ts";
import { type ServiceSpec, serviceSpecSchema } from "../spec/service-spec.ts";
import { CliError } from "./cli-error.ts";

/** The first format had no settings. */
const newestFormat = 2;
/** Far above any real cluster's. */
const maxFileBytes = 256 * 1024 * 1024;

const fileSchema = z.object({
  skeinBackup: z.int().positive(),
  checksum: z.string(),
});
const contentSchema = z.object({
  services: z.array(z.unknown()),
  maxVoters: z.literal(voterCounts).nullable().default(null),
  quotas: z.record(z.string(), quotaSchema).default({}),
});

/** What a backup brings back. */
export type BackupContent = Omit<z.infer<typeof contentSchema>, "services"> & {
  readonly services: readonly ServiceSpec[];
};

/** The text of a backup file. */
export function backupText(backup: Backup): string {
  const { clusterId, index, takenAt, services, maxVoters, quotas } = backup;
  const about = { skeinBackup: newestFormat, clusterId, index, takenAt };
  const content = { ...about, services, maxVoters, quotas };
  return `${JSON.stringify({ ...content, checksum: checksumOf(content) }, undefined, 2)}\n`;
}

/** Reads a backup, whole and unchanged. @throws CliError with the reason. */
export function readBackup(path: string, name: string): BackupContent {
  const value = readJson(path, name);
  const file = fileSchema.safeParse(value);
  if (!file.success || typeof value !== "object") throw unusable(name, "it is no backup");
  const { checksum, ...content } = value as Record<string, unknown>;
  if (checksumOf(content) !== checksum) {
    throw unusable(name, "it is damaged or was changed: its checksum does not match");
  }
  const { skeinBackup } = file.data;
  if (skeinBackup > newestFormat) {
    const why = `it is of a newer version of Skein (format ${skeinBackup}; this one reads up to ${newestFormat})`;
    throw unusable(name, why, "Use that version.");
  }
  const parsed = contentSchema.safeParse(content);
  const services = z.array(serviceSpecSchema).safeParse(content["services"]);
  const problem = (parsed.error ?? services.error)?.issues[0];
  if (!parsed.success || !services.success) {
    const where = problem === undefined ? "" : ` at ${problem.path.join(".")}: ${problem.message}`;
    throw unusable(name, `this version does not understand it${where}`);
  }
  return { ...parsed.data, services: services.data as readonly ServiceSpec[] };
}

/**
 * Whole and durable under its name, or not there: a backup that is cut off is worse than none,
 * and so is one that the next loss of power takes away.
 */
export function writeDurably(path: string, text: string): void {
  const temporary = `${path}.part`;
  try {
    const descriptor = openSync(temporary, "w", 0o600);
    try {
      const bytes = Buffer.from(text);
      for (let written = 0; written < bytes.byteLength; ) {
        written += writeSync(descriptor, bytes, written);
      }
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
    renameSync(temporary, path);
    syncDirectory(dirname(path));
  } catch (error) {
    rmSync(temporary, { force: true });
    throw new CliError("failed", `Cannot write ${path}: ${messageOf(error)}`, { cause: error });
  }
}

function syncDirectory(directory: string): void {
  const descriptor = openSync(directory, "r");
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/** Over the content's compact JSON, so that a reformatted file still matches. */
function checksumOf(content: object): string {
  return `sha256:${createHash("sha256").update(JSON.stringify(content)).digest("hex")}`;
}

function readJson(path: string, name: string): unknown {
  let text: string;
  try {
    const { size } = statSync(path);
    if (size > maxFileBytes) {
      throw unusable(name, `it is larger than ${maxFileBytes / 2 ** 20} MiB`);
    }
    text = readFileSync(path, "utf8");
  } catch (error) {
    if (error instanceof CliError) throw error;
    throw unusable(name, messageOf(error), "");
  }
  if (text.length === 0) throw unusable(name, "it is empty");
  try {
    return JSON.parse(text);
  } catch {
    throw unusable(name, "it is cut off or damaged, or no backup at all");
  }
}

function unusable(name: string, why: string, remedy = "Use another backup."): CliError {
  const text = `Cannot restore ${name}: ${why}. ${remedy}`;
  return new CliError("usage", `${text.trimEnd()} Nothing was changed.`);
}
