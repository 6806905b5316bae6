import type { ServiceView } from "../../api/index.ts";
import { CliError } from "../cli-error.ts";
import { followRollout } from "../follow.ts";
import { readManifest } from "../manifest-files.ts";
import { findService, type Session } from "../session.ts";
import { eachEvenIfQueued, type QueueFlags, queueQuery } from "./queue.ts";
import { describeChanges } from "./up.ts";

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

/** `web=5` */
export function parsePair(text: string): { readonly name: string; readonly replicas: number } {
  const match = /^([^=]+)=(\d{1,5})$/.exec(text);
  if (match?.[1] === undefined) {
    throw new CliError("usage", `"${text}" is not SERVICE=NUMBER, for example web=5`);
  }
  return { name: match[1], replicas: Number(match[2]) };
}

/** `skein rm SERVICE …`: removes them and waits until their containers are gone. */
export async function remove(
  session: Session,
  names: readonly string[],
  flags: QueueFlags,
): Promise<void> {
  await eachEvenIfQueued(names, async (each) => {
    const { namespace, name } = await findService(session, each);
    await session.client.call("removeService", {
      params: { namespace, name },
      query: queueQuery(flags),
      signal: session.signal,
    });
    await waitUntilGone(session, { namespace, service: name });
    session.print(
      session.output === "json"
        ? `${JSON.stringify({ removed: name })}\n`
        : `removed ${namespace}/${name}\n`,
    );
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

/** `skein down`: everything of this file's namespace. */
export async function down(
  session: Session,
  options: QueueFlags & { readonly file?: readonly string[] },
): Promise<void> {
  const namespace = session.namespace ?? readManifest(session, options).namespace;
  const { removed } = await session.client.call("removeNamespace", {
    params: { namespace },
    query: queueQuery(options),
    signal: session.signal,
  });
  await waitUntilGone(session, { namespace });
  session.print(
    session.output === "json"
      ? `${JSON.stringify({ removed })}\n`
      : removed.map((key) => `removed ${key}\n`).join(""),
  );
}

const pollMs = 250;

async function waitUntilGone(
  session: Session,
  query: { readonly namespace: string; readonly service?: string },
): Promise<void> {
  let shown = -1;
  while (!session.signal.aborted) {
    const tasks = await session.client.call("listTasks", { query, signal: session.signal });
    const left = tasks.filter((task) => task.status !== "unknown").length;
    if (left === 0) return;
    if (left !== shown) session.note(`stopping ${left} task${left === 1 ? "" : "s"} …\n`);
    shown = left;
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
  throw new CliError("interrupted", "Detached; the removal goes on.");
}
