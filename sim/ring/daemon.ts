import { type Agent, startAgent } from "../../src/agent/index.ts";
import {
  ClusterStore,
  type Command,
  type Observations,
  type SubmitOptions,
} from "../../src/cluster/index.ts";
import { watchDigests } from "../../src/daemon/digest-watch.ts";
import { startDrainWatch } from "../../src/daemon/drain-watch.ts";
import { watchFactsKnown } from "../../src/daemon/facts-known.ts";
import { startFenceWatch } from "../../src/daemon/fence-watch.ts";
import { observe } from "../../src/daemon/observe.ts";
import { startReportLoop } from "../../src/daemon/report-loop.ts";
import { startRouteLoop } from "../../src/daemon/route-loop.ts";
import { watchSettled } from "../../src/daemon/settled.ts";
import { startVoterLoop } from "../../src/daemon/voter-loop.ts";
import { type Gossip, startGossip } from "../../src/gossip/index.ts";
import {
  type ChangeOutcome,
  decodeIntents,
  type Intent,
  IntentDesk,
  IntentQueue,
  isIntentCommand,
  noIntents,
} from "../../src/intents/index.ts";
import { Cell, type Logger, type NodeId, type ReadableCell } from "../../src/kernel/index.ts";
import type { PeerNetwork } from "../../src/network/index.ts";
import { type RaftRunner, startRaft } from "../../src/raft/index.ts";
import { type SchedulerLoop, startSchedulerLoop } from "../../src/scheduler/index.ts";
import type { Machine } from "../gossip/machine.ts";
import { simSigner } from "../gossip/signer.ts";
import type { MemoryDisk } from "../memory-disk.ts";
import type { RingContext } from "./context.ts";
import type { SimEngine } from "./engine.ts";
import { decodeOnce } from "./report-memory.ts";
import type { SimProxy } from "./sim-proxy.ts";

export const clusterId = "sim";

/** What the daemon finds on its machine. */
type Home = {
  readonly id: NodeId;
  readonly machine: Machine;
  readonly disk: MemoryDisk;
  readonly engine: SimEngine;
  readonly proxy: SimProxy;
  /** Called when this life of the daemon ends. */
  onEnd(run: () => void): void;
};

export type Daemon = {
  readonly store: ClusterStore;
  readonly raft: RaftRunner;
  readonly gossip: Gossip;
  readonly observations: ReadableCell<Observations>;
  readonly isLeader: ReadableCell<boolean>;
  readonly isSettled: ReadableCell<boolean>;
  readonly scheduler: SchedulerLoop;
  readonly agent: Agent;
  /** As the API does: what cannot be agreed for want of a quorum may be kept. */
  change(command: Command): Promise<ChangeOutcome>;
  /** What is kept here. */
  readonly intents: ReadableCell<readonly Intent[]>;
  /** A person decides about what was refused. */
  decide(number: number, what: "cancel" | "release"): Promise<unknown>;
  warnings(): readonly string[];
};

/**
 * What `startDaemon` makes of its parts, without those that do IO: no libp2p, no certificates,
 * no API; the proxy, the engine and the disk are simulated. What it begins ends with the
 * machine's clock.
 */
export async function startDaemon(
  context: RingContext,
  host: Home,
  { isFirst, seeds }: { readonly isFirst: boolean; readonly seeds: readonly NodeId[] },
): Promise<Daemon> {
  const { timing, random, links } = context;
  const { machine, id: self } = host;
  const { clock } = machine;
  const logger = loggerOf(context, host);
  const { signal } = new AbortController();
  const store = new ClusterStore();
  const members = () => {
    const { nodes } = store.state.get();
    return new Set<NodeId>(nodes.size > 0 ? nodes.keys() : [self, ...seeds]);
  };
  const admitted = new Cell<ReadonlySet<NodeId>>(members());
  const network = links.join(machine, (node) => admitted.get().has(node));
  const knownHead = new Cell(0);
  const raft = await startRaft({
    self,
    storage: host.disk.open(machine),
    stateMachine: store,
    transport: links.transport(machine, network),
    clock,
    random,
    logger,
    timing: timing.raft,
    bootstrap: isFirst,
    feeders: () => [...members()],
    knownHead,
    snapshots: timing.snapshots,
    onFatal: (error) => context.violated(`${self} has lost its log: ${String(error)}`),
    nextTurn: (run) => context.queue.after(0, () => machine.act(run)),
  });
  store.state.subscribe(() => {
    const next = members();
    if (next.symmetricDifference(admitted.get()).size === 0) return;
    admitted.set(next);
    links.admissionChanged(self);
  });
  const gossip = await startOwnGossip(context, host, { network, admitted, logger });
  const { cell: observations } = observe(gossip, decodeOnce);
  observations.subscribe(() => {
    const indexes = [...observations.get().reports.values()].map(({ logIndex = 0 }) => logIndex);
    knownHead.set(Math.max(0, ...indexes));
  });
  const submit = (command: Command, wanted: SubmitOptions) => store.submit(raft, command, wanted);
  const queue = openIntents(host.disk);
  const desk = new IntentDesk({
    queue,
    state: store.state,
    log: raft.status,
    submit,
    clock,
    random,
    logger,
  });
  const isLeader = new Cell(false);
  raft.status.subscribe(() => isLeader.set(raft.status.get().leader === self));
  const digests = watchDigests({ self, store, observations, logger });
  const state = store.state;
  startVoterLoop({ self, raft, state, observations, mayVote: async () => true, clock, logger });
  const scheduler = await startSchedulerLoop({
    isLeader,
    state,
    observations,
    submit,
    clock,
    random,
    logger,
  });
  const barrier: RaftRunner["barrier"] = (wanted) => raft.barrier(wanted);
  const fence = startFenceWatch({ self, state, barrier, clock, logger });
  const isSettled = watchSettled({ barrier, clock, logger, signal });
  const proxy = host.proxy.clientFor(machine);
  const isReady = watchFactsKnown({ self, state, observations, isSettled, clock, signal });
  const routes = startRouteLoop({ self, state, observations, proxy, isReady, clock, logger });
  const { inUse } = proxy;
  const draining = startDrainWatch({ self, state, observations, inUse, clock, logger });
  const runtime = host.engine.clientFor(machine);
  host.onEnd(() => void runtime[Symbol.asyncDispose]());
  const agent = await startAgent({
    self,
    clusterId,
    state,
    runtime,
    probes: { http: () => never(), tcp: () => never() },
    isSettled,
    drained: (task) => draining.drained.get().has(task.id),
    drainChanged: draining.drained,
    fencedOff: fence.fencedOff,
    clock,
    logger,
  });
  const info = await runtime.info({ signal }).catch(() => host.engine.memory.info);
  startReportLoop({
    self,
    fixed: {
      skeinVersion: "sim",
      runtime: info.kind,
      runtimeVersion: info.version,
      platform: { os: info.os, arch: info.arch },
      capacity: { cpuMillis: info.cpuMillis, memoryBytes: info.memoryBytes },
      httpPort: 80,
    },
    state,
    statuses: agent.statuses,
    hasLooked: agent.hasLooked,
    routesIndex: routes.routesIndex,
    awaited: routes.awaited,
    eventsHead: new Cell(0),
    log: raft.status,
    isDialOutOnly: new Cell(false),
    usage: new Cell(undefined),
    digest: () => store.digest,
    pending: new Cell(new Map()),
    publish: (body) => gossip.publish(body),
    clock,
  });
  return {
    store,
    raft,
    gossip,
    observations,
    isLeader,
    isSettled,
    scheduler,
    agent,
    change: (command) =>
      isIntentCommand(command)
        ? desk.change(command, { author: "a user", mayQueue: true, signal })
        : submit(command, { signal }),
    intents: queue.intents,
    decide: (number, what) => desk[what](number),
    warnings: () => digests.warnings(),
  };
}

function openIntents(disk: MemoryDisk): IntentQueue {
  const stored = disk.intents === undefined ? undefined : decodeIntents(disk.intents);
  return new IntentQueue(stored ?? noIntents, (bytes) => {
    disk.intents = bytes;
  });
}

function startOwnGossip(
  { random, timing }: RingContext,
  { id, machine, disk }: Home,
  parts: {
    readonly network: PeerNetwork;
    readonly admitted: ReadableCell<ReadonlySet<NodeId>>;
    readonly logger: Logger;
  },
): Promise<Gossip> {
  const incarnation = {
    load: () => disk.incarnation,
    save: (value: number) => {
      disk.incarnation = value;
    },
  };
  return startGossip({
    ...parts,
    signer: simSigner(id),
    incarnation,
    clock: machine.clock,
    random,
    timing: timing.gossip,
  });
}

/** What the daemon logs is part of the story. */
function loggerOf({ note }: RingContext, { id }: Home): Logger {
  const line = (fields: Readonly<Record<string, unknown>>, message: string) =>
    note(() => `${id} says: ${message} ${JSON.stringify(fields)}`);
  const logger: Logger = {
    debug: () => undefined,
    info: line,
    warn: line,
    error: line,
    child: () => logger,
  };
  return logger;
}

function never(): Promise<never> {
  return new Promise(() => undefined);
}
