import type { ApiBackend, Facts } from "../api/server.ts";
import { tokenView } from "../api/server.ts";
import type { ClusterState, Command, Observations, Outcome, Token } from "../cluster/index.ts";
import {
  type Clock,
  CodedError,
  type NodeId,
  type ReadableCell,
  type ServiceKey,
} from "../kernel/index.ts";
import { encodeToken } from "../network/index.ts";
import type { RaftStatus } from "../raft/index.ts";
import type { Explanations } from "../scheduler/index.ts";
import type { ClusterEvents } from "./cluster-events.ts";
import { onChange } from "./coalesce.ts";
import { eventsBackend, lately } from "./events-backend.ts";
import { whatIfView, whyView } from "./planning.ts";
import type { TaskLogs } from "./task-logs.ts";
import { hashSecret, newSecret } from "./tokens.ts";

/** Watchers see a burst of changes as one. */
const coalesceMs = 50;

type BackendOptions = {
  readonly self: NodeId;
  readonly version: string;
  readonly state: ReadableCell<ClusterState>;
  readonly observations: ReadableCell<Observations>;
  readonly log: ReadableCell<RaftStatus>;
  /** Why services are not as they should be; empty on others than the leader. */
  readonly pending: ReadableCell<ReadonlyMap<ServiceKey, readonly string[]>>;
  /** What a person has to look at. */
  readonly warnings: () => readonly string[];
  readonly taskLogs: TaskLogs;
  readonly events: ClusterEvents;
  /** What a token must name so that its holder knows the cluster again. */
  readonly pins: {
    readonly clusterId: string;
    readonly clusterPublicKey: string;
    readonly caFingerprint: string;
  };
  readonly submit: (
    command: Command,
    options: { readonly signal: AbortSignal },
  ) => Promise<Outcome>;
  readonly change: ApiBackend["change"];
  readonly intents: ApiBackend["intents"];
  readonly catchUp: ApiBackend["catchUp"];
  readonly recovery: ApiBackend["recovery"];
  readonly doctor: ApiBackend["doctor"];
  readonly pinImage: ApiBackend["pinImage"];
  readonly certificateExpiresAtMs: () => number;
  readonly clock: Clock;
};

/** What the API's handlers need, from the running daemon. */
export function makeBackend(options: BackendOptions): ApiBackend {
  const { state, observations, log, pending, taskLogs, submit, clock } = options;
  const facts = (): Facts => ({
    self: options.self,
    version: options.version,
    state: state.get(),
    observations: observations.get(),
    log: log.get(),
    pending: pendingOf(options),
    warnings: options.warnings(),
    nowMs: clock.now(),
    certificateExpiresAtMs: options.certificateExpiresAtMs(),
  });
  return {
    facts,
    subscribe: (listener) =>
      onChange([state, observations, pending], listener, { delayMs: coalesceMs, clock }),
    submit,
    change: options.change,
    intents: options.intents,
    catchUp: options.catchUp,
    recovery: options.recovery,
    doctor: options.doctor,
    pinImage: options.pinImage,
    now: () => clock.now(),
    ...eventsBackend({ events: options.events, facts }),
    why: async (service, wanted) => {
      const now = clock.now();
      const view = whyView(facts(), service, now);
      return { ...view, ...(await lately(options.events, service, { ...wanted, now })) };
    },
    whatIf: (supposition) => whatIfView(facts(), supposition, clock.now()),
    logs: (service, wanted) => taskLogs.ofService(service, wanted),
    createToken: async ({ role, ttlMs, uses }, { signal }) => {
      const { id, secret } = newSecret();
      const nowMs = clock.now();
      const expiresAtMs = nowMs + ttlMs;
      const token: Token = {
        id,
        role,
        secretHash: hashSecret(secret),
        expiresAtMs,
        ...(uses === undefined ? {} : { usesLeft: uses }),
        createdAtMs: nowMs,
      };
      const outcome = await submit({ kind: "put_token", token }, { signal });
      if (outcome.kind === "rejected") throw new CodedError(outcome.code, outcome.message);
      const text = encodeToken({ ...options.pins, role, tokenId: id, secret, expiresAtMs });
      const address = state.get().nodes.get(options.self)?.address ?? "ADDRESS:7946";
      return {
        ...tokenView(token, nowMs),
        token: text,
        // By the environment: what stands in an argument list can be read by everybody in `ps`.
        joinCommand: role === "node" ? `SKEIN_TOKEN=${text} skein daemon --join ${address}` : "",
      };
    },
  };
}

/** What is waiting for something other than its turn. */
/** The leader knows it by itself, the others from its report. */
function pendingOf({
  self,
  log,
  observations,
  pending,
}: BackendOptions): ReadonlyMap<ServiceKey, readonly string[]> {
  const { leader } = log.get();
  if (leader === self || leader === undefined) return pending.get();
  const report = observations.get().reports.get(leader);
  return new Map((report?.pending ?? []).map(({ service, reasons }) => [service, reasons]));
}

/** Those that wait for nothing but another task's end need no words. */
export function sentencesOf(explanations: Explanations): Map<ServiceKey, readonly string[]> {
  const sentences = new Map<ServiceKey, readonly string[]>();
  for (const [key, pending] of explanations) {
    const stuck = pending.filter(({ cause }) => cause !== "waiting_for_stop");
    if (stuck.length > 0) {
      sentences.set(
        key,
        stuck.map(({ message }) => message),
      );
    }
  }
  return sentences;
}
