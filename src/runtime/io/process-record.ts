import { readdir, rename, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { codeOf } from "../../kernel/index.ts";
import type { Container } from "../container-runtime.ts";
import { isAlive, readIdentity, readIfPresent } from "./process-supervisor.ts";

export const containerIdPattern = /^[0-9a-f]{16}$/;
const recordFile = "container.json";
const lostExitCode = 255;

const recordSchema = z.object({
  version: z.literal(1),
  id: z.string().regex(containerIdPattern),
  name: z.string(),
  taskId: z.string(),
  labels: z.record(z.string(), z.string()),
  /** Process ids start anew with the machine. */
  bootId: z.string(),
  argv: z.array(z.string()),
  environment: z.record(z.string(), z.string()),
  workingDirectory: z.string(),
  stopSignal: z.string().optional(),
  endpoints: z.array(z.object({ target: z.number(), address: z.string(), port: z.number() })),
  hostPorts: z.array(
    z.object({ target: z.number(), hostPort: z.number(), protocol: z.enum(["tcp", "udp"]) }),
  ),
});

/** What a container of the process runtime was made of; written once, before it starts. */
export type ProcessRecord = z.infer<typeof recordSchema>;

export async function writeRecord(folder: string, record: ProcessRecord): Promise<void> {
  const temporary = join(folder, `${recordFile}.new`);
  // Environments hold secrets.
  await writeFile(temporary, JSON.stringify(record), { mode: 0o600 });
  await rename(temporary, join(folder, recordFile));
}

/** Absent when the folder is not (yet, or no longer) that of a container. */
export async function readRecord(folder: string): Promise<ProcessRecord | undefined> {
  const text = await readIfPresent(join(folder, recordFile));
  if (text === undefined) return undefined;
  try {
    return recordSchema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined; // Not JSON: not written by this runtime.
  }
}

export async function listContainerIds(containersFolder: string): Promise<readonly string[]> {
  const names = await readdir(containersFolder);
  return names.filter((name) => containerIdPattern.test(name)).toSorted();
}

/** Read anew from the files and /proc each time: nothing that is remembered can be wrong. */
export async function readState(
  folder: string,
  record: ProcessRecord,
  bootId: string,
): Promise<Container["state"]> {
  const ended = await readExit(folder);
  if (ended !== undefined) return ended;
  const supervisor = await readIdentity(folder, "supervisor");
  if (supervisor === undefined) return { kind: "created" };
  const program = await readIdentity(folder, "program");
  const isSameBoot = record.bootId === bootId;
  if (isSameBoot && program !== undefined && (await isAlive(program))) {
    const startedAtMs = (await modifiedAtMs(join(folder, "program"))) ?? 0;
    return { kind: "running", startedAtMs };
  }
  if (isSameBoot && (await isAlive(supervisor))) {
    // Between the program's end and the written exit code, or before the program's start.
    const startedAtMs = (await modifiedAtMs(join(folder, "supervisor"))) ?? 0;
    return program === undefined ? { kind: "created" } : { kind: "running", startedAtMs };
  }
  const late = await readExit(folder); // Written while we looked elsewhere.
  if (late !== undefined) return late;
  await writeFile(join(folder, "exit"), `${lostExitCode} lost\n`).catch((error: unknown) => {
    if (codeOf(error) !== "ENOENT") throw error; // Removed meanwhile.
  });
  return (await readExit(folder)) ?? { kind: "created" };
}

async function readExit(folder: string): Promise<Container["state"] | undefined> {
  const path = join(folder, "exit");
  const found = /^(\d{1,3})( lost)?\n/.exec((await readIfPresent(path)) ?? "");
  if (found === null) return undefined;
  return {
    kind: "exited",
    exitCode: Number(found[1]),
    finishedAtMs: (await modifiedAtMs(path)) ?? 0,
    isOomKilled: false,
    error:
      found[2] === undefined
        ? ""
        : "The exit code is not known: the machine or the supervising shell ended first.",
  };
}

async function modifiedAtMs(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).mtimeMs;
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error;
  }
}
