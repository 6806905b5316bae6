import type { z } from "zod";
import type { ConsoleStream } from "./console-link.ts";
import {
  maxRequestBytes,
  type PlainRouteName,
  type RouteName,
  type RouteRequest,
  type RouteResponse,
  routes,
  type StreamRouteName,
} from "./contract.ts";
import { ApiError, isProblemCode, problemSchema, problemStatus } from "./problem.ts";

/** Carries one request to a daemon. Throws a CodedError `unreachable` when none answers. */
export interface ApiTransport {
  send(request: {
    readonly method: string;
    /** With the query. */
    readonly path: string;
    readonly body: string | undefined;
    readonly signal: AbortSignal;
  }): Promise<{ readonly status: number; readonly lines: AsyncIterable<string> }>;
  /** A connection for the frames of a console. @throws ApiError where the daemon refuses it. */
  openConsole?(options: { readonly signal: AbortSignal }): Promise<ConsoleStream>;
}

type Wanted<Name extends RouteName> = Partial<Omit<RouteRequest<Name>, "author" | "signal">> & {
  readonly signal: AbortSignal;
};

/** The API as typed functions. Answers are checked against the same schemas that the server uses. */
export class ApiClient {
  readonly #transport: ApiTransport;

  constructor(transport: ApiTransport) {
    this.#transport = transport;
  }

  /** @throws ApiError with the problem's code, or what the transport throws. */
  async call<Name extends PlainRouteName>(
    name: Name,
    wanted: Wanted<Name>,
  ): Promise<RouteResponse<Name>> {
    const lines = await this.#open(name, wanted);
    const text = await joined(lines);
    const schema: z.ZodType = routes[name].response;
    return schema.parse(JSON.parse(text)) as RouteResponse<Name>;
  }

  /** One document after the other, until the server ends or `signal` aborts. */
  async *stream<Name extends StreamRouteName>(
    name: Name,
    wanted: Wanted<Name>,
  ): AsyncIterable<RouteResponse<Name>> {
    const schema: z.ZodType = routes[name].response;
    for await (const line of await this.#open(name, wanted)) {
      if (line !== "") yield schema.parse(JSON.parse(line)) as RouteResponse<Name>;
    }
  }

  /** A connection for the frames of a console. @throws ApiError, or what the transport throws. */
  async openConsole(options: { readonly signal: AbortSignal }): Promise<ConsoleStream> {
    const stream = await this.#transport.openConsole?.(options);
    if (stream === undefined) throw new ApiError("internal", "There is no way to open a console.");
    return stream;
  }

  async #open<Name extends RouteName>(
    name: Name,
    { params, query, body, signal }: Wanted<Name>,
  ): Promise<AsyncIterable<string>> {
    const route = routes[name];
    const text = body === undefined ? undefined : JSON.stringify(body);
    // A daemon hangs up on a body that is too large, which would look as if there were none.
    if (text !== undefined && Buffer.byteLength(text) > maxRequestBytes) {
      throw new ApiError(
        "too_large",
        `The request has ${Buffer.byteLength(text)} bytes; a daemon takes at most ${maxRequestBytes}. Split it into several projects.`,
      );
    }
    const { status, lines } = await this.#transport.send({
      method: route.method,
      path: pathOf(route.path, params ?? {}, query ?? {}),
      body: text,
      signal,
    });
    if (status >= 200 && status < 300 && status !== problemStatus.queued) return lines;
    throw problemFrom(status, await joined(lines));
  }
}

function pathOf(pattern: string, params: object, query: object): string {
  const values = new Map<string, unknown>(Object.entries(params));
  const path = pattern.replace(/:(\w+)/g, (_, name: string) =>
    encodeURIComponent(String(values.get(name))),
  );
  const pairs = Object.entries(query).filter(([, value]) => value !== undefined);
  if (pairs.length === 0) return path;
  return `${path}?${pairs.map(([key, value]) => `${key}=${encodeURIComponent(String(value))}`).join("&")}`;
}

/** The failure that a daemon's answer tells of. */
export function problemFrom(status: number, text: string): ApiError {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return new ApiError("internal", `The daemon answered with status ${status}.`);
  }
  const problem = problemSchema.safeParse(value);
  if (!problem.success || !isProblemCode(problem.data.code)) {
    return new ApiError("internal", `The daemon answered with status ${status}.`);
  }
  return new ApiError(problem.data.code, problem.data.detail);
}

async function joined(lines: AsyncIterable<string>): Promise<string> {
  const parts: string[] = [];
  for await (const line of lines) parts.push(line);
  return parts.join("\n");
}
