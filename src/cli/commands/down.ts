import type { KeptVolume } from "../../api/index.ts";
import type { ServiceSpec } from "../../spec/index.ts";
import { type ManifestFlags, readManifest } from "../manifest-files.ts";
import type { Session } from "../session.ts";
import { removeNamespace, showRemoved } from "./namespace.ts";
import { type QueueFlags, queueQuery } from "./queue.ts";
import { waitUntilGone } from "./wait-until-gone.ts";

/**
 * `skein down`: the services of the file, whichever profile they have, and nothing else. With
 * `-n` and no file it is the whole namespace.
 */
export async function down(
  session: Session,
  options: QueueFlags & ManifestFlags & { readonly namespace?: string },
): Promise<void> {
  // Not by SKEIN_NAMESPACE: nobody sees it when typing.
  if (options.namespace !== undefined && options.file === undefined) {
    await removeNamespace(session, options.namespace, options);
    return;
  }
  const manifest = readManifest(session, { profile: ["*"], ...options });
  const { quorum } = await session.client.call("status", { signal: session.signal });
  // Without a quorum nothing can be awaited: the whole file is one change, kept for later.
  const groups = quorum.hasQuorum ? dependentsFirst(manifest.services) : [manifest.services];
  const removed: string[] = [];
  const volumes: KeptVolume[] = [];
  for (const group of groups) {
    const services = group.map(({ namespace, name }) => ({ namespace, name }));
    const done = await session.client.call("removeServices", {
      query: queueQuery(options),
      body: { services },
      signal: session.signal,
    });
    removed.push(...done.removed);
    volumes.push(...done.volumes);
    for (const { namespace, name } of services) {
      if (!done.removed.includes(`${namespace}/${name}`)) continue;
      await waitUntilGone(session, { namespace, service: name });
    }
  }
  showRemoved(session, removed.sort(), volumes);
}

/** Groups to stop one after the other: what depends on others before those. */
function dependentsFirst(services: readonly ServiceSpec[]): readonly (readonly ServiceSpec[])[] {
  const groups: (readonly ServiceSpec[])[] = [];
  let left = services;
  while (left.length > 0) {
    const needed = new Set(left.flatMap(({ dependsOn = [] }) => dependsOn.map((on) => on.service)));
    const outer = left.filter(({ name }) => !needed.has(name));
    // The parser refuses cycles; if there were one, it would be stopped at once.
    const group = outer.length === 0 ? left : outer;
    groups.push(group);
    left = left.filter((service) => !group.includes(service));
  }
  return groups;
}
