import type { IncomingMessage } from "node:http";
import type { RequestOptions } from "node:https";
import { createInterface } from "node:readline";
import type { DetailedPeerCertificate } from "node:tls";
import { codeOf, messageOf } from "../../kernel/index.ts";
import { http, https } from "../../kernel/io/http.ts";
import { type ApiTransport, problemFrom } from "../client.ts";
import { consolePath, consoleProtocol } from "../console-frame.ts";
import type { ConsoleStream } from "../console-link.ts";
import { FrameSocket } from "./frame-socket.ts";
import { TransportError } from "./transport-error.ts";

/** The API on this machine's unix socket. */
export function socketTransport(socketPath: string): ApiTransport {
  const describe = (error: Error): TransportError =>
    new TransportError(
      "unreachable",
      codeOf(error) === "EACCES"
        ? `No access to ${socketPath}: run as the daemon's user (root), or name a node with --host.`
        : `No daemon answers at ${socketPath} (${codeOf(error) ?? error.message}). Is "skein daemon" running on this machine? Name another node with --host.`,
      { cause: error },
    );
  return {
    send: (request) => sendWith(http.request, { socketPath }, request, describe),
    openConsole: (options) => upgradeWith(http.request, { socketPath }, options, describe),
  };
}

/** The API of another machine: TLS on its one port, the cluster's CA pinned by the token. */
export function tlsTransport(options: {
  readonly host: string;
  readonly port: number;
  readonly bearer: string;
  /** SHA-256 of the CA's DER form, hex. */
  readonly caFingerprint: string;
}): ApiTransport {
  const { host, port, bearer } = options;
  const where = `${host}:${port}`;
  const describe = (error: Error): TransportError =>
    error instanceof TransportError
      ? error
      : new TransportError("unreachable", `No daemon answers at ${where}: ${messageOf(error)}`, {
          cause: error,
        });
  let ca: Promise<string> | undefined;
  const connectionOf = async (signal: AbortSignal) => {
    ca ??= fetchPinnedCa(options, signal);
    const pem = await ca.catch((error: Error) => {
      throw describe(error);
    });
    return {
      host,
      port,
      ca: pem,
      ALPNProtocols: ["http/1.1"],
      // Any node of the cluster will do: what counts is that the cluster's CA vouches for it.
      checkServerIdentity: () => undefined,
      headers: { authorization: `Bearer ${bearer}` },
    };
  };
  return {
    send: async (request) =>
      await sendWith(https().request, await connectionOf(request.signal), request, describe),
    openConsole: async (wanted) =>
      await upgradeWith(https().request, await connectionOf(wanted.signal), wanted, describe),
  };
}

const connectTimeoutMs = 5_000;

/**
 * The CA certificate as the server presents it, accepted only with the pinned fingerprint.
 * That the server's own key is signed by it is then checked by the real connection.
 */
async function fetchPinnedCa(
  { host, port, caFingerprint }: Parameters<typeof tlsTransport>[0],
  signal: AbortSignal,
): Promise<string> {
  const { connect } = process.getBuiltinModule("node:tls");
  const socket = connect({
    host,
    port,
    ALPNProtocols: ["http/1.1"],
    rejectUnauthorized: false,
    timeout: connectTimeoutMs,
  });
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const abort = () => reject(signal.reason);
  signal.addEventListener("abort", abort, { once: true });
  socket.on("error", reject);
  socket.on("timeout", () => reject(new Error("no answer within 5 s")));
  socket.on("secureConnect", () => {
    for (const certificate of chainOf(socket.getPeerCertificate(true))) {
      const fingerprint = certificate.fingerprint256.replaceAll(":", "").toLowerCase();
      if (fingerprint === caFingerprint.toLowerCase()) resolve(pemOf(certificate.raw));
    }
    reject(
      new TransportError(
        "not_trusted",
        `${host}:${port} does not belong to the cluster that the token is for. Check the address and SKEIN_TOKEN.`,
      ),
    );
  });
  return await promise.finally(() => {
    signal.removeEventListener("abort", abort);
    socket.destroy();
  });
}

function chainOf(first: DetailedPeerCertificate): readonly DetailedPeerCertificate[] {
  const chain: DetailedPeerCertificate[] = [];
  let next: DetailedPeerCertificate | undefined = first;
  while (next?.raw !== undefined && !chain.includes(next) && chain.length < 8) {
    chain.push(next);
    next = next.issuerCertificate;
  }
  return chain;
}

function pemOf(der: Buffer): string {
  const lines = der.toString("base64").match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`;
}

async function sendWith(
  request: typeof http.request,
  connection: RequestOptions,
  { method, path, body, signal }: Parameters<ApiTransport["send"]>[0],
  describe: (error: Error) => TransportError,
): Promise<{ status: number; lines: AsyncIterable<string> }> {
  const headers = {
    ...connection.headers,
    ...(body === undefined
      ? {}
      : { "content-type": "application/json", "content-length": Buffer.byteLength(body) }),
  };
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const outgoing = request({ ...connection, method, path, headers, signal, agent: false }, resolve);
  outgoing.on("error", (error) => reject(signal.aborted ? signal.reason : describe(error)));
  outgoing.end(body);
  const response = await promise;
  return {
    status: response.statusCode ?? 0,
    lines: createInterface({ input: response, crlfDelay: Number.POSITIVE_INFINITY }),
  };
}

/** A connection whose two directions belong to the caller once the daemon has agreed. */
async function upgradeWith(
  request: typeof http.request,
  connection: RequestOptions,
  { signal }: { readonly signal: AbortSignal },
  describe: (error: Error) => TransportError,
): Promise<ConsoleStream> {
  const headers = { ...connection.headers, connection: "Upgrade", upgrade: consoleProtocol };
  const { promise, resolve, reject } = Promise.withResolvers<ConsoleStream>();
  const outgoing = request({
    ...connection,
    method: "POST",
    path: consolePath,
    headers,
    agent: false,
  });
  const abort = () => outgoing.destroy();
  signal.addEventListener("abort", abort, { once: true });
  outgoing.on("error", (error) => reject(signal.aborted ? signal.reason : describe(error)));
  outgoing.on("upgrade", (_, socket, head) => {
    if (head.byteLength > 0) socket.unshift(head);
    resolve(new FrameSocket(socket));
  });
  outgoing.on("response", (response) => {
    response.setEncoding("utf8");
    response.toArray().then(
      (parts) => reject(problemFrom(response.statusCode ?? 0, parts.join(""))),
      (error: Error) => reject(describe(error)),
    );
  });
  outgoing.end();
  return await promise.finally(() => signal.removeEventListener("abort", abort));
}
