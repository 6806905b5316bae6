import { connect, type Socket } from "node:net";
import {
  type ControlAnswer,
  ControlFrameReader,
  type ControlRequest,
  controlAnswerSchema,
  encodeControlFrame,
} from "../control-protocol.ts";
import { ProxyError } from "../errors.ts";
import { absorbErrors } from "./connect-tcp.ts";

/** Longer than binding many ports takes; a proxy that needs more is stuck. */
const answerTimeoutMs = 10_000;

type Waiting = PromiseWithResolvers<ControlAnswer>;

/** The daemon's end of a control connection. */
export class ControlConnection implements Disposable {
  readonly #socket: Socket;
  readonly #waiting = new Map<number, Waiting>();
  /** Resolves when the proxy has gone, or this end was closed. */
  readonly closed: Promise<void>;
  #lastId = 0;

  /** @throws ProxyError `proxy_unreachable` when nobody answers on the socket. */
  static async open(path: string): Promise<ControlConnection> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const socket = connect({ path });
    socket.once("connect", resolve);
    socket.once("error", (cause) => {
      reject(new ProxyError("proxy_unreachable", `No proxy answers at ${path}.`, { cause }));
    });
    await promise;
    return new ControlConnection(socket);
  }

  private constructor(socket: Socket) {
    this.#socket = socket;
    absorbErrors(socket);
    const reader = new ControlFrameReader();
    socket.on("data", (chunk: Buffer) => {
      try {
        for (const { id, body } of reader.push(chunk)) {
          this.#waiting.get(id)?.resolve(controlAnswerSchema.parse(body));
        }
      } catch {
        socket.destroy();
      }
    });
    const { promise, resolve } = Promise.withResolvers<void>();
    this.closed = promise;
    socket.once("close", () => {
      for (const { reject } of this.#waiting.values()) reject(gone());
      resolve();
    });
  }

  /**
   * One answer to one request.
   * @throws ProxyError `proxy_refused` with the proxy's reason; `proxy_unreachable` when it is
   * gone or says nothing.
   */
  async request<K extends ControlRequest["kind"]>(
    request: Extract<ControlRequest, { readonly kind: K }>,
    { signal }: { readonly signal: AbortSignal },
  ): Promise<Extract<ControlAnswer, { readonly kind: K }>> {
    if (this.#socket.destroyed) throw gone();
    this.#lastId += 1;
    const id = this.#lastId;
    const waiting = Promise.withResolvers<ControlAnswer>();
    this.#waiting.set(id, waiting);
    const limit = AbortSignal.any([signal, AbortSignal.timeout(answerTimeoutMs)]);
    const abort = () => waiting.reject(signal.aborted ? signal.reason : gone());
    limit.addEventListener("abort", abort, { once: true });
    if (limit.aborted) abort();
    try {
      this.#socket.write(encodeControlFrame({ id, body: request }));
      const answer = await waiting.promise;
      if (answer.kind === "refused") throw new ProxyError("proxy_refused", answer.message);
      if (!isAnswerTo(answer, request.kind)) throw gone();
      return answer;
    } finally {
      limit.removeEventListener("abort", abort);
      this.#waiting.delete(id);
    }
  }

  [Symbol.dispose](): void {
    this.#socket.destroy();
  }
}

function isAnswerTo<K extends ControlRequest["kind"]>(
  answer: ControlAnswer,
  kind: K,
): answer is Extract<ControlAnswer, { readonly kind: K }> {
  return answer.kind === kind;
}

function gone(): ProxyError {
  return new ProxyError("proxy_unreachable", "The proxy process does not answer.");
}
