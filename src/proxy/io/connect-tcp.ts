import { connect, type Socket } from "node:net";

/** After this much silence the kernel begins to ask whether the other side is still there. */
const keepAliveDelayMs = 10_000;

function ignore(): void {
  // A socket's errors are followed by its close event, which is what its users act on.
}

/** Keeps a socket's errors from ending the process. */
export function absorbErrors(socket: { on(event: "error", listener: () => void): unknown }): void {
  socket.on("error", ignore);
}

/** A connected TCP socket that nobody reads yet. Rejects when it is refused or takes too long. */
export function connectTcp({
  host,
  port,
  timeoutMs,
}: {
  readonly host: string;
  readonly port: number;
  readonly timeoutMs: number;
}): Promise<Socket> {
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  const socket = connect({
    host,
    port,
    noDelay: true,
    allowHalfOpen: true,
    keepAlive: true,
    keepAliveInitialDelay: keepAliveDelayMs,
  });
  const timer = setTimeout(() => {
    socket.destroy(new Error(`No connection to ${host}:${port} within ${timeoutMs} ms.`));
  }, timeoutMs);
  absorbErrors(socket);
  socket.once("error", reject);
  socket.once("close", () => clearTimeout(timer));
  socket.once("connect", () => {
    clearTimeout(timer);
    socket.off("error", reject);
    resolve(socket);
  });
  return promise;
}

/** A connected unix socket. Rejects when nobody listens there. */
export async function connectUnix(path: string): Promise<Socket> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const socket = connect({ path, allowHalfOpen: true });
  absorbErrors(socket);
  socket.once("connect", resolve);
  socket.once("error", reject);
  await promise;
  return socket;
}

/** A connection to a node's one port by way of the daemons, for a node that cannot be dialled. */
export async function connectDetour(path: string, node: string): Promise<Socket> {
  const socket = await connectUnix(path);
  socket.write(`${node}\n`);
  return socket;
}
