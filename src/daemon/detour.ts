import { rm } from "node:fs/promises";
import { connect, createServer, type Server, type Socket } from "node:net";
import { type Logger, messageOf, type NodeId, nodeId } from "../kernel/index.ts";
import type { PeerNetwork, PeerStream } from "../network/index.ts";

const protocol = "/skein/detour/1";
/** At a time, in each direction; what is over it is closed at once. */
const maxDetours = 512;
/** The line with the node's id, and how long it may take. */
const maxLineBytes = 160;
const lineMs = 2_000;
const openMs = 3_000;

type DetourOptions = {
  readonly network: PeerNetwork;
  /** Where this node's proxy asks for detours. */
  readonly socketPath: string;
  /** This node's own one port. */
  readonly edge: { readonly host: string; readonly port: number };
  readonly logger: Logger;
};

/**
 * The way to nodes that nobody can connect to: over a connection of the peer network that
 * such a node has opened itself. The proxy writes the node's id and a line feed, then what
 * it would have sent to the node's one port; there it arrives as a connection to that port.
 * It is TLS from proxy to proxy as everywhere: the daemons in between only carry it.
 */
export async function startDetours(options: DetourOptions): Promise<AsyncDisposable> {
  const { network, socketPath, edge, logger } = options;
  const closing = new AbortController();
  const { signal } = closing;
  const sockets = new Set<Socket>();
  const track = (socket: Socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    socket.once("close", () => sockets.delete(socket));
  };

  network.handleStream(protocol, async (_, stream) => {
    if (sockets.size >= maxDetours) throw new Error("Too many detours end here.");
    const socket = connect({ ...edge, allowHalfOpen: true, noDelay: true });
    track(socket);
    await join(socket, stream, signal);
  });

  async function serve(socket: Socket): Promise<void> {
    const node = await readNode(socket);
    // To connect now would be in vain: it is the node itself that connects.
    if (node === undefined || !network.connected.get().has(node)) {
      socket.destroy();
      return;
    }
    try {
      const inTime = AbortSignal.any([signal, AbortSignal.timeout(openMs)]);
      await join(socket, await network.openStream(node, protocol, { signal: inTime }), signal);
    } catch (error) {
      logger.debug({ peer: node, error: messageOf(error) }, "no detour");
      socket.destroy();
    }
  }

  await rm(socketPath, { force: true });
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    track(socket);
    if (sockets.size > maxDetours) socket.destroy();
    else void serve(socket);
  });
  await listening(server, socketPath);
  return {
    [Symbol.asyncDispose]: async () => {
      closing.abort(new Error("this node is stopping"));
      for (const socket of sockets) socket.destroy();
      const { promise, resolve } = Promise.withResolvers<void>();
      server.close(() => resolve());
      await promise;
    },
  };
}

async function listening(server: Server, path: string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once("error", reject);
  server.listen(path, resolve);
  await promise;
}

/** The id in the first line; undefined when none comes in time. What follows it stays. */
async function readNode(socket: Socket): Promise<NodeId | undefined> {
  const { promise, resolve } = Promise.withResolvers<NodeId | undefined>();
  let bytes = Buffer.alloc(0);
  const onData = (chunk: Buffer) => {
    bytes = Buffer.concat([bytes, chunk]);
    const end = bytes.indexOf(0x0a);
    if (end < 0 && bytes.length <= maxLineBytes) return;
    socket.pause();
    if (end >= 0 && end + 1 < bytes.length) socket.unshift(bytes.subarray(end + 1));
    resolve(end < 0 ? undefined : nodeId(bytes.toString("utf8", 0, end)));
  };
  const giveUp = () => resolve(undefined);
  const timer = setTimeout(giveUp, lineMs);
  socket.on("data", onData);
  socket.once("close", giveUp);
  return await promise.finally(() => {
    clearTimeout(timer);
    socket.off("data", onData);
    socket.off("close", giveUp);
  });
}

/** Carries both directions, each with its own end and its own back-pressure. Never rejects. */
async function join(socket: Socket, stream: PeerStream, closing: AbortSignal): Promise<void> {
  const gone = new AbortController();
  socket.once("close", () => gone.abort(new Error("the connection was closed")));
  const signal = AbortSignal.any([closing, gone.signal]);
  try {
    await Promise.all([toStream(socket, stream, signal), toSocket(stream, socket, signal)]);
  } catch (error) {
    socket.destroy();
    stream.abort(error instanceof Error ? error : new Error(messageOf(error)));
  }
}

async function toStream(socket: Socket, stream: PeerStream, signal: AbortSignal): Promise<void> {
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
    await stream.send(chunk as Buffer, { signal });
  }
  await stream.close();
}

async function toSocket(stream: PeerStream, socket: Socket, signal: AbortSignal): Promise<void> {
  const abort = () => stream.abort(new Error("the connection was closed"));
  signal.addEventListener("abort", abort, { once: true });
  try {
    for await (const frame of stream.frames()) {
      if (!socket.write(frame)) await drained(socket, signal);
    }
    socket.end();
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

async function drained(socket: Socket, signal: AbortSignal): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const abort = () => reject(signal.reason);
  socket.once("drain", resolve);
  signal.addEventListener("abort", abort, { once: true });
  await promise.finally(() => {
    socket.off("drain", resolve);
    signal.removeEventListener("abort", abort);
  });
}
