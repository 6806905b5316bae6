import { rm } from "node:fs/promises";
import type { IncomingMessage } from "node:http";
import { Readable } from "node:stream";
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from "fastify";
import { z } from "zod";
import { type Clock, codeOf, type Logger, messageOf } from "../../kernel/index.ts";
import { type Handlers, maxRequestBytes, type RouteName, routes } from "../contract.ts";
import { isProblemCode, type ProblemCode, problemOf, problemStatus } from "../problem.ts";
import { type OpenConsole, serveConsoles, whyUnauthorized } from "./console-upgrade.ts";

type ServerOptions = {
  readonly handlers: Handlers;
  /** Unix socket to listen on; what stands there from an earlier run is removed. */
  readonly socketPath: string;
  /**
   * Whether the bearer token of a request may do this. Absent on the local socket, whose
   * file permissions are the check.
   */
  readonly authorize?: (bearer: string | undefined) => boolean;
  /** Absent where nothing runs that a console could be opened to. */
  readonly consoles?: { readonly open: OpenConsole; readonly clock: Clock };
  readonly logger: Logger;
};

/** Serves the API on a unix socket. Disposing it ends open streams. */
export async function startApiServer(options: ServerOptions): Promise<AsyncDisposable> {
  const { handlers, socketPath, authorize, consoles, logger } = options;
  const app = fastify({ bodyLimit: maxRequestBytes, forceCloseConnections: true });
  const closing = new AbortController();

  const isAllowed = ({ headers }: IncomingMessage) =>
    authorize?.(/^Bearer (\S+)$/.exec(headers.authorization ?? "")?.[1]) ?? true;
  app.addHook("onRequest", async (request, reply) => {
    if (!isAllowed(request.raw)) await fail(reply, "unauthorized", whyUnauthorized);
  });
  if (consoles !== undefined) {
    serveConsoles(app.server, { ...consoles, isAllowed, signal: closing.signal });
  }
  for (const name of Object.keys(routes) as RouteName[]) {
    addRoute(app, name, handlers, closing.signal);
  }
  app.setNotFoundHandler((request, reply) =>
    fail(reply, "not_found", `There is no ${request.method} ${request.url} in this API.`),
  );
  app.setErrorHandler(async (error, request, reply) => {
    const code = problemCodeOf(error);
    if (code === "internal") {
      logger.error({ error: messageOf(error), url: request.url }, "request failed");
    }
    await fail(
      reply,
      code,
      error instanceof z.ZodError ? z.prettifyError(error) : messageOf(error),
    );
  });

  await rm(socketPath, { force: true });
  await app.listen({ path: socketPath });
  return {
    [Symbol.asyncDispose]: async () => {
      closing.abort();
      await app.close();
    },
  };
}

function addRoute(
  app: FastifyInstance,
  name: RouteName,
  handlers: Handlers,
  closing: AbortSignal,
): void {
  const route = routes[name];
  app.route({
    method: route.method,
    url: route.path,
    handler: async (request, reply) => {
      const gone = new AbortController();
      reply.raw.on("close", () => gone.abort());
      const checked = {
        params: route.params.parse(request.params),
        query: route.query.parse(request.query),
        body: bodyOf(route.body, request),
        author: authorOf(request),
        signal: AbortSignal.any([gone.signal, closing]),
      };
      // The table ties each name to its own request type, which a loop over names cannot see.
      const handler = handlers[name] as unknown as (request: typeof checked) => unknown;
      if (!("stream" in route)) return await handler(checked);
      const documents = handler(checked) as AsyncIterable<unknown>;
      reply.type("application/x-ndjson");
      return Readable.from(linesOf(documents), { objectMode: false, highWaterMark: 64 * 1024 });
    },
  });
}

/** A token's id is public, its secret is not. The local socket's file permissions know no names. */
function authorOf({ headers }: FastifyRequest): string {
  const tokenId = /^Bearer ([^.\s]{1,64})\./.exec(headers.authorization ?? "")?.[1];
  return tokenId === undefined ? "local" : `token ${tokenId}`;
}

function bodyOf(schema: z.ZodType | undefined, request: FastifyRequest): unknown {
  return schema === undefined ? undefined : schema.parse(request.body);
}

async function* linesOf(documents: AsyncIterable<unknown>): AsyncIterable<string> {
  for await (const document of documents) yield `${JSON.stringify(document)}\n`;
}

function problemCodeOf(error: unknown): ProblemCode {
  if (error instanceof z.ZodError) return "invalid";
  const code = codeOf(error);
  if (isProblemCode(code)) return code;
  if (code === "FST_ERR_CTP_BODY_TOO_LARGE") return "too_large";
  if (code?.startsWith("FST_ERR_CTP") || error instanceof SyntaxError) return "invalid";
  return "internal";
}

async function fail(reply: FastifyReply, code: ProblemCode, detail: string): Promise<void> {
  await reply
    .status(problemStatus[code])
    .type("application/problem+json")
    .send(JSON.stringify(problemOf(code, detail)));
}
