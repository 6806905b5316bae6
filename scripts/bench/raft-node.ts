import type { IncomingMessage } from "node:http";
import { flushCompileCache } from "node:module";
import { join } from "node:path";
import { Packr } from "msgpackr";
import { z } from "zod";
import { Cell, nodeId, silentLogger, whenCell } from "../../src/kernel/index.ts";
import { http } from "../../src/kernel/io/http.ts";
import { systemClock, systemRandom } from "../../src/kernel/io/system.ts";
import { loadCredentials } from "../../src/network/io/credentials.ts";
import { loadOrCreateIdentity } from "../../src/network/io/identity.ts";
import { startLibp2pNetwork } from "../../src/network/io/libp2p-network.ts";
import {
  createPeerTransport,
  type RaftStateMachine,
  raftTimings,
  startRaft,
} from "../../src/raft/index.ts";
import { openFileLogStorage } from "../../src/raft/io/file-log-storage.ts";

/**
 * One member of our log as a process: network, disk and runner as in the daemon, with a map of
 * keys above and etcd's JSON gateway in front. Ends with its parent.
 */
export type RaftNodeOrders = {
  readonly directory: string;
  /** Which of the members this is. The first one begins the cluster and takes in the others. */
  readonly place: number;
  readonly members: readonly { readonly nodeId: string; readonly port: number }[];
  readonly httpPort: number;
};

export type RaftNodeStatus = {
  readonly self: string;
  readonly leader: string | null;
  readonly voters: number;
  /** Puts applied so far. */
  readonly revision: number;
};

const packr = new Packr({ useRecords: false });
const putSchema = z.object({ key: z.string(), value: z.string() });
const rangeSchema = z.object({ key: z.string() });

class KeyMap implements RaftStateMachine {
  revision = 0;
  #values = new Map<string, string>();

  apply({ data }: { readonly data: Uint8Array }): void {
    const { key, value } = putSchema.parse(packr.unpack(data));
    this.#values.set(key, value);
    this.revision += 1;
  }

  get(key: string): string | undefined {
    return this.#values.get(key);
  }

  snapshot(): Uint8Array {
    return packr.pack({
      revision: this.revision,
      keys: [...this.#values.keys()],
      values: [...this.#values.values()],
    });
  }

  restore(snapshot: Uint8Array): void {
    const { revision, keys, values } = packr.unpack(snapshot) as {
      revision: number;
      keys: readonly string[];
      values: readonly string[];
    };
    this.revision = revision;
    this.#values = new Map();
    for (const [place, key] of keys.entries()) this.#values.set(key, values[place] ?? "");
  }
}

const orders = JSON.parse(process.argv[2] ?? "") as RaftNodeOrders;
const stop = new AbortController();
process.once("SIGTERM", () => stop.abort());
process.once("disconnect", () => stop.abort());
await run(orders, stop.signal);
// What may still be open has nothing to say any more.
process.exit(0);

async function run({ directory, place, members, httpPort }: RaftNodeOrders, signal: AbortSignal) {
  await using started = new AsyncDisposableStack();
  const onFatal = (error: unknown): never => {
    console.error(error);
    process.exit(1);
  };
  const identity = await loadOrCreateIdentity(directory);
  const credentials = loadCredentials(directory);
  if (credentials === undefined) throw new Error(`There are no credentials in ${directory}.`);
  const parts = { clock: systemClock, random: systemRandom, logger: silentLogger };
  const ids = members.map((member) => nodeId(member.nodeId));
  const ports = new Map(members.map((member) => [nodeId(member.nodeId), member.port]));
  const network = started.use(
    await startLibp2pNetwork({
      ...parts,
      identity,
      credentials,
      listen: { host: "127.0.0.1", port: ports.get(identity.nodeId) ?? 0 },
      addressOf: (node) => `127.0.0.1:${ports.get(node)}`,
      members: new Cell<ReadonlySet<ReturnType<typeof nodeId>>>(new Set(ids)),
    }),
  );
  const storage = started.use(
    await openFileLogStorage({ directory: join(directory, "log"), onFatal }),
  );
  const transport = started.use(createPeerTransport({ ...parts, network }));
  const map = new KeyMap();
  const raft = started.use(
    await startRaft({
      ...parts,
      self: identity.nodeId,
      storage,
      stateMachine: map,
      transport,
      timing: raftTimings.lan,
      bootstrap: place === 0,
      onFatal,
    }),
  );
  const statusOf = (): RaftNodeStatus => {
    const { leader, voters } = raft.status.get();
    const { revision } = map;
    return { self: identity.nodeId, leader: leader ?? null, voters: voters.length, revision };
  };
  const server = http.createServer((request, response) => {
    const answer = async () => {
      if (request.method === "GET") return statusOf();
      const header = () => ({ revision: String(map.revision) });
      if (request.url === "/v3/kv/range") {
        const { key } = rangeSchema.parse(JSON.parse(await bodyOf(request)));
        await raft.barrier({ signal });
        const value = map.get(key);
        const kvs = value === undefined ? [] : [{ key, value }];
        return { header: header(), kvs, count: String(kvs.length) };
      }
      const put = putSchema.parse(JSON.parse(await bodyOf(request)));
      await raft.propose(packr.pack(put), { signal });
      return { header: header() };
    };
    answer().then(
      (body) => {
        const text = JSON.stringify(body);
        response.writeHead(200, { "content-type": "application/json" }).end(text);
      },
      (error: unknown) => response.writeHead(500).end(String(error)),
    );
  });
  server.listen(httpPort, "127.0.0.1");
  started.defer(() => server.closeAllConnections());
  if (place === 0 && raft.status.get().voters.length < ids.length) {
    await whenCell(network.connected, (peers) => peers.size === ids.length - 1, { signal });
    await whenCell(raft.status, ({ leader }) => leader === identity.nodeId, { signal });
    // Members may be changed once the leader has committed an entry of its own term.
    await raft.barrier({ signal });
    await raft.changeConfiguration({ voters: ids, learners: [] }, { signal });
  }
  // As the daemon does.
  flushCompileCache();
  const { promise, resolve } = Promise.withResolvers<void>();
  signal.addEventListener("abort", () => resolve(), { once: true });
  if (!signal.aborted) await promise;
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  let body = "";
  request.setEncoding("utf8");
  for await (const chunk of request as AsyncIterable<string>) body += chunk;
  return body;
}
