import type { ServiceKey } from "../kernel/index.ts";
import type { ClusterState } from "./cluster-state.ts";
import type { ExpectedVersions } from "./command.ts";

/** Says how a service differs from what the one who decided had seen. */
export function unexpectedChange(
  { services }: ClusterState,
  key: ServiceKey,
  expected: ExpectedVersions | undefined,
): string | undefined {
  const service = services.get(key);
  if (expected === undefined || (expected[key] ?? [0]).includes(service?.version ?? 0)) return;
  if (service === undefined) return `${key} was removed since.`;
  const { revision, version } = service;
  return `${key} was changed since: it is at revision ${revision} by entry ${version} of the log.`;
}
