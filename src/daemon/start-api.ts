import { startApiServer } from "../api/io/server.ts";
import { makeHandlers } from "../api/server.ts";
import type { Observations } from "../cluster/index.ts";
import type { ReadableCell, ServiceKey } from "../kernel/index.ts";
import { systemClock as clock } from "../kernel/io/system.ts";
import { caFingerprint } from "../network/io/credentials.ts";
import type { Libp2pNetwork } from "../network/io/libp2p-network.ts";
import { type RaftRunner, raftTimings } from "../raft/index.ts";
import type { ContainerRuntime } from "../runtime/index.ts";
import { makeBackend } from "./backend.ts";
import type { Base, Submit } from "./base.ts";
import { ClusterEvents } from "./cluster-events.ts";
import { Consoles } from "./consoles.ts";
import { diskWarnings } from "./disk-warning.ts";
import { Doctor } from "./doctor.ts";
import type { EventRecorder } from "./event-recorder.ts";
import { Recovery } from "./recovery.ts";
import { startIntents } from "./start-intents.ts";
import type { Trust } from "./start-trust.ts";
import { TaskLogs } from "./task-logs.ts";
import { isAdminBearer } from "./tokens.ts";

/** Answers people and tools: over the local socket, and over the one port to whoever has a token. */
export async function startApi(
  base: Base,
  parts: {
    readonly network: Libp2pNetwork;
    readonly raft: RaftRunner;
    readonly observations: ReadableCell<Observations>;
    readonly runtime: ContainerRuntime;
    readonly trust: Trust;
    readonly pending: ReadableCell<ReadonlyMap<ServiceKey, readonly string[]>>;
    /** Of the log's copies, and of membership. */
    readonly warnings: () => readonly string[];
    readonly portProblems: () => readonly string[];
    readonly submit: Submit;
    readonly events: EventRecorder;
    readonly starting: AsyncDisposableStack;
  },
): Promise<ReturnType<typeof makeBackend>> {
  const { self, store, paths, settings, credentials, version, logger } = base;
  const { network, raft, observations, runtime, trust, pending, submit, starting } = parts;
  const events = new ClusterEvents({
    self,
    network,
    journal: parts.events.journal,
    state: store.state,
    observations,
    clock,
    logger: logger.child({ part: "events" }),
  });
  const doctor = new Doctor({
    self,
    version,
    network,
    runtime,
    state: store.state,
    dataDirectory: paths.data,
    portProblems: parts.portProblems,
    clock,
  });
  const changes = startIntents(base, { raft, submit, events: parts.events, starting });
  const backend = makeBackend({
    self,
    version,
    state: store.state,
    observations,
    log: raft.status,
    pending,
    warnings: () => [
      ...parts.warnings(),
      ...parts.portProblems(),
      ...trust.warnings(),
      ...changes.warnings(),
      ...diskWarnings(raft.status.get(), {
        timing: raftTimings[settings.timing],
        directory: paths.log,
      }),
    ],
    taskLogs: new TaskLogs({
      self,
      network,
      runtime,
      state: store.state,
      clock,
      logger,
    }),
    events,
    pins: {
      clusterId: credentials.clusterId,
      clusterPublicKey: credentials.clusterPublicKey,
      caFingerprint: caFingerprint(credentials.caPem),
    },
    submit,
    change: changes.change,
    intents: changes.intents,
    catchUp: async (wanted) => {
      await raft.barrier(wanted);
    },
    recovery: new Recovery({ self, raft, state: store.state, clock }),
    doctor: (wanted) => doctor.view(wanted),
    pinImage: async (image, wanted) => await runtime.pinImage?.(image, wanted),
    certificateExpiresAtMs: trust.certificatesEndMs,
    clock,
  });
  const api = logger.child({ part: "api" });
  const handlers = makeHandlers(backend);
  const authorize = (bearer: string | undefined) =>
    isAdminBearer(store.state.get(), bearer, clock.now());
  const consoles = new Consoles({ self, network, runtime, state: store.state, clock, logger: api });
  const serving = { handlers, consoles: { open: consoles.open, clock }, logger: api };
  starting.use(await startApiServer({ ...serving, socketPath: paths.remoteApiSocket, authorize }));
  starting.use(await startApiServer({ ...serving, socketPath: paths.apiSocket }));
  api.info({ socketPath: paths.apiSocket }, "API listens");
  return backend;
}
