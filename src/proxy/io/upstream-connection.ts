import type { Socket } from "node:net";
import { ChunkedScanner } from "../chunked.ts";
import { keptFields, parseResponseHead, type ResponseHead } from "../http-head.ts";
import type { EndpointUse, Exchange, UpstreamFailure } from "./exchange.ts";
import { interimAnswersMax, singleWriteMaxBytes } from "./limits.ts";

/** What a connection belongs to: its endpoint. */
export interface ConnectionOwner {
  beginUse(use: EndpointUse): void;
  endUse(use: EndpointUse): void;
  release(connection: UpstreamConnection): void;
  forget(connection: UpstreamConnection): void;
}

type Phase = "head" | "length" | "chunked" | "until-close" | "tunnel";

/**
 * A connection to an endpoint that carries one exchange after another. It reads answers as
 * strictly as requests are read: bytes beyond an answer, or between two, end the connection,
 * so that no client gets another one's answer.
 */
export class UpstreamConnection {
  readonly #socket: Socket;
  readonly #endpoint: ConnectionOwner;
  #exchange: Exchange | undefined;
  #phase: Phase = "head";
  #pending: Buffer | undefined;
  #leftBytes = 0;
  #chunked = new ChunkedScanner();
  #interimAnswers = 0;
  #hasAnswered = false;
  #wasReused = false;
  #isReusable = true;
  #idleSinceMs = 0;

  constructor(socket: Socket, endpoint: ConnectionOwner) {
    this.#socket = socket;
    this.#endpoint = endpoint;
    socket.on("data", (chunk: Buffer) => this.#onData(chunk));
    socket.on("drain", () => this.#exchange?.upstreamDrained());
    socket.on("end", () => this.#onEnd());
    socket.on("close", () => this.#onClose());
    socket.resume();
  }

  get idleSinceMs(): number {
    return this.#idleSinceMs;
  }

  get hasAnswered(): boolean {
    return this.#hasAnswered;
  }

  /** Starts an exchange; `text` is the request's head, with its body when that is short. */
  begin(exchange: Exchange, text: string): void {
    this.#exchange = exchange;
    this.#phase = "head";
    this.#hasAnswered = false;
    this.#interimAnswers = 0;
    this.#isReusable = true;
    this.#endpoint.beginUse(exchange);
    this.#socket.write(text, "latin1");
    // Destroyed between being chosen and being used: its close event has been and gone.
    if (this.#socket.destroyed) queueMicrotask(() => this.#onClose());
  }

  /** Sends more of the request. `false`: wait for `upstreamDrained`. */
  write(data: string | Buffer): boolean {
    return typeof data === "string" ? this.#socket.write(data, "latin1") : this.#socket.write(data);
  }

  resume(): void {
    this.#socket.resume();
  }

  /** The client ended its side of a tunnel. */
  endTunnel(): void {
    this.#socket.end();
  }

  /** Back to the idle ones of its endpoint. */
  release(nowMs: number): void {
    this.#wasReused = true;
    this.#idleSinceMs = nowMs;
    this.#socket.resume();
    this.#endpoint.release(this);
  }

  /** Closes it without telling its exchange. */
  destroy(): void {
    this.#finish();
    this.#endpoint.forget(this);
    this.#socket.destroy();
  }

  #onData(chunk: Buffer): void {
    const exchange = this.#exchange;
    if (exchange === undefined) {
      this.destroy();
      return;
    }
    this.#hasAnswered = true;
    switch (this.#phase) {
      case "head":
        this.#readHead(exchange, chunk);
        break;
      case "length":
        this.#readLength(exchange, chunk);
        break;
      case "chunked":
        this.#readChunked(exchange, chunk);
        break;
      case "until-close":
      case "tunnel":
        this.#pass(exchange, chunk);
        break;
    }
  }

  #readHead(exchange: Exchange, chunk: Buffer): void {
    const bytes = this.#pending === undefined ? chunk : Buffer.concat([this.#pending, chunk]);
    this.#pending = undefined;
    let start = 0;
    for (;;) {
      const head = parseResponseHead(bytes, start, bytes.length);
      if (head.kind === "incomplete") {
        this.#pending = bytes.subarray(start);
        return;
      }
      if (head.kind === "malformed") {
        this.#fail("malformed");
        return;
      }
      if (head.status >= 200) {
        this.#startAnswer(exchange, head, bytes, start);
        return;
      }
      if (head.status === 101) {
        this.#startTunnel(exchange, bytes, start, head.end);
        return;
      }
      this.#interimAnswers += 1;
      if (this.#interimAnswers > interimAnswersMax) {
        this.#fail("malformed");
        return;
      }
      if (!exchange.isHttp10) exchange.respond(`${startLine(bytes, start, head)}\r\n`);
      start = head.end;
      if (start === bytes.length) return;
    }
  }

  #startTunnel(exchange: Exchange, bytes: Buffer, start: number, headEnd: number): void {
    if (!exchange.asksUpgrade) {
      this.#fail("malformed");
      return;
    }
    this.#phase = "tunnel";
    // As it came: Connection and Upgrade are what the client waits for.
    exchange.respond(bytes.toString("latin1", start, headEnd));
    if (headEnd < bytes.length) this.#pass(exchange, bytes.subarray(headEnd));
    exchange.upgraded();
  }

  #startAnswer(exchange: Exchange, head: ResponseHead, bytes: Buffer, start: number): void {
    const { status } = head;
    const isBodyless = exchange.isHead || status === 204 || status === 304;
    // The request went out as HTTP/1.0, to which chunks must not be the answer.
    if (head.isChunked && exchange.isHttp10 && !isBodyless) {
      this.#fail("malformed");
      return;
    }
    this.#isReusable = !head.asksClose && (!head.isHttp10 || head.asksKeepAlive);
    const hasLength = head.contentLength >= 0;
    const endsAtClose = !isBodyless && !head.isChunked && !hasLength;
    if (endsAtClose) {
      this.#isReusable = false;
      exchange.keepsAlive = false;
    }
    const text = startLine(bytes, start, head) + connectionLine(exchange);
    const bodyStart = head.end;
    if (isBodyless || head.contentLength === 0) {
      if (bodyStart < bytes.length) this.#isReusable = false;
      exchange.respond(text);
      this.#end(exchange);
    } else if (head.isChunked) {
      this.#phase = "chunked";
      this.#chunked = new ChunkedScanner();
      exchange.respond(text);
      if (bodyStart < bytes.length) this.#readChunked(exchange, bytes.subarray(bodyStart));
    } else if (hasLength) {
      this.#phase = "length";
      this.#leftBytes = head.contentLength;
      this.#startLength(exchange, text, bytes.subarray(bodyStart));
    } else {
      this.#phase = "until-close";
      exchange.respond(text);
      if (bodyStart < bytes.length) this.#pass(exchange, bytes.subarray(bodyStart));
    }
  }

  /** The usual case: a short answer is one string and one write. */
  #startLength(exchange: Exchange, text: string, body: Buffer): void {
    if (body.length > 0 && text.length + body.length <= singleWriteMaxBytes) {
      const taken = Math.min(body.length, this.#leftBytes);
      if (body.length > taken) this.#isReusable = false;
      this.#leftBytes -= taken;
      const isOpen = exchange.respond(text + body.toString("latin1", 0, taken));
      if (this.#leftBytes === 0) this.#end(exchange);
      else if (!isOpen) this.#socket.pause();
    } else {
      exchange.respond(text);
      if (body.length > 0) this.#readLength(exchange, body);
    }
  }

  #readLength(exchange: Exchange, chunk: Buffer): void {
    let body = chunk;
    if (chunk.length > this.#leftBytes) {
      this.#isReusable = false;
      body = chunk.subarray(0, this.#leftBytes);
    }
    this.#leftBytes -= body.length;
    const isOpen = exchange.respond(body);
    if (this.#leftBytes === 0) this.#end(exchange);
    else if (!isOpen) this.#socket.pause();
  }

  #readChunked(exchange: Exchange, chunk: Buffer): void {
    const forward = this.#chunked.scan(chunk, 0, chunk.length);
    if (forward < 0) {
      this.#fail("malformed");
      return;
    }
    const { isDone } = this.#chunked;
    if (isDone && this.#chunked.consumed < chunk.length) this.#isReusable = false;
    let isOpen = true;
    if (forward > 0)
      isOpen = exchange.respond(forward < chunk.length ? chunk.subarray(0, forward) : chunk);
    if (isDone) {
      exchange.respond("\r\n");
      this.#end(exchange);
    } else if (!isOpen) {
      this.#socket.pause();
    }
  }

  #pass(exchange: Exchange, chunk: Buffer): void {
    if (!exchange.respond(chunk)) this.#socket.pause();
  }

  #end(exchange: Exchange): void {
    this.#finish();
    exchange.responseEnded({ isReusable: this.#isReusable });
  }

  #onEnd(): void {
    const exchange = this.#exchange;
    if (exchange !== undefined && this.#phase === "tunnel") {
      exchange.tunnelEnded();
    } else if (exchange !== undefined && this.#phase === "until-close") {
      this.#end(exchange);
    } else {
      this.#onClose();
    }
  }

  #onClose(): void {
    if (this.#exchange === undefined) this.destroy();
    else this.#fail("closed");
  }

  #fail(kind: UpstreamFailure["kind"]): void {
    const exchange = this.#exchange;
    this.destroy();
    exchange?.upstreamFailed({
      kind,
      hasAnswered: this.#hasAnswered,
      wasReused: this.#wasReused,
    });
  }

  #finish(): void {
    const exchange = this.#exchange;
    this.#exchange = undefined;
    this.#pending = undefined;
    this.#phase = "head";
    if (exchange !== undefined) this.#endpoint.endUse(exchange);
  }
}

/** Status line and kept fields; what the client gets is always HTTP/1.1. */
function startLine(bytes: Buffer, start: number, head: ResponseHead): string {
  const line = head.isHttp10
    ? `HTTP/1.1${bytes.toString("latin1", start + 8, head.fieldsStart)}`
    : bytes.toString("latin1", start, head.fieldsStart);
  return line + keptFields(bytes, head);
}

function connectionLine({ keepsAlive, isHttp10 }: Exchange): string {
  if (!keepsAlive) return "Connection: close\r\n\r\n";
  return isHttp10 ? "Connection: keep-alive\r\n\r\n" : "\r\n";
}
