import type { Socket } from "node:net";
import { ChunkedScanner } from "../chunked.ts";
import { parseRequestHead, type RequestHead } from "../http-head.ts";
import { answerText } from "./answers.ts";
import type { ProxyContext } from "./context.ts";
import type { LiveBackend } from "./find-endpoint.ts";
import { forwardRequest } from "./forward-request.ts";
import { type ExchangeClient, HttpExchange } from "./http-exchange.ts";
import {
  bodyStallTimeoutMs,
  clientIdleTimeoutMs,
  headTimeoutMs,
  lingerTimeoutMs,
  pipelinedMaxBytes,
  slowReaderTimeoutMs,
} from "./limits.ts";
import type { ServedConnection } from "./tcp-listener.ts";

/** What a request leads to; undefined when nothing is published there. */
export type RouteRequest = (host: string, target: string) => LiveBackend | undefined;

/**
 * - `head`: reading a request's head, or waiting for one.
 * - `body`: passing its body on. - `answer`: all sent, the answer is coming.
 * - `tunnel`: upgraded. - `closing`: the last answer is going out; input is discarded.
 */
type Phase = "head" | "body" | "answer" | "tunnel" | "closing";

/** A client's HTTP/1 connection: one request after another, each sent where its route leads. */
export class ClientConnection implements ExchangeClient, ServedConnection {
  readonly #socket: Socket;
  readonly #route: RouteRequest;
  readonly #context: ProxyContext;
  readonly #address: string;
  #phase: Phase = "head";
  #exchange: HttpExchange | undefined;
  /** Received but not yet used: a part of a head, a body before its upstream, or further requests. */
  #pending: Buffer | undefined;
  #leftBytes = 0;
  #chunked: ChunkedScanner | undefined;
  #isUpstreamReady = false;
  #hasInputEnded = false;
  #isDraining = false;
  #deadlineMs: number;

  constructor(socket: Socket, route: RouteRequest, context: ProxyContext) {
    this.#socket = socket;
    this.#route = route;
    this.#context = context;
    this.#address = plainAddress(socket.remoteAddress ?? "unknown");
    this.#deadlineMs = context.nowMs() + headTimeoutMs;
    socket.on("data", (chunk: Buffer) => this.#onData(chunk));
    socket.on("drain", () => this.#onDrain());
    socket.on("end", () => this.#onEnd());
    socket.on("close", () => this.#exchange?.abort());
  }

  /** Begins with what was already read from the socket. */
  start(first?: Buffer): void {
    if (first !== undefined) this.#onData(first);
    this.#socket.resume();
  }

  drain(): void {
    this.#isDraining = true;
    if (this.#exchange !== undefined) this.#exchange.keepsAlive = false;
    else if (this.#phase === "head" && this.#pending === undefined) this.#close();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  checkDeadline(nowMs: number): void {
    if (nowMs < this.#deadlineMs) return;
    const isWithinHead = this.#phase === "head" && this.#pending !== undefined;
    if (isWithinHead) this.#refuse(408, "The request's head did not arrive in time.");
    else this.#socket.destroy();
  }

  respond(data: string | Buffer): boolean {
    const isOpen =
      typeof data === "string" ? this.#socket.write(data, "latin1") : this.#socket.write(data);
    if (!isOpen) this.#deadlineMs = this.#context.nowMs() + slowReaderTimeoutMs;
    return isOpen;
  }

  upstreamReady(): void {
    this.#isUpstreamReady = true;
    if (this.#phase !== "body") return;
    const held = this.#pending;
    this.#pending = undefined;
    this.#socket.resume();
    if (held !== undefined) this.#readBody(held);
  }

  upstreamDrained(): void {
    if (this.#phase === "body" || this.#phase === "tunnel") this.#socket.resume();
  }

  upgraded(): void {
    this.#phase = "tunnel";
    this.#deadlineMs = Number.POSITIVE_INFINITY;
    this.#socket.setKeepAlive(true, clientIdleTimeoutMs);
    const held = this.#pending;
    this.#pending = undefined;
    this.#socket.resume();
    if (held !== undefined) this.#onData(held);
    if (this.#hasInputEnded) this.#exchange?.endTunnel();
  }

  tunnelEnded(): void {
    this.#socket.end();
  }

  exchangeEnded({ keepsAlive }: { readonly keepsAlive: boolean }): void {
    this.#exchange = undefined;
    if (!keepsAlive || this.#hasInputEnded || this.#isDraining) {
      this.#close();
      return;
    }
    this.#phase = "head";
    this.#deadlineMs = this.#context.nowMs() + clientIdleTimeoutMs;
    const held = this.#pending;
    this.#pending = undefined;
    this.#socket.resume();
    if (held !== undefined) this.#onData(held);
  }

  exchangeFailed(failure: { readonly hasAnswered: boolean; readonly message: string }): void {
    this.#exchange = undefined;
    if (this.#phase === "tunnel") this.#socket.destroySoon();
    // Half an answer must not look like a whole one.
    else if (failure.hasAnswered) this.#socket.destroy();
    else this.#refuse(502, failure.message);
  }

  #onData(chunk: Buffer): void {
    switch (this.#phase) {
      case "head":
        this.#readHead(chunk);
        break;
      case "body":
        if (this.#isUpstreamReady) this.#readBody(chunk);
        else this.#hold(chunk);
        break;
      case "answer":
        this.#hold(chunk);
        break;
      case "tunnel":
        if (this.#exchange?.write(chunk) === false) this.#socket.pause();
        break;
      case "closing":
        break;
    }
  }

  /** Keeps input for its turn, and stops the client when it sends too far ahead. */
  #hold(chunk: Buffer): void {
    this.#pending = this.#pending === undefined ? chunk : Buffer.concat([this.#pending, chunk]);
    if (this.#pending.length > pipelinedMaxBytes) this.#socket.pause();
  }

  #readHead(chunk: Buffer): void {
    const { nowMs } = this.#context;
    if (this.#pending === undefined) this.#deadlineMs = nowMs() + headTimeoutMs;
    const bytes = this.#pending === undefined ? chunk : Buffer.concat([this.#pending, chunk]);
    // Some clients end a body with a CRLF too many (RFC 9112, 2.2).
    const start = bytes[0] === 13 && bytes[1] === 10 ? 2 : 0;
    const head = parseRequestHead(bytes, start, bytes.length);
    switch (head.kind) {
      case "incomplete":
        this.#pending = bytes;
        break;
      case "malformed":
        this.#refuse(head.status);
        break;
      case "request":
        this.#pending = undefined;
        this.#startRequest(head, bytes);
        break;
    }
  }

  #startRequest(head: RequestHead, bytes: Buffer): void {
    const backend = this.#route(head.host, head.target);
    if (backend === undefined) {
      const place = head.host === "" ? "a request without a host" : head.host;
      this.#refuse(404, `Nothing is published here for ${place} and this path.`);
      return;
    }
    if (backend.balancer.size === 0) {
      const message = `Service ${backend.service} has no replica that can take requests now.`;
      this.#refuse(503, message);
      return;
    }
    const { request, bodyEnd } = forwardRequest(head, bytes, {
      clientAddress: this.#address,
      keepsAlive: !this.#isDraining,
    });
    const { isWhole } = request;
    const restStart = isWhole ? bodyEnd : head.end;
    if (restStart < bytes.length) this.#hold(bytes.subarray(restStart));
    this.#startExchange(
      new HttpExchange(request, backend, { context: this.#context, client: this }),
      {
        head,
        isWhole,
      },
    );
  }

  #startExchange(
    exchange: HttpExchange,
    { head, isWhole }: { readonly head: RequestHead; readonly isWhole: boolean },
  ): void {
    this.#exchange = exchange;
    this.#isUpstreamReady = false;
    if (isWhole) {
      this.#answerComes();
    } else {
      this.#phase = "body";
      this.#chunked = head.isChunked ? new ChunkedScanner() : undefined;
      this.#leftBytes = head.contentLength;
      this.#deadlineMs = this.#context.nowMs() + bodyStallTimeoutMs;
    }
    exchange.start();
  }

  #readBody(chunk: Buffer): void {
    this.#deadlineMs = this.#context.nowMs() + bodyStallTimeoutMs;
    const end = this.#chunked === undefined ? this.#passLength(chunk) : this.#passChunks(chunk);
    if (end === undefined) return;
    this.#exchange?.requestSent();
    this.#answerComes();
    if (end < chunk.length) this.#hold(chunk.subarray(end));
  }

  /** Where the body ended in `chunk`; undefined when it has not. */
  #passLength(chunk: Buffer): number | undefined {
    const taken = Math.min(chunk.length, this.#leftBytes);
    this.#leftBytes -= taken;
    const isOpen = this.#exchange?.write(taken < chunk.length ? chunk.subarray(0, taken) : chunk);
    if (this.#leftBytes === 0) return taken;
    if (isOpen === false) this.#socket.pause();
    return undefined;
  }

  #passChunks(chunk: Buffer): number | undefined {
    const scanner = this.#chunked;
    if (scanner === undefined) return undefined;
    const forward = scanner.scan(chunk, 0, chunk.length);
    if (forward < 0) {
      this.#exchange?.abort();
      this.#exchange = undefined;
      this.#refuse(400, "The request's chunked body is malformed.");
      return undefined;
    }
    const isOpen = forward === 0 || this.#exchange?.write(chunk.subarray(0, forward));
    if (scanner.isDone) {
      this.#exchange?.write("\r\n");
      return scanner.consumed;
    }
    if (isOpen === false) this.#socket.pause();
    return undefined;
  }

  /** An answer may take as long as the replica needs. */
  #answerComes(): void {
    this.#phase = "answer";
    this.#deadlineMs = Number.POSITIVE_INFINITY;
  }

  #onDrain(): void {
    if (this.#phase === "answer" || this.#phase === "tunnel") {
      this.#deadlineMs = Number.POSITIVE_INFINITY;
    }
    this.#exchange?.clientDrained();
  }

  #onEnd(): void {
    this.#hasInputEnded = true;
    switch (this.#phase) {
      case "head":
      case "closing":
        this.#socket.destroySoon();
        break;
      case "body":
        this.#socket.destroy();
        break;
      case "tunnel":
        this.#exchange?.endTunnel();
        break;
      case "answer":
        break;
    }
  }

  /** Answers in the place of a replica; the connection ends with it. */
  #refuse(status: number, message?: string): void {
    this.#context.counters.refusals += 1;
    if (this.#socket.writable) this.#socket.write(answerText(status, message), "latin1");
    this.#close();
  }

  /**
   * Ends the connection, but goes on reading for a moment: closing while the client still
   * sends would reset the connection and could destroy the answer on its way.
   */
  #close(): void {
    this.#phase = "closing";
    this.#pending = undefined;
    this.#deadlineMs = this.#context.nowMs() + lingerTimeoutMs;
    if (this.#hasInputEnded) {
      this.#socket.destroySoon();
      return;
    }
    this.#socket.end();
    this.#socket.resume();
  }
}

/** An IPv4 address as such, also where the listener is an IPv6 one. */
function plainAddress(address: string): string {
  return address.startsWith("::ffff:") ? address.slice(7) : address;
}
