import {
  type ClusterState,
  type Command,
  compareText,
  type Quota,
  servicesIn,
  tasksOf,
  usageOf,
} from "../cluster/index.ts";
import { type ServiceKey, serviceKey } from "../kernel/index.ts";
import { mountsOf } from "../spec/index.ts";
import type { Handlers } from "./contract.ts";
import type { KeptVolume, NamespaceView } from "./namespace-routes.ts";
import { ApiError } from "./problem.ts";
import { type Facts, nodeName } from "./views-of-state.ts";

/** What a change needs to know of its request. */
export type Asked = {
  readonly author: string;
  readonly query: { readonly queue: "true" | "false" };
  readonly signal: AbortSignal;
};

type Changing = {
  submit(command: Command, signal: AbortSignal): Promise<unknown>;
  change(command: Command, request: Asked): Promise<number>;
};

type Names = "listNamespaces" | "setQuota" | "removeNamespace" | "removeService" | "removeServices";

/** The handlers of the routes about namespaces, and of those that remove services. */
export function namespaceHandlers(
  { facts }: { facts(): Facts },
  { submit, change }: Changing,
): Pick<Handlers, Names> {
  async function remove(command: Command, keys: readonly ServiceKey[], request: Asked) {
    const volumes = volumesOf(facts().state, keys);
    return { index: await change(command, request), removed: [...keys], volumes };
  }

  return {
    listNamespaces: async () => namespaceViews(facts().state),
    setQuota: async ({ params: { namespace }, body, signal }) => {
      const quota = Object.fromEntries(
        Object.entries(body).filter(([, amount]) => amount !== undefined),
      );
      await submit({ kind: "set_quota", namespace, quota }, signal);
      return namespaceView(facts().state, namespace);
    },
    removeNamespace: async (request) => {
      const { namespace } = request.params;
      const { state } = facts();
      const keys = servicesIn(state, namespace);
      if (keys.length === 0 && !state.quotas.has(namespace)) {
        throw new ApiError("not_found", `There is nothing in namespace "${namespace}".`);
      }
      return await remove({ kind: "remove_namespace", namespace }, keys, request);
    },
    removeService: async (request) => {
      const key = serviceKey(request.params.namespace, request.params.name);
      if (!facts().state.services.has(key)) {
        throw new ApiError("not_found", `There is no service ${key}. See: skein ls`);
      }
      return await remove({ kind: "remove_services", services: [key] }, [key], request);
    },
    removeServices: async (request) => {
      const wanted = request.body.services.map(({ namespace, name }) =>
        serviceKey(namespace, name),
      );
      const services = wanted.filter((key) => facts().state.services.has(key));
      if (services.length === 0) {
        throw new ApiError("not_found", `None of these services is there: ${wanted.join(", ")}`);
      }
      return await remove({ kind: "remove_services", services }, services, request);
    },
  };
}

/** Those that have a service or a quota. */
function namespaceViews(state: ClusterState): NamespaceView[] {
  const names = [...state.services.values()].map(({ spec }) => spec.namespace);
  return [...new Set([...names, ...state.quotas.keys()])]
    .sort(compareText)
    .map((namespace) => namespaceView(state, namespace));
}

function namespaceView(state: ClusterState, namespace: string): NamespaceView {
  const quota: Quota = state.quotas.get(namespace) ?? {};
  return { namespace, ...usageOf(state.services, namespace, state.nodes.size), quota };
}

/** The named volumes of services, and the nodes where their data lies or may lie. */
function volumesOf(state: ClusterState, keys: readonly ServiceKey[]): KeptVolume[] {
  const nodes = new Map<string, Set<string>>();
  for (const key of keys) {
    const template = state.services.get(key)?.spec.template;
    for (const { kind, source } of template === undefined ? [] : mountsOf(template)) {
      if (kind !== "volume" || source === undefined) continue;
      const known = nodes.get(source) ?? new Set<string>();
      nodes.set(source, known);
      for (const { nodeId } of tasksOf(state, key)) known.add(nodeName(state, nodeId));
      for (const [place, nodeId] of state.volumeHomes) {
        if (place.startsWith(`${source}#`)) known.add(nodeName(state, nodeId));
      }
    }
  }
  return [...nodes]
    .sort(([a], [b]) => compareText(a, b))
    .map(([volume, names]) => ({ volume, nodes: [...names].sort(compareText) }));
}
