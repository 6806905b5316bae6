import {
  type ClusterState,
  type Command,
  keyOf,
  type Outcome,
  type Service,
  sameValue,
  tasksOf,
} from "../cluster/index.ts";
import { codeOf, type ServiceKey, serviceKey } from "../kernel/index.ts";
import { containersOf, describeDifference, type ServiceSpec } from "../spec/index.ts";
import type { Handlers } from "./contract.ts";
import { type EventsBackend, eventHandlers } from "./event-handlers.ts";
import { historyView } from "./history-view.ts";
import type { IntentView } from "./intent-routes.ts";
import { type Asked, namespaceHandlers } from "./namespace-handlers.ts";
import { nodeHandlers } from "./node-handlers.ts";
import type { DoctorView } from "./node-views.ts";
import { ownPortConflict } from "./own-ports.ts";
import { isPinned, type PinImage, withPinnedImages } from "./pin-images.ts";
import type { WhatIfView, WhyView } from "./planning-views.ts";
import { ApiError, isProblemCode } from "./problem.ts";
import { promotedSpec } from "./promotion.ts";
import { removableNode } from "./removable-node.ts";
import { timeText } from "./time-text.ts";
import type { Change, CreatedToken, LogEntry, RecoveryView } from "./views.ts";
import {
  type Facts,
  serviceView,
  serviceViews,
  statusView,
  taskViews,
  tokenView,
} from "./views-of-state.ts";

/** What the handlers need of the daemon around them. */
export interface ApiBackend extends EventsBackend {
  facts(): Facts;
  /** Calls `listener` after every change of {@link facts}, coalesced. Returns the undo. */
  subscribe(listener: () => void): () => void;
  /** @throws CodedError `no_quorum` */
  submit(command: Command, options: { readonly signal: AbortSignal }): Promise<Outcome>;
  /**
   * The same for a change that may wait for a quorum.
   * @throws CodedError `queued` when it does, `no_quorum` when it may not.
   */
  change(
    command: Command,
    options: { readonly author: string; readonly mayQueue: boolean; readonly signal: AbortSignal },
  ): Promise<Outcome>;
  /** The changes that wait on this node. */
  readonly intents: {
    /** Whether one of them is about a service of this namespace. */
    concerns(namespace: string): boolean;
    views(): readonly IntentView[];
    /** @throws CodedError `not_found`, `conflict` */
    cancel(number: number): Promise<IntentView>;
    /** Resolves with what is left of it. @throws CodedError `not_found`, `conflict` */
    apply(number: number): Promise<IntentView | undefined>;
  };
  /** Resolves once this node knows everything agreed so far. @throws CodedError `no_quorum` */
  catchUp(options: { readonly signal: AbortSignal }): Promise<void>;
  readonly recovery: {
    view(options: { readonly signal: AbortSignal }): Promise<RecoveryView>;
    /** @throws CodedError `conflict` */
    recover(
      lost: readonly string[],
      options: { readonly signal: AbortSignal },
    ): Promise<{ readonly index: number }>;
  };
  /** Has every node test its links to the others, and itself. */
  doctor(options: { readonly signal: AbortSignal }): Promise<DoctorView>;
  /** What this node's engine knows of the digest of an image. */
  readonly pinImage: PinImage;
  /** The proposer's wall clock, ms. */
  now(): number;
  createToken(
    request: { readonly role: "node" | "admin"; readonly ttlMs: number; readonly uses?: number },
    options: { readonly signal: AbortSignal },
  ): Promise<CreatedToken>;
  /** @throws ApiError `not_found` */
  why(service: ServiceKey, options: { readonly signal: AbortSignal }): Promise<WhyView>;
  /** Plays through what would happen. @throws ApiError `not_found`, `conflict` */
  whatIf(supposition: {
    readonly commands: readonly Command[];
    readonly kill: readonly string[];
    readonly addNodes: readonly { readonly cpuMillis: number; readonly memoryBytes: number }[];
  }): Omit<WhatIfView, "changes">;
  /** Lines of all tasks of a service, merged as they come. */
  logs(
    service: ServiceKey,
    options: {
      readonly follow: boolean;
      readonly tail?: number | undefined;
      /** Of a pod; absent: its main one. */
      readonly container?: string | undefined;
      readonly signal: AbortSignal;
    },
  ): AsyncIterable<LogEntry>;
}

/** The API's behaviour, without HTTP. */
export function makeHandlers(backend: ApiBackend): Handlers {
  async function submit(command: Command, signal: AbortSignal): Promise<number> {
    return indexOf(await backend.submit(command, { signal }));
  }

  async function change(command: Command, { author, query, signal }: Asked): Promise<number> {
    const mayQueue = query.queue === "true";
    return indexOf(await backend.change(command, { author, mayQueue, signal }));
  }

  async function pinned(specs: readonly ServiceSpec[], signal: AbortSignal) {
    const { pinImage: pin } = backend;
    return await withPinnedImages(specs, backend.facts().state, { pin, signal });
  }

  function find(key: ServiceKey): Service {
    const service = backend.facts().state.services.get(key);
    if (service === undefined) {
      throw new ApiError("not_found", `There is no service ${key}. See: skein ls`);
    }
    return service;
  }

  return {
    status: async () => statusView(backend.facts()),
    removeNode: async ({ params, query, signal }) => {
      const isForced = query.force === "true";
      const node = removableNode(backend.facts(), params.node, { isForced });
      const { id, name } = node;
      const index = await submit(
        { kind: "remove_node", nodeId: id, onlyIfUnused: !isForced },
        signal,
      );
      return { index, name };
    },
    ...nodeHandlers(backend, submit),
    ...namespaceHandlers(backend, { submit, change }),
    ...eventHandlers(backend),
    listServices: async ({ query }) => serviceViews(backend.facts(), query.namespace),
    getService: async ({ params }) => {
      const key = serviceKey(params.namespace, params.name);
      return serviceView(backend.facts(), key, find(key));
    },
    watchServices: ({ query, signal }) =>
      watch(backend, () => serviceViews(backend.facts(), query.namespace), signal),
    applyServices: async (request) => {
      const { body, signal } = request;
      const specs = await pinned(body.services, signal);
      const before = backend.facts().state.services;
      const changes = specs.map((spec) => changeOf(before.get(keyOf(spec)), spec));
      const conflict = ownPortConflict(backend.facts(), specs);
      if (conflict !== undefined) throw new ApiError("port_taken", conflict);
      const isDone =
        changes.every(({ action }) => action === "none") &&
        // What is so now may be about to change by what was asked for before.
        !body.services.some(({ namespace }) => backend.intents.concerns(namespace));
      const { onlyNew = false } = body;
      if (body.dryRun || (isDone && !onlyNew)) {
        return { index: backend.facts().state.index, changes };
      }
      const isNew = onlyNew ? { onlyNew } : {};
      const command: Command = { kind: "put_services", specs, ...isNew, nowMs: backend.now() };
      const index = await change(command, request);
      const { services } = backend.facts().state;
      return { index, changes: changes.map((each) => withRevision(each, { services, index })) };
    },
    scaleService: async (request) => {
      const { params, body } = request;
      const service = serviceKey(params.namespace, params.name);
      const { spec } = find(service);
      const wanted: ServiceSpec = {
        ...spec,
        mode: { kind: "replicated", replicas: body.replicas },
      };
      const { replicas } = body;
      const index = await change(
        { kind: "scale_service", service, replicas, nowMs: backend.now() },
        request,
      );
      return { index, changes: [changeOf({ spec }, wanted)] };
    },
    why: ({ params, signal }) => backend.why(serviceKey(params.namespace, params.name), { signal }),
    whatIf: async ({ body, signal }) => {
      const specs = await pinned(body.services, signal);
      const nowMs = backend.now();
      const scaled = body.scale.map(({ namespace, name, replicas }) => {
        const service = serviceKey(namespace, name);
        const { spec } = find(service);
        return { service, replicas, before: spec };
      });
      const commands: Command[] = [
        ...(specs.length === 0 ? [] : [{ kind: "put_services", specs, nowMs } as const]),
        ...scaled.map(
          ({ service, replicas }) => ({ kind: "scale_service", service, replicas, nowMs }) as const,
        ),
      ];
      const before = backend.facts().state.services;
      const changes = [
        ...specs.map((spec) => changeOf(before.get(keyOf(spec)), spec)),
        ...scaled.map(({ before: spec, replicas }) =>
          changeOf({ spec }, { ...spec, mode: { kind: "replicated", replicas } }),
        ),
      ];
      const { kill, addNodes } = body;
      return { changes, ...backend.whatIf({ commands, kill, addNodes }) };
    },
    serviceHistory: async ({ params }) =>
      historyView(find(serviceKey(params.namespace, params.name))),
    rollBackService: async (request) => {
      const { params, body } = request;
      const service = serviceKey(params.namespace, params.name);
      const before = find(service);
      const { revision } = body;
      const chosen = revision === undefined ? {} : { revision };
      const nowMs = backend.now();
      const index = await change({ kind: "roll_back_service", service, ...chosen, nowMs }, request);
      return { index, changes: [changeOf(before, find(service).spec)] };
    },
    steerService: async (request) => {
      const { params, body } = request;
      const service = serviceKey(params.namespace, params.name);
      const before = find(service);
      const { action } = body;
      const nowMs = backend.now();
      const index = await change({ kind: "steer_service", service, action, nowMs }, request);
      return { index, changes: [changeOf(before, find(service).spec)] };
    },
    promoteService: async ({ params, body, signal }) => {
      const source = find(serviceKey(params.namespace, params.name));
      const { to, isWhole, dryRun, version } = body;
      if (version !== undefined && version !== source.version) {
        const what = `${params.namespace}/${params.name} has changed since the plan was shown.`;
        throw new ApiError("conflict", `${what} Run the command again.`);
      }
      const target = backend.facts().state.services.get(serviceKey(to, params.name));
      const spec = promotedSpec(source, target, { namespace: to, isWhole });
      const changes = [changeOf(target, spec)];
      const { image } = spec.template;
      const shown = { changes, version: source.version, image, isPinned: isPinned(image) };
      if (dryRun || changes.every(({ action }) => action === "none")) {
        return { index: backend.facts().state.index, ...shown };
      }
      const nowMs = backend.now();
      const index = await submit({ kind: "put_services", specs: [spec], nowMs }, signal);
      return { index, ...shown };
    },
    steerRollout: async ({ params, body, signal }) => {
      const service = serviceKey(params.namespace, params.name);
      find(service);
      const { action } = body;
      const nowMs = backend.now();
      return { index: await submit({ kind: "steer_rollout", service, action, nowMs }, signal) };
    },
    triggerJob: async ({ params, signal }) => {
      const service = serviceKey(params.namespace, params.name);
      const nowMs = backend.now();
      const index = await submit({ kind: "trigger_job", service, nowMs }, signal);
      const runs = find(service).runs ?? [];
      return { index, run: runs.at(-1)?.number ?? 0 };
    },
    suspendSchedule: async ({ params, body, signal }) => {
      const service = serviceKey(params.namespace, params.name);
      const { isSuspended } = body;
      const nowMs = backend.now();
      const command: Command = { kind: "suspend_schedule", service, isSuspended, nowMs };
      return { index: await submit(command, signal) };
    },
    listIntents: async () => [...backend.intents.views()],
    cancelIntent: ({ params }) => backend.intents.cancel(params.number),
    applyIntent: async ({ params }) => ({
      left: (await backend.intents.apply(params.number)) ?? null,
    }),
    listTasks: async ({ query }) => taskViews(backend.facts(), query),
    logs: ({ params, query, signal }) => {
      const key = serviceKey(params.namespace, params.name);
      const { state } = backend.facts();
      // The tasks of a service that is being removed still print.
      if (tasksOf(state, key).length === 0) find(key);
      const { tail, container } = query;
      checkContainer(state, key, container);
      return backend.logs(key, { follow: query.follow === "true", tail, container, signal });
    },
    setMaxVoters: async ({ body: { maxVoters }, signal }) => ({
      index: await submit({ kind: "set_max_voters", maxVoters }, signal),
    }),
    createToken: async ({ body, signal }) => {
      const { role, ttlMs, uses } = body;
      return await backend.createToken(
        { role, ttlMs, ...(uses === undefined ? {} : { uses }) },
        { signal },
      );
    },
    backup: async ({ signal }) => {
      const isConfirmed = await backend.catchUp({ signal }).then(
        () => true,
        (error: unknown) => {
          if (codeOf(error) === "no_quorum") return false;
          throw error;
        },
      );
      const { clusterId, index, services, maxVoters = null, quotas } = backend.facts().state;
      const specs = [...services.values()].map(({ spec }) => spec);
      const takenAt = timeText(backend.now());
      const settings = { maxVoters, quotas: Object.fromEntries(quotas) };
      return { clusterId, index, takenAt, isConfirmed, services: specs, ...settings };
    },
    recovery: ({ signal }) => backend.recovery.view({ signal }),
    recover: ({ body, signal }) => backend.recovery.recover(body.lost, { signal }),
    listTokens: async () =>
      [...backend.facts().state.tokens.values()].map((token) => tokenView(token, backend.now())),
    revokeToken: async ({ params, signal }) => ({
      index: await submit({ kind: "revoke_token", tokenId: params.id }, signal),
    }),
  };
}

function indexOf(outcome: Outcome): number {
  if (outcome.kind === "accepted") return outcome.index;
  const code = isProblemCode(outcome.code) ? outcome.code : "conflict";
  throw new ApiError(code, outcome.message);
}

function changeOf(before: Pick<Service, "spec"> | undefined, after: ServiceSpec): Change {
  const { namespace, name } = after;
  if (before === undefined) {
    return { namespace, name, action: "create", details: [`image ${after.template.image}`] };
  }
  if (sameValue(before.spec, after)) return { namespace, name, action: "none", details: [] };
  const details = [...describeDifference(before.spec, after)];
  return { namespace, name, action: "update", details };
}

/** With the revision as of an entry of the log, whatever has come after it since. */
function withRevision(
  change: Change,
  at: { readonly services: ReadonlyMap<ServiceKey, Service>; readonly index: number },
): Change {
  const { revisions = [] } = at.services.get(serviceKey(change.namespace, change.name)) ?? {};
  const record = revisions.findLast(({ index }) => index <= at.index);
  return record === undefined ? change : { ...change, revision: record.revision };
}

/** The present value, then the value after each change, never two alike in a row. */
async function* watch<T>(
  backend: ApiBackend,
  read: () => T,
  signal: AbortSignal,
): AsyncIterable<T> {
  let changed = Promise.withResolvers<void>();
  const wake = () => changed.resolve();
  const stop = backend.subscribe(wake);
  signal.addEventListener("abort", wake, { once: true });
  try {
    let last: T | undefined;
    while (!signal.aborted) {
      changed = Promise.withResolvers<void>();
      const value = read();
      if (!sameValue(value, last)) yield value;
      last = value;
      await changed.promise;
    }
  } finally {
    stop();
    signal.removeEventListener("abort", wake);
  }
}

/** Whether a task of the service has such a container: those of older revisions count, too. */
function checkContainer(state: ClusterState, key: ServiceKey, name: string | undefined): void {
  const templates = [...(state.services.get(key)?.templates.values() ?? [])];
  const names = new Set(
    templates
      .flatMap((each) => (each.pod === undefined ? [] : containersOf(each)))
      .map((each) => each.name),
  );
  if (name === undefined || names.has(name) || templates.length === 0) return;
  const known = names.size === 0 ? "its tasks have one container" : [...names].join(", ");
  throw new ApiError("not_found", `${key} has no container "${name}": ${known}.`);
}
