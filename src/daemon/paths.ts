import { join } from "node:path";
import { SettingsError } from "./settings.ts";

/** Where a daemon keeps its files. */
export type Paths = {
  readonly data: string;
  readonly log: string;
  readonly events: string;
  readonly containers: string;
  /** Sockets: under /run where the data directory is the system's, else beside the data. */
  readonly run: string;
  /** The API for this machine's root, or whoever owns the data directory. */
  readonly apiSocket: string;
  /** The API for remote clients, behind the proxy's TLS; asks for a token. */
  readonly remoteApiSocket: string;
  /** Where the proxy asks for the way to nodes that nobody can connect to. */
  readonly detourSocket: string;
  /** Changes that wait for a quorum. */
  readonly intents: string;
  readonly proxySocket: string;
  readonly proxyLog: string;
};

/** The kernel's limit for the path of a unix socket, the final zero included. */
const maxSocketPathBytes = 108;

export function pathsOf(dataDirectory: string): Paths {
  const run = dataDirectory === "/var/lib/skein" ? "/run/skein" : dataDirectory;
  const remoteApiSocket = join(run, "skein-remote.sock");
  if (Buffer.byteLength(remoteApiSocket) >= maxSocketPathBytes) {
    throw new SettingsError(
      "usage",
      `--data-dir: the path ${dataDirectory} is too long for the sockets in it (at most 86 bytes).`,
    );
  }
  return {
    data: dataDirectory,
    log: join(dataDirectory, "raft"),
    events: join(dataDirectory, "events"),
    containers: join(dataDirectory, "processes"),
    intents: join(dataDirectory, "intents"),
    run,
    apiSocket: join(run, "skein.sock"),
    remoteApiSocket,
    detourSocket: join(run, "detour.sock"),
    proxySocket: join(run, "proxy.sock"),
    proxyLog: join(dataDirectory, "proxy.log"),
  };
}
