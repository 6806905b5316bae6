import type { ServiceView } from "../../api/index.ts";
import { describeChanges } from "../changes-text.ts";
import { CliError } from "../cli-error.ts";
import { followRollout } from "../follow.ts";
import { findService, type Session, show } from "../session.ts";
import { showRemoved } from "./namespace.ts";
import { eachEvenIfQueued, type QueueFlags, queueQuery } from "./queue.ts";
import { waitUntilGone, waitUntilStopped } from "./wait-until-gone.ts";

/** `skein scale web=5 [api=2 …]` */
export async function scale(
  session: Session,
  pairs: readonly string[],
  { detach, ...flags }: QueueFlags & { readonly detach?: boolean },
): Promise<void> {
  const wanted = pairs.map(parsePair);
  const found: { readonly service: ServiceView; readonly replicas: number }[] = [];
  for (const { name, replicas } of wanted) {
    found.push({ service: await findService(session, name), replicas });
  }
  await eachEvenIfQueued(found, async ({ service, replicas }) => {
    const { namespace, name } = service;
    const applied = await session.client.call("scaleService", {
      params: { namespace, name },
      query: queueQuery(flags),
      body: { replicas },
      signal: session.signal,
    });
    if (session.output === "json") session.print(`${JSON.stringify(applied, undefined, 2)}\n`);
    else session.print(describeChanges(applied, false));
    if (detach) return;
    await followRollout(session, new Set([name]), { namespace, isUpdate: false });
  });
}

/** `skein restart|stop|start SERVICE …` */
export async function steer(
  session: Session,
  action: "restart" | "stop" | "start",
  names: readonly string[],
  { detach, ...flags }: QueueFlags & { readonly detach?: boolean },
): Promise<void> {
  await eachEvenIfQueued(names, async (each) => {
    const { namespace, name } = await findService(session, each);
    const applied = await session.client.call("steerService", {
      params: { namespace, name },
      query: queueQuery(flags),
      body: { action },
      signal: session.signal,
    });
    show(session, applied, () => `${steered[action]} ${namespace}/${name}\n`);
    if (detach) return;
    if (action === "stop") await waitUntilStopped(session, { namespace, service: name });
    else await followRollout(session, new Set([name]), { namespace, isUpdate: true });
  });
}

const steered = { restart: "restarting", stop: "stopping", start: "starting" } as const;

const maxReplicas = 10_000;

/** `web=5` */
export function parsePair(text: string): { readonly name: string; readonly replicas: number } {
  const match = /^([^=]+)=(\d{1,5})$/.exec(text);
  if (match?.[1] === undefined) {
    throw new CliError("usage", `"${text}" is not SERVICE=NUMBER, for example web=5`);
  }
  const replicas = Number(match[2]);
  if (replicas > maxReplicas) {
    throw new CliError(
      "usage",
      `"${text}" is too many: a service has at most ${maxReplicas} tasks`,
    );
  }
  return { name: match[1], replicas };
}

/** `skein rm SERVICE …`: removes them and waits until their containers are gone. */
export async function remove(
  session: Session,
  names: readonly string[],
  flags: QueueFlags,
): Promise<void> {
  await eachEvenIfQueued(names, async (each) => {
    const { namespace, name } = await findService(session, each);
    const { removed, volumes } = await session.client.call("removeService", {
      params: { namespace, name },
      query: queueQuery(flags),
      signal: session.signal,
    });
    await waitUntilGone(session, { namespace, service: name });
    showRemoved(session, removed, volumes);
  });
}

/** `skein node rm NAME … [--force]` */
export async function removeNodes(
  session: Session,
  names: readonly string[],
  { force = false }: { readonly force?: boolean },
): Promise<void> {
  for (const node of names) {
    const { name } = await session.client.call("removeNode", {
      params: { node },
      query: { force: force ? "true" : "false" },
      signal: session.signal,
    });
    session.print(
      session.output === "json" ? `${JSON.stringify({ removed: name })}\n` : `removed ${name}\n`,
    );
  }
}
