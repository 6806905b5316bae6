import { Cell, type NodeId, nodeId, type ReadableCell } from "../kernel/index.ts";
import { systemClock as clock, systemRandom as random } from "../kernel/io/system.ts";
import type { Libp2pNetwork } from "../network/io/libp2p-network.ts";
import {
  createPeerTransport,
  type LogStorage,
  type RaftRunner,
  raftTimings,
  startRaft,
} from "../raft/index.ts";
import type { Base } from "./base.ts";

export async function startLog(
  { settings, self, store, entered, credentials, logger, onFatal }: Base,
  parts: {
    readonly storage: LogStorage;
    readonly network: Libp2pNetwork;
    readonly knownHead: ReadableCell<number>;
    readonly starting: AsyncDisposableStack;
  },
): Promise<RaftRunner> {
  const { storage, network, knownHead, starting } = parts;
  const seeds = credentials.seeds.map((seed) => nodeId(seed.nodeId));
  const transport = starting.use(
    createPeerTransport({ network, clock, logger: logger.child({ part: "raft" }) }),
  );
  return await startRaft({
    self,
    storage,
    stateMachine: store,
    transport,
    clock,
    random,
    logger: logger.child({ part: "raft" }),
    timing: raftTimings[settings.timing],
    bootstrap: entered.isFounder,
    feeders: () => {
      const agreed = store.state.get().nodes;
      return agreed.size > 0 ? [...agreed.keys()] : seeds;
    },
    knownHead,
    onFatal,
  });
}

/** Whether this node leads, as a value that changes. */
export function followLeader(
  raft: RaftRunner,
  self: NodeId,
  starting: AsyncDisposableStack,
): ReadableCell<boolean> {
  const leads = () => raft.status.get().leader === self;
  const isLeader = new Cell(leads());
  starting.defer(raft.status.subscribe(() => isLeader.set(leads())));
  return isLeader;
}
