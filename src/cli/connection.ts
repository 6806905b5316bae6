import { existsSync, readFileSync } from "node:fs";
import { ApiClient } from "../api/index.ts";
import { socketTransport, tlsTransport } from "../api/io/http-transport.ts";
import { messageOf } from "../kernel/index.ts";
import { decodeToken } from "../network/token.ts";
import { CliError } from "./cli-error.ts";

const defaultPort = 7946;

/** Where the daemon's local socket may be: as root, else under the user's own data directory. */
export function defaultSocketPaths(environment: NodeJS.ProcessEnv): readonly string[] {
  const own = environment["SKEIN_DATA_DIR"];
  return [
    ...(own === undefined ? [] : [`${own}/skein.sock`]),
    "/run/skein/skein.sock",
    ...(environment["HOME"] === undefined
      ? []
      : [`${environment["HOME"]}/.local/share/skein/skein.sock`]),
  ];
}

/**
 * The daemon to talk to: `--host` or `SKEIN_HOST` with `SKEIN_TOKEN` or a file that holds the
 * token, else this machine's own. A host that is a path (or `unix:PATH`) names a socket.
 * There is no flag for the token itself: `ps` shows arguments to everybody.
 */
export function connect(
  options: { readonly host?: string; readonly tokenFile?: string },
  environment: NodeJS.ProcessEnv,
): ApiClient {
  const wanted = options.host ?? environment["SKEIN_HOST"];
  if (wanted === undefined || wanted === "") {
    const paths = defaultSocketPaths(environment);
    const path = paths.find((each) => existsSync(each)) ?? paths[0] ?? "";
    return new ApiClient(socketTransport(path));
  }
  if (wanted.startsWith("/") || wanted.startsWith("unix:")) {
    return new ApiClient(socketTransport(wanted.replace(/^unix:(\/\/)?/, "")));
  }
  const text = readToken(options.tokenFile, environment);
  if (text === undefined || text === "") {
    throw new CliError(
      "usage",
      `To talk to ${wanted}, set SKEIN_TOKEN to a token (or --token-file to a file that holds it) made on a cluster node with: skein token create --role admin`,
    );
  }
  const token = decodeToken(text);
  const address = hostAndPort(wanted);
  return new ApiClient(
    tlsTransport({
      ...address,
      bearer: `${token.tokenId}.${token.secret}`,
      caFingerprint: token.caFingerprint,
    }),
  );
}

/** What the command line says outranks the environment. */
function readToken(
  tokenFile: string | undefined,
  environment: NodeJS.ProcessEnv,
): string | undefined {
  if (tokenFile === undefined && environment["SKEIN_TOKEN"]) return environment["SKEIN_TOKEN"];
  const file = tokenFile ?? environment["SKEIN_TOKEN_FILE"];
  if (file === undefined || file === "") return undefined;
  try {
    return readFileSync(file, "utf8").trim();
  } catch (error) {
    throw new CliError("usage", `The token file ${file} cannot be read: ${messageOf(error)}`);
  }
}

function hostAndPort(text: string): { readonly host: string; readonly port: number } {
  const match = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d{1,5}))?$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = match?.[3] === undefined ? defaultPort : Number(match[3]);
  if (host === undefined || port < 1 || port > 65_535) {
    throw new CliError("usage", `"${text}" is no address. Write HOST or HOST:PORT`);
  }
  return { host, port };
}
