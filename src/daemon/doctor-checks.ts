import { randomUUID } from "node:crypto";
import { open, readFile, rm, statfs } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { codeOf } from "../kernel/index.ts";
import { splitAddress } from "../network/io/peer-address.ts";

/** What the doctor tries on one machine. Nothing here throws: a failure is the finding. */

export type PortState = "open" | "refused" | "timed_out" | "unreachable";

const connectMs = 2_000;
const syncRounds = 5;
const syncBytes = 4_096;

/** Whether a new TCP connection to `HOST:PORT` can be made. */
export async function tryPort(address: string, signal: AbortSignal): Promise<PortState> {
  const { promise, resolve } = Promise.withResolvers<PortState>();
  const { host, port } = splitAddress(address);
  const socket = connect({ host, port });
  const timer = setTimeout(() => resolve("timed_out"), connectMs);
  const abort = () => resolve("timed_out");
  signal.addEventListener("abort", abort, { once: true });
  socket.once("connect", () => resolve("open"));
  socket.on("error", (error) => {
    const code = codeOf(error);
    resolve(
      code === "ECONNREFUSED" ? "refused" : code === "ETIMEDOUT" ? "timed_out" : "unreachable",
    );
  });
  return await promise.finally(() => {
    clearTimeout(timer);
    signal.removeEventListener("abort", abort);
    socket.destroy();
  });
}

/** The median time of a small write until the disk has it, ms; undefined where it cannot. */
export async function measureSync(directory: string): Promise<number | undefined> {
  const path = join(directory, `doctor-${randomUUID()}`);
  const times: number[] = [];
  try {
    const file = await open(path, "wx", 0o600);
    try {
      for (let round = 0; round < syncRounds; round += 1) {
        const from = performance.now();
        await file.write(Buffer.alloc(syncBytes, round), 0, syncBytes, round * syncBytes);
        await file.datasync();
        times.push(performance.now() - from);
      }
    } finally {
      await file.close();
    }
  } catch {
    return undefined;
  } finally {
    await rm(path, { force: true });
  }
  return times.sort((a, b) => a - b)[Math.floor(syncRounds / 2)];
}

export async function diskSpace(
  directory: string,
): Promise<{ readonly freeBytes: number; readonly capacityBytes: number } | undefined> {
  try {
    const { bavail, blocks, bsize } = await statfs(directory);
    return { freeBytes: bavail * bsize, capacityBytes: blocks * bsize };
  } catch {
    return undefined;
  }
}

/** Whether this machine forwards packets for its containers; undefined where it cannot be told. */
export async function forwardsPackets(): Promise<boolean | undefined> {
  try {
    return (await readFile("/proc/sys/net/ipv4/ip_forward", "utf8")).trim() === "1";
  } catch {
    return undefined;
  }
}
