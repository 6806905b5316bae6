import { connect } from "node:net";
import { messageOf } from "../../kernel/index.ts";
import { http } from "../../kernel/io/http.ts";
import type { ProbeResult, Probes } from "../index.ts";

const passed: ProbeResult = { kind: "passed" };

/** Health probes over the machine's own network; each opens a connection of its own. */
export const networkProbes: Probes = {
  http: ({ address, port, path }, { signal }) =>
    askHttp({ host: address, port, path }, signal).catch(asFailure),
  tcp: ({ address, port }, { signal }) => openTcp({ host: address, port }, signal).catch(asFailure),
};

async function askHttp(
  target: { readonly host: string; readonly port: number; readonly path: string },
  signal: AbortSignal,
): Promise<ProbeResult> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const headers = { "user-agent": "skein-health", connection: "close" };
  const asking = http.request({ ...target, agent: false, headers, signal }, (response) => {
    resolve(response.statusCode ?? 0);
    // The body is of no interest, and may never end.
    response.destroy();
  });
  asking.on("error", reject);
  asking.end();
  const status = await promise;
  if (status >= 200 && status <= 399) return passed;
  return { kind: "failed", message: `GET ${target.path} answered with status ${status}.` };
}

async function openTcp(
  target: { readonly host: string; readonly port: number },
  signal: AbortSignal,
): Promise<ProbeResult> {
  signal.throwIfAborted();
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const socket = connect(target);
  const abort = () => reject(signal.reason);
  signal.addEventListener("abort", abort, { once: true });
  socket.once("connect", resolve);
  socket.on("error", reject);
  try {
    await promise;
    return passed;
  } finally {
    signal.removeEventListener("abort", abort);
    socket.destroy();
  }
}

function asFailure(error: unknown): ProbeResult {
  return { kind: "failed", message: messageOf(error) };
}
