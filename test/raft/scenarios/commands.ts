import { nodeId } from "../../../src/kernel/index.ts";
import type { RaftLimits } from "../../../src/raft/timing.ts";
import { type Envelope, ScenarioCluster } from "./scenario-cluster.ts";
import { type Block, type Command, listOf } from "./script.ts";

/** Runs the blocks of a script on a new cluster and gives the trace of each. */
export function runScript(blocks: readonly Block[]): readonly string[] {
  const cluster = new ScenarioCluster();
  let isQuiet = false;
  return blocks.map(({ commands }) => {
    const lines: string[] = [];
    for (const command of commands) {
      if (command.name === "quiet") isQuiet = true;
      else if (command.name === "loud") isQuiet = false;
      else run(cluster, command);
      const trace = cluster.takeTrace();
      if (!isQuiet) lines.push(...trace);
    }
    return lines.length === 0 ? "ok" : lines.join("\n");
  });
}

function run(cluster: ScenarioCluster, command: Command): void {
  const perform = performers[command.name];
  if (perform === undefined) throw new Error(`unknown command: ${command.line}`);
  try {
    perform(cluster, command);
  } catch (cause) {
    const trace = cluster.takeTrace().join("\n");
    throw new Error(`${command.line}: ${String(cause)}\n${trace}`, { cause });
  }
}

type Performer = (cluster: ScenarioCluster, command: Command) => void;

const performers: Readonly<Record<string, Performer>> = {
  // Sets the limits of nodes added later: messageBytes, uncommitted, apply, inFlight, inFlightBytes.
  limits: (cluster, { options }) => {
    const number = (key: string) => Number(options.get(key) ?? 2 ** 20);
    const limits: Partial<RaftLimits> = {
      messageBytes: number("messageBytes"),
      uncommittedBytes: number("uncommitted"),
      applyBytes: number("apply"),
      inFlight: { messages: number("inFlight"), bytes: number("inFlightBytes") },
    };
    cluster.limit(limits);
  },
  "add-nodes": addNodes,
  campaign: (cluster, { words: [name = ""] }) => {
    cluster.tickElection(name);
    const { role } = cluster.raft(name);
    if (role === "follower") cluster.note(`  ${name} does not campaign`);
  },
  "tick-election": (cluster, { words }) => {
    for (const name of words) cluster.tickElection(name);
  },
  "tick-heartbeat": (cluster, { words }) => {
    for (const name of words) cluster.act(name, (raft) => raft.tick());
  },
  tick: (cluster, { words: [name = "", count = "1"] }) => {
    for (let ticks = 0; ticks < Number(count); ticks += 1) {
      cluster.act(name, (raft) => raft.tick());
    }
  },
  deliver: (cluster, command) => {
    cluster.deliver(linksOf(command));
  },
  stabilize: (cluster, { words }) => {
    const isInside = (name: string) => words.length === 0 || words.includes(name);
    cluster.stabilize(({ from, to }) => isInside(from) && isInside(to));
  },
  drop: (cluster, command) => cluster.drop(linksOf(command)),
  park: (cluster, command) => cluster.park(linksOf(command)),
  unpark: (cluster) => cluster.unpark(),
  duplicate: (cluster, command) => cluster.duplicate(linksOf(command)),
  // `disconnect 2 1`: node 2 sees that its connection to node 1 is gone.
  disconnect: (cluster, { words: [name = "", from = ""] }) =>
    cluster.act(name, (raft) => raft.disconnected(nodeId(from))),
  reverse: (cluster) => cluster.reverse(),
  isolate: (cluster, { words }) => {
    for (const name of words) cluster.isolate(name);
  },
  heal: (cluster) => cluster.heal(),
  propose: (cluster, { words: [name = "", ...texts], options }) => {
    const size = Number(options.get("size") ?? 0);
    const data = texts.map((text) => Buffer.from(text.padEnd(size, ".")));
    cluster.act(name, (raft) => {
      const result = raft.propose(data);
      if (result.kind === "dropped") cluster.note(`  dropped: ${result.reason}`);
    });
  },
  "propose-config": (cluster, { words: [name = ""], options }) => {
    const voters = listOf(options.get("voters")).map(nodeId);
    const learners = listOf(options.get("learners")).map(nodeId);
    cluster.act(name, (raft) => {
      const result = raft.proposeConfiguration({ voters, learners });
      if (result.kind === "dropped") cluster.note(`  dropped: ${result.reason}`);
      if (result.kind === "invalid") cluster.note(`  invalid: ${result.problem}`);
      if (result.kind === "unchanged") cluster.note("  unchanged");
    });
  },
  transfer: (cluster, { words: [from = "", to = ""] }) =>
    cluster.act(from, (raft) => {
      if (!raft.transferLeadership(nodeId(to))) cluster.note("  refused");
    }),
  "read-index": (cluster, { words: [name = ""] }) =>
    cluster.act(name, (raft) => {
      const context = raft.readIndex();
      cluster.note(context === undefined ? "  refused" : `  read ${context} begins`);
    }),
  compact: (cluster, { words: [name = "", index = ""], options }) =>
    cluster.compact(name, Number(index), Number(options.get("keep") ?? 0)),
  snapshot: (cluster, { words: [name = "", index = ""] }) =>
    cluster.compact(name, Number(index), Number(index)),
  crash: (cluster, { words }) => {
    for (const name of words) cluster.crash(name);
  },
  restart: (cluster, { words }) => {
    for (const name of words) cluster.restart(name);
  },
  "hold-writes": (cluster, { words }) => {
    for (const name of words) cluster.hold(name, "writes", true);
  },
  "release-writes": (cluster, { words }) => {
    for (const name of words) cluster.hold(name, "writes", false);
  },
  sync: (cluster, { words }) => {
    for (const name of words) cluster.sync(name);
  },
  "hold-applies": (cluster, { words }) => {
    for (const name of words) cluster.hold(name, "applies", true);
  },
  applied: (cluster, { words }) => {
    for (const name of words) cluster.finishApplies(name);
  },
  log: (cluster, { words }) => {
    for (const name of words) cluster.showLog(name);
  },
  status: (cluster, { words }) => {
    for (const name of words.length === 0 ? cluster.names : words) cluster.showStatus(name);
  },
};

/** `add-nodes 3 voters=(1,2,3) learners=(4) log-2=(1,1,4)`; without voters they begin empty. */
function addNodes(cluster: ScenarioCluster, { words: [count = "1"], options }: Command): void {
  const first = cluster.names.length + 1;
  const voters = listOf(options.get("voters")).map(nodeId);
  const learners = listOf(options.get("learners")).map(nodeId);
  for (let number = first; number < first + Number(count); number += 1) {
    const name = String(number);
    const terms = listOf(options.get(`log-${name}`)).map(Number);
    cluster.addNode(name, voters.length === 0 ? undefined : { voters, learners, terms });
  }
  cluster.takeTrace(); // How a node begins is what the script just said.
}

/** `1->2 *->3 kind=append_request first=2`: the messages on these links, or on all. */
function linksOf({ words, options }: Command): (envelope: Envelope) => boolean {
  const kind = options.get("kind");
  let left = Number(options.get("first") ?? Number.POSITIVE_INFINITY);
  const links = words.map((word) => {
    const [from = "*", to = "*"] = word.split("->");
    return { from, to };
  });
  const fits = (pattern: string, name: string) => pattern === "*" || pattern === name;
  return (envelope) => {
    const isMeant =
      (kind === undefined || envelope.message.kind === kind) &&
      (links.length === 0 ||
        links.some(({ from, to }) => fits(from, envelope.from) && fits(to, envelope.to)));
    if (isMeant) left -= 1;
    return isMeant && left >= 0;
  };
}
