import { Cell } from "../kernel/index.ts";
import { systemClock as clock } from "../kernel/io/system.ts";
import { AdmissionDesk } from "../network/io/admission.ts";
import { type ClusterKey, dropClusterKey, saveClusterKey } from "../network/io/cluster-key.ts";
import { saveCredentials, validityOf } from "../network/io/credentials.ts";
import type { Libp2pNetwork } from "../network/io/libp2p-network.ts";
import type { ProxyClient } from "../proxy/io/proxy-client.ts";
import type { RaftRunner } from "../raft/index.ts";
import { admitter } from "./admit.ts";
import type { Base, Submit } from "./base.ts";
import { startCertificateLoop } from "./certificate-loop.ts";
import { startClusterKeyLoop } from "./cluster-key-loop.ts";
import { proxyConfiguration } from "./start-proxy.ts";
import type { startVoterLoop } from "./voter-loop.ts";

export type Trust = {
  /** What a person has to look at. */
  warnings(): readonly string[];
  /** Until when this node's certificates last, wall clock, ms; later after each renewal. */
  certificatesEndMs(): number;
  /** Whether these nodes hold the cluster key: one of the voters has to, for ever. */
  readonly mayVote: Parameters<typeof startVoterLoop>[0]["mayVote"];
};

const keyAnswerMs = 2_000;

/** Lets machines in, and keeps certificates and the cluster key where they belong. */
export function startTrust(
  base: Base,
  parts: {
    readonly network: Libp2pNetwork;
    readonly raft: RaftRunner;
    readonly proxy: ProxyClient;
    readonly submit: Submit;
    readonly starting: AsyncDisposableStack;
  },
): Trust {
  const { settings, paths, entered, identity, self, store, logger } = base;
  const { network, raft, proxy, submit, starting } = parts;
  const credentials = new Cell(base.credentials);
  const clusterKey = new Cell<ClusterKey | undefined>(entered.clusterKey);
  starting.defer(credentials.subscribe(() => network.useCredentials(credentials.get())));
  const desk = new AdmissionDesk({
    network,
    identity,
    credentials: () => credentials.get(),
    clusterKey: () => clusterKey.get(),
    voters: () => raft.status.get().voters,
    keyHolders: () => [...raft.status.get().voters, ...raft.status.get().learners],
    isMember: (node) => store.state.get().nodes.has(node),
    admit: admitter({ state: store.state, submit, clock }),
    now: () => clock.now(),
    lifetimeMs: settings.certificateLifetimeMs,
  });
  const keyLoop = starting.use(
    startClusterKeyLoop({
      self,
      status: raft.status,
      clusterKey,
      desk,
      save: (key) => saveClusterKey(paths.data, key),
      drop: () => dropClusterKey(paths.data),
      clock,
      logger: logger.child({ part: "trust" }),
    }),
  );
  const certificateLoop = starting.use(
    startCertificateLoop({
      credentials,
      desk,
      save: (renewed) => saveCredentials(paths.data, renewed),
      configureProxy: (renewed, wanted) =>
        proxy.configure(proxyConfiguration(base, network, renewed), wanted),
      clock,
      logger: logger.child({ part: "trust" }),
    }),
  );
  return {
    warnings: () => [...keyLoop.warnings(), ...certificateLoop.warnings()],
    certificatesEndMs: () => validityOf(credentials.get()).untilMs,
    mayVote: async (nodes, { signal }) => {
      // A leader that has lost the key itself must not keep others from voting.
      if (clusterKey.get() === undefined) return true;
      const inTime = AbortSignal.any([signal, AbortSignal.timeout(keyAnswerMs)]);
      return (await desk.holdersAmong(nodes, { signal: inTime })).length === nodes.length;
    },
  };
}
