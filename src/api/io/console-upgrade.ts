import type { IncomingMessage, Server } from "node:http";
import type { Duplex } from "node:stream";
import { type Clock, codeOf, messageOf } from "../../kernel/index.ts";
import { type ConsoleRequest, consolePath, consoleProtocol } from "../console-frame.ts";
import { ConsoleLink, type ConsolePort } from "../console-link.ts";
import { ApiError, isProblemCode, type ProblemCode, problemOf, problemStatus } from "../problem.ts";
import { FrameSocket } from "./frame-socket.ts";

export const whyUnauthorized =
  "Give a token: set SKEIN_TOKEN, made with: skein token create --role admin";
/** Of clients of one API server at a time. */
const maxConsoles = 256;
/** How long a client may take to say what it wants. */
const requestTimeoutMs = 10_000;

/** Brings a client and the process in a container together, until one of them ends. */
export type OpenConsole = (
  request: ConsoleRequest,
  client: ConsolePort,
  options: { readonly signal: AbortSignal },
) => Promise<void>;

type UpgradeOptions = {
  readonly open: OpenConsole;
  readonly isAllowed: (request: IncomingMessage) => boolean;
  readonly clock: Clock;
  /** Ends what is open. */
  readonly signal: AbortSignal;
};

/** Serves consoles on connections of an HTTP server that their clients ask to upgrade. */
export function serveConsoles(server: Server, options: UpgradeOptions): void {
  let count = 0;
  server.on("upgrade", (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on("error", () => undefined);
    const refusal = refusalOf(request, options, count);
    if (refusal !== undefined) {
      refuse(socket, ...refusal);
      return;
    }
    if (head.byteLength > 0) socket.unshift(head);
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${consoleProtocol}\r\n\r\n`,
    );
    count += 1;
    socket.once("close", () => {
      count -= 1;
    });
    void serve(socket, options);
  });
}

function refusalOf(
  request: IncomingMessage,
  { isAllowed }: UpgradeOptions,
  count: number,
): readonly [ProblemCode, string] | undefined {
  if (!isAllowed(request)) {
    return ["unauthorized", whyUnauthorized];
  }
  if (request.url !== consolePath || request.headers.upgrade !== consoleProtocol) {
    return ["not_found", `Nothing is upgraded at ${request.url} in this API.`];
  }
  return count < maxConsoles ? undefined : ["busy", `This node serves ${count} consoles already.`];
}

function refuse(socket: Duplex, code: ProblemCode, detail: string): void {
  const body = JSON.stringify(problemOf(code, detail));
  socket.end(
    `HTTP/1.1 ${problemStatus[code]} Refused\r\nContent-Type: application/problem+json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  );
}

async function serve(socket: Duplex, { open, clock, signal }: UpgradeOptions): Promise<void> {
  const link = new ConsoleLink(new FrameSocket(socket), clock);
  const end = () => link.abort(new Error("The daemon is stopping."));
  signal.addEventListener("abort", end, { once: true });
  const timer = setTimeout(() => link.abort(new Error("no request")), requestTimeoutMs);
  try {
    const first = await link.next().finally(() => clearTimeout(timer));
    if (first?.kind !== "request")
      throw new ApiError("invalid", "A console begins with a request.");
    await open(first.request, link, { signal });
  } catch (error) {
    const code = codeOf(error);
    const problem = isProblemCode(code) ? code : "internal";
    await link
      .send({ kind: "error", code: problem, message: messageOf(error) }, { signal })
      .catch(() => undefined);
  } finally {
    await link.close();
    signal.removeEventListener("abort", end);
  }
}
