import { type ChildProcess, fork } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Agents, Beliefs } from "./gossip-agents.ts";
import type { GossipNodeCommand, GossipNodeNews, GossipNodeOrders } from "./gossip-node.ts";
import { freePorts } from "./processes.ts";
import { makeMembers } from "./raft-ours.ts";

const nodeScript = fileURLToPath(new URL("./gossip-node.ts", import.meta.url));
const payloadBytes = 400;

/** Our nodes, `perProcess` of them in each process. */
export async function startOurAgents(options: {
  readonly count: number;
  readonly perProcess: number;
  readonly directory: string;
}): Promise<Agents> {
  const { count, perProcess, directory } = options;
  const ports = await freePorts(count);
  const directories = Array.from({ length: count }, (_, place) => join(directory, `node-${place}`));
  const members = await makeMembers(directories, ports);
  return new OurAgents(members, directories, perProcess);
}

class OurAgents implements Agents {
  readonly name = "ours";
  readonly names: readonly string[];
  readonly beliefs = new Beliefs();
  readonly #members: GossipNodeOrders["members"];
  readonly #directories: readonly string[];
  readonly #perProcess: number;
  /** By the place of their first node. */
  readonly #children = new Map<number, ChildProcess>();

  constructor(
    members: GossipNodeOrders["members"],
    directories: readonly string[],
    perProcess: number,
  ) {
    this.#members = members;
    this.#directories = directories;
    this.#perProcess = perProcess;
    this.names = members.map(({ nodeId }) => nodeId);
    for (let place = 0; place < members.length; place += perProcess) this.#begin(place);
  }

  pids(): readonly number[] {
    return [...this.#children.values()].map(({ pid }) => pid ?? 0);
  }

  pidOf(agent: string): number {
    return this.#childOf(agent)?.pid ?? 0;
  }

  async start(agent: string): Promise<void> {
    this.#begin(this.#placeOf(agent));
  }

  tell(from: string, key: string): void {
    const command: GossipNodeCommand = { as: from, publish: key.padEnd(payloadBytes) };
    this.#childOf(from)?.send(command);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#children.values()) child.kill("SIGKILL");
    this.#children.clear();
  }

  #placeOf(agent: string): number {
    const place = this.names.indexOf(agent);
    return place - (place % this.#perProcess);
  }

  #childOf(agent: string): ChildProcess | undefined {
    return this.#children.get(this.#placeOf(agent));
  }

  #begin(place: number): void {
    const directories = this.#directories.slice(place, place + this.#perProcess);
    const orders: GossipNodeOrders = { directories, members: this.#members };
    for (const name of this.names.slice(place, place + this.#perProcess)) {
      this.beliefs.forget(name);
    }
    const child = fork(nodeScript, [JSON.stringify(orders)], { stdio: ["ignore", 2, 2, "ipc"] });
    this.#children.set(place, child);
    child.on("error", () => undefined);
    child.on("message", (news: GossipNodeNews) => {
      if (this.#children.get(place) !== child) return;
      if (news.kind === "status") this.beliefs.status(news.on, news.of, news.status);
      else this.beliefs.heard(news.on, news.body.trimEnd());
    });
  }
}
