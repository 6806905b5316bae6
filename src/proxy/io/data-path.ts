import type { Socket } from "node:net";
import {
  createSecureContext,
  type SecureContext,
  type TLSSocket,
  connect as tlsConnect,
} from "node:tls";
import type { NodeId, TaskId } from "../../kernel/index.ts";
import { namesNode } from "../node-name.ts";
import {
  decodePreamble,
  encodePreamble,
  type Preamble,
  preambleMaxBytes,
  tunnelStatus,
} from "../preamble.ts";
import { absorbErrors, connectTcp } from "./connect-tcp.ts";
import { classifyTimeoutMs, connectTimeoutMs, tunnelTimeoutMs } from "./limits.ts";
import type { LocalUsage } from "./local-usage.ts";
import { relay } from "./relay.ts";

/** The data path's name in the TLS handshake. */
export const dataProtocol = "skein-data/1";

/** What this node shows to others, and what it measures them by. */
export type TlsIdentity = { readonly context: SecureContext };

export function tlsIdentity(pem: {
  readonly key: string;
  readonly cert: string;
  readonly ca: string;
}): TlsIdentity {
  return { context: createSecureContext({ ...pem, minVersion: "TLSv1.3" }) };
}

type NodeAddress = {
  readonly nodeId: NodeId;
  readonly host: string;
  readonly port: number;
  /** Opens the plain connection, by whatever way leads there. */
  readonly connect: () => Promise<Socket>;
};

/**
 * A connection to an endpoint of another node: mutual TLS to the node's one port, where the
 * certificate must name the node, then the preamble and the owner's answer. What is returned
 * reaches the replica as a plain socket would.
 */
export async function openTunnel(
  node: NodeAddress,
  endpoint: Preamble,
  { context }: TlsIdentity,
): Promise<Socket> {
  const { host, port } = node;
  const plain = await node.connect();
  const socket = tlsConnect({
    socket: plain,
    secureContext: context,
    ALPNProtocols: [dataProtocol],
    minVersion: "TLSv1.3",
    // Explicit, so that no environment variable can switch the check off.
    rejectUnauthorized: true,
    checkServerIdentity: (_host, certificate) =>
      namesNode(certificate, node.nodeId)
        ? undefined
        : new Error(`The certificate at ${host}:${port} was not issued for node ${node.nodeId}.`),
  });
  absorbErrors(socket);
  const timer = setTimeout(() => {
    socket.destroy(new Error(`No answer from ${host}:${port} within ${tunnelTimeoutMs} ms.`));
  }, tunnelTimeoutMs);
  try {
    return await greet(socket, endpoint);
  } catch (error) {
    socket.destroy();
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

async function greet(socket: TLSSocket, endpoint: Preamble): Promise<Socket> {
  await once(socket, "secureConnect");
  if (socket.alpnProtocol !== dataProtocol) throw new Error("The node has no data path.");
  socket.write(encodePreamble(endpoint));
  const first = await once(socket, "data");
  socket.pause();
  const bytes = first instanceof Uint8Array ? first : new Uint8Array();
  if (bytes[0] === tunnelStatus.unknownEndpoint) throw new Error("The node has no such endpoint.");
  if (bytes[0] !== tunnelStatus.ok) throw new Error("The node could not connect to the endpoint.");
  // The replica may have spoken at once, and right behind the status.
  if (bytes.length > 1) socket.unshift(bytes.subarray(1));
  return socket;
}

/** The event's argument; rejects when the socket closes first. */
function once(socket: TLSSocket, event: "secureConnect" | "data"): Promise<unknown> {
  const { promise, resolve, reject } = Promise.withResolvers<unknown>();
  const fail = (error?: unknown) => {
    reject(error instanceof Error ? error : new Error("The connection was closed."));
  };
  socket.once(event, resolve);
  for (const end of ["error", "end", "close"]) socket.once(end, fail);
  return promise.finally(() => {
    socket.off(event, resolve);
    for (const end of ["error", "end", "close"]) socket.off(end, fail);
  });
}

export type LocalEndpoints = (
  task: TaskId,
  target: number,
) => { readonly address: string; readonly port: number } | undefined;

/**
 * The owner's side: reads the preamble of an authorized peer, connects to the endpoint, and
 * joins the two. Resolves when the tunnel has closed; never rejects.
 */
export async function serveTunnel(
  socket: Socket,
  { find, usage }: { readonly find: LocalEndpoints; readonly usage: LocalUsage },
): Promise<void> {
  const preamble = await readPreamble(socket);
  if (preamble === undefined) {
    socket.destroy();
    return;
  }
  const local = find(preamble.taskId, preamble.target);
  if (local === undefined) {
    answer(socket, tunnelStatus.unknownEndpoint);
    return;
  }
  usage.begin(preamble.taskId);
  try {
    const { address: host, port } = local;
    const upstream = await connectTcp({ host, port, timeoutMs: connectTimeoutMs }).catch(
      () => undefined,
    );
    if (upstream === undefined) {
      answer(socket, tunnelStatus.connectFailed);
      return;
    }
    socket.write(Uint8Array.of(tunnelStatus.ok));
    await relay(socket, upstream);
  } finally {
    usage.end(preamble.taskId);
  }
}

function answer(socket: Socket, status: number): void {
  socket.end(Uint8Array.of(status));
  socket.destroySoon();
}

/** Undefined when what comes is no preamble, or nothing comes in time. */
function readPreamble(socket: Socket): Promise<Preamble | undefined> {
  const { promise, resolve } = Promise.withResolvers<Preamble | undefined>();
  let bytes = Buffer.alloc(0);
  const timer = setTimeout(() => resolve(undefined), classifyTimeoutMs);
  const onData = (chunk: Buffer) => {
    if (bytes.length + chunk.length > preambleMaxBytes) {
      resolve(undefined);
      return;
    }
    bytes = Buffer.concat([bytes, chunk]);
    const preamble = decodePreamble(bytes);
    if (preamble.kind === "preamble") resolve(preamble);
    else if (preamble.kind === "malformed") resolve(undefined);
  };
  const onClose = () => resolve(undefined);
  socket.on("data", onData);
  socket.once("end", onClose);
  socket.once("close", onClose);
  socket.resume();
  return promise.finally(() => {
    clearTimeout(timer);
    socket.off("data", onData);
    socket.off("end", onClose);
    socket.off("close", onClose);
    socket.pause();
  });
}
