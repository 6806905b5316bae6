import { type ChildProcess, spawn } from "node:child_process";
import { connect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { Packr, Unpackr } from "msgpackr";
import { UnableToRun } from "./errors.ts";
import { type Agents, Beliefs } from "./gossip-agents.ts";

const payloadBytes = 400;
const bindPort = 7946;
const rpcPort = 7373;
/** Any will do: it is there so that serf encrypts what it says, as we do. */
const key = Buffer.alloc(32, 9).toString("base64");
const openTries = 60;

/** serf agents with its profile for a LAN, each on a loopback address of its own, encrypted. */
export async function startSerfAgents(options: {
  readonly serf: string;
  readonly count: number;
}): Promise<Agents> {
  const agents = new SerfAgents(options.serf, options.count);
  try {
    for (const name of agents.names) await agents.start(name);
  } catch (error) {
    await agents[Symbol.asyncDispose]();
    throw error;
  }
  return agents;
}

class SerfAgents implements Agents {
  readonly name = "serf";
  readonly names: readonly string[];
  readonly beliefs = new Beliefs();
  readonly #serf: string;
  readonly #children = new Map<string, ChildProcess>();
  readonly #clients = new Map<string, SerfClient>();

  constructor(serf: string, count: number) {
    this.#serf = serf;
    this.names = Array.from({ length: count }, (_, place) => `serf-${place}`);
  }

  pids(): readonly number[] {
    return [...this.#children.values()].map(({ pid }) => pid ?? 0);
  }

  pidOf(agent: string): number {
    return this.#children.get(agent)?.pid ?? 0;
  }

  async start(agent: string): Promise<void> {
    this.beliefs.forget(agent);
    this.#clients.get(agent)?.close();
    const address = this.#addressOf(agent);
    const other = this.names.find((name) => name !== agent && this.#children.has(name));
    const joining =
      other === undefined
        ? []
        : [`-retry-join=${this.#addressOf(other)}:${bindPort}`, "-retry-interval=1s"];
    const child = spawn(
      this.#serf,
      [
        "agent",
        `-bind=${address}:${bindPort}`,
        `-rpc-addr=${address}:${rpcPort}`,
        `-node=${agent}`,
        "-log-level=err",
        `-encrypt=${key}`,
        ...joining,
      ],
      { stdio: ["ignore", "ignore", 2], detached: true },
    );
    child.on("error", () => undefined);
    this.#children.set(agent, child);
    const client = await SerfClient.open(address, {
      onEvent: (event) => this.#take(agent, event),
    });
    this.#clients.set(agent, client);
    for (const { Name: name, Status: status } of await client.members()) {
      this.beliefs.status(agent, name, status);
    }
  }

  tell(from: string, text: string): void {
    this.#clients.get(from)?.event(text, Buffer.alloc(payloadBytes));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients.values()) client.close();
    for (const child of this.#children.values()) child.kill("SIGKILL");
  }

  #take(agent: string, event: SerfEvent): void {
    if (event.Event === "user") this.beliefs.heard(agent, String(event.Name));
    const status = statusOf(event.Event);
    if (status === undefined) return;
    for (const { Name: name } of event.Members ?? []) this.beliefs.status(agent, name, status);
  }

  #addressOf(agent: string): string {
    return `127.0.1.${1 + this.names.indexOf(agent)}`;
  }
}

function statusOf(event: string): string | undefined {
  if (event === "member-join") return "alive";
  if (event === "member-failed") return "failed";
  return event === "member-leave" || event === "member-reap" ? "left" : undefined;
}

type SerfMember = { readonly Name: string; readonly Status: string };
type SerfEvent = {
  readonly Event: string;
  readonly Name?: unknown;
  readonly Members?: readonly SerfMember[];
};
type Header = { readonly Seq: number; readonly Error: string };

/** serf's RPC: a header, for some followed by a body, all of it MessagePack. */
class SerfClient {
  readonly #socket: Socket;
  readonly #packr = new Packr({ useRecords: false, encodeUndefinedAsNil: true });
  readonly #waiting = new Map<number, { hasBody: boolean; done: (body: unknown) => void }>();
  readonly #onEvent: (event: SerfEvent) => void;
  #rest = Buffer.alloc(0);
  #expects: ((body: unknown) => void) | undefined;
  #nextSeq = 0;
  #streamSeq = -1;

  constructor(socket: Socket, onEvent: (event: SerfEvent) => void) {
    this.#socket = socket;
    this.#onEvent = onEvent;
    socket.setNoDelay(true);
    socket.on("error", () => undefined);
    socket.on("data", (data: Buffer) => this.#feed(data));
  }

  static async open(
    host: string,
    { onEvent }: { readonly onEvent: (event: SerfEvent) => void },
  ): Promise<SerfClient> {
    for (let tries = 0; ; tries += 1) {
      try {
        const client = new SerfClient(await connected(host), onEvent);
        await client.#call("handshake", { Version: 1 });
        client.#streamSeq = client.#nextSeq;
        await client.#call("stream", { Type: "*" });
        return client;
      } catch {
        if (tries >= openTries) throw new UnableToRun(`No serf agent answers on ${host}.`);
        await sleep(100);
      }
    }
  }

  async members(): Promise<readonly SerfMember[]> {
    const body = (await this.#call("members", undefined, true)) as { Members: SerfMember[] };
    return body.Members;
  }

  event(name: string, payload: Uint8Array): void {
    void this.#call("event", { Name: name, Payload: payload, Coalesce: false });
  }

  close(): void {
    this.#socket.destroy();
  }

  #call(command: string, body?: unknown, hasBody = false): Promise<unknown> {
    const seq = this.#nextSeq;
    this.#nextSeq += 1;
    const { promise, resolve } = Promise.withResolvers<unknown>();
    this.#waiting.set(seq, { hasBody, done: resolve });
    this.#socket.write(this.#packr.pack({ Command: command, Seq: seq }));
    if (body !== undefined) this.#socket.write(this.#packr.pack(body));
    return promise;
  }

  #feed(data: Buffer): void {
    this.#rest = Buffer.concat([this.#rest, data]);
    const values: unknown[] = [];
    let end = 0;
    try {
      const unpackr = new Unpackr({ useRecords: false, mapsAsObjects: true });
      unpackr.unpackMultiple(this.#rest, (value: unknown, _start?: number, until?: number) => {
        values.push(value);
        end = until ?? end;
      });
    } catch {
      // The last value is not all there yet.
    }
    this.#rest = this.#rest.subarray(end);
    for (const value of values) this.#take(value);
  }

  #take(value: unknown): void {
    if (this.#expects !== undefined) {
      const done = this.#expects;
      this.#expects = undefined;
      done(value);
      return;
    }
    const { Seq: seq } = value as Header;
    const waiting = this.#waiting.get(seq);
    if (waiting !== undefined) {
      this.#waiting.delete(seq);
      if (waiting.hasBody) this.#expects = waiting.done;
      else waiting.done(undefined);
      return;
    }
    if (seq === this.#streamSeq) this.#expects = (body) => this.#onEvent(body as SerfEvent);
  }
}

function connected(host: string): Promise<Socket> {
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  const socket = connect(rpcPort, host);
  socket.once("connect", () => resolve(socket));
  socket.once("error", reject);
  return promise;
}
