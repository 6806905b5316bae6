import { createHash } from "node:crypto";
import {
  closeSync,
  fsyncSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from "node:fs";
import { resolve } from "node:path";
import { z } from "zod";
import type { Backup } from "../../api/index.ts";
import { codeOf, messageOf } from "../../kernel/index.ts";
import { type ServiceSpec, serviceSpecSchema } from "../../spec/index.ts";
import { CliError } from "../cli-error.ts";
import { followRollout } from "../follow.ts";
import type { Session } from "../session.ts";
import { describeChanges } from "./up.ts";

/** Far above any real cluster's. */
const maxFileBytes = 256 * 1024 * 1024;
/** Of the services in one request, well below what one entry of the log takes. */
const maxBatchBytes = 512 * 1024;

const fileSchema = z.object({
  skeinBackup: z.literal(1),
  clusterId: z.string(),
  index: z.number(),
  takenAt: z.string(),
  services: z.array(z.unknown()),
  checksum: z.string(),
});

/** `skein backup FILE`: what the cluster agreed to run, at one index of the log. */
export async function backup(session: Session, file: string): Promise<void> {
  const taken = await session.client.call("backup", { signal: session.signal });
  if (!taken.isConfirmed) {
    session.note(
      "degraded: no quorum confirmed that this node knows the newest state; the backup is what this node knows\n",
    );
  }
  writeDurably(resolve(session.workingDirectory, file), textOf(taken));
  const { services, index } = taken;
  session.print(
    session.output === "json"
      ? `${JSON.stringify({ file, index, services: services.length })}\n`
      : `${services.length} services as of entry ${index} are in ${file}. It holds their environment: keep it secret.\n`,
  );
}

/** `skein restore FILE`: runs in this cluster what the file describes. */
export async function restore(
  session: Session,
  file: string,
  { detach }: { readonly detach?: boolean },
): Promise<void> {
  const services = readBackup(resolve(session.workingDirectory, file), file);
  const { client, signal } = session;
  const batches = batchesOf(services);
  // All of it is looked at before any of it is changed.
  for (const batch of batches) {
    const { changes } = await client.call("applyServices", {
      body: { services: batch, dryRun: true },
      signal,
    });
    const other = changes.find(({ action }) => action === "update");
    if (other === undefined) continue;
    throw new CliError(
      "conflict",
      `Service ${other.namespace}/${other.name} runs here already, in another form. A backup is restored into a new cluster; or remove it first: skein rm ${other.name} -n ${other.namespace}`,
    );
  }
  for (const batch of batches) {
    const body = { services: batch, dryRun: false };
    const applied = await client.call("applyServices", { query: { queue: "false" }, body, signal });
    if (session.output === "json") session.print(`${JSON.stringify(applied, undefined, 2)}\n`);
    else session.print(describeChanges(applied, false));
  }
  if (detach) return;
  const namespaces = Map.groupBy(services, ({ namespace }) => namespace);
  for (const [namespace, members] of namespaces) {
    const names = new Set(members.map(({ name }) => name));
    await followRollout(session, names, { namespace, isUpdate: true });
  }
}

function textOf({ clusterId, index, takenAt, services }: Backup): string {
  const content = { skeinBackup: 1 as const, clusterId, index, takenAt, services };
  return `${JSON.stringify({ ...content, checksum: checksumOf(content) }, undefined, 2)}\n`;
}

/** Over the content's compact JSON, so that a reformatted file still matches. */
function checksumOf(content: object): string {
  return `sha256:${createHash("sha256").update(JSON.stringify(content)).digest("hex")}`;
}

function readBackup(path: string, name: string): readonly ServiceSpec[] {
  const parsed = fileSchema.safeParse(readJson(path, name));
  if (!parsed.success) {
    throw new CliError("usage", `${name} is no backup that this version can read.`);
  }
  const { checksum, ...content } = parsed.data;
  if (checksumOf(content) !== checksum) {
    throw new CliError(
      "usage",
      `${name} is damaged or was changed: its checksum does not match. Use another backup.`,
    );
  }
  return z.array(serviceSpecSchema).parse(content.services) as readonly ServiceSpec[];
}

function readJson(path: string, name: string): unknown {
  try {
    const bytes = readFileSync(path);
    if (bytes.byteLength > maxFileBytes) {
      throw new CliError("usage", `${name} is larger than ${maxFileBytes / 2 ** 20} MiB.`);
    }
    return JSON.parse(bytes.toString("utf8"));
  } catch (error) {
    if (error instanceof CliError) throw error;
    const why =
      error instanceof SyntaxError ? "it is no JSON" : (codeOf(error) ?? messageOf(error));
    throw new CliError("usage", `Cannot read ${name}: ${why}`, { cause: error });
  }
}

/** Whole under its name, or not there: a backup that is cut off is worse than none. */
function writeDurably(path: string, text: string): void {
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
  } catch (error) {
    rmSync(temporary, { force: true });
    throw new CliError("failed", `Cannot write ${path}: ${codeOf(error) ?? messageOf(error)}`, {
      cause: error,
    });
  }
}

function batchesOf(services: readonly ServiceSpec[]): readonly ServiceSpec[][] {
  const batches: ServiceSpec[][] = [];
  let bytes = Number.POSITIVE_INFINITY;
  for (const service of services) {
    const size = Buffer.byteLength(JSON.stringify(service));
    if (bytes + size > maxBatchBytes) {
      batches.push([]);
      bytes = 0;
    }
    batches.at(-1)?.push(service);
    bytes += size;
  }
  return batches;
}
