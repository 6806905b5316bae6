import type { KeptVolume, NamespaceView } from "../../api/index.ts";
import { readBytes, readCpuMillis } from "../../spec/values.ts";
import { CliError } from "../cli-error.ts";
import { type Session, show } from "../session.ts";
import { bytes, cores, table } from "../table.ts";
import { type QueueFlags, queueQuery } from "./queue.ts";
import { waitUntilGone } from "./wait-until-gone.ts";

/** `skein ns ls` */
export async function listNamespaces(session: Session): Promise<void> {
  const views = await session.client.call("listNamespaces", { signal: session.signal });
  show(session, views, namespaceTable);
}

/** What is asked for, and of a quota how much there may be. */
function namespaceTable(views: readonly NamespaceView[]): string {
  const of = (used: string, most: number | undefined, text: (amount: number) => string) =>
    most === undefined ? used : `${used}/${text(most)}`;
  return table(
    ["NAMESPACE", "SERVICES", "TASKS", "CPU", "MEMORY"],
    views.map(({ namespace, services, tasks, cpuMillis, memoryBytes, quota }) => [
      namespace,
      of(String(services), quota.services, String),
      of(String(tasks), quota.tasks, String),
      of(cores(cpuMillis), quota.cpuMillis, cores),
      of(bytes(memoryBytes), quota.memoryBytes, bytes),
    ]),
  );
}

type QuotaFlags = {
  readonly cpus?: string;
  readonly memory?: string;
  readonly tasks?: string;
  readonly services?: string;
  readonly none?: boolean;
};

/** `skein ns quota NAMESPACE [--cpus N] …`: without a flag it shows the quota. */
export async function namespaceQuota(
  session: Session,
  namespace: string,
  flags: QuotaFlags,
): Promise<void> {
  const { client, signal } = session;
  const params = { namespace };
  const quota = quotaOf(flags);
  if (flags.none === true && Object.keys(quota).length > 0) {
    throw new CliError("usage", "--none takes the quota away; give no amounts with it");
  }
  if (flags.none !== true && Object.keys(quota).length === 0) {
    const views = await client.call("listNamespaces", { signal });
    const found = views.find((view) => view.namespace === namespace);
    if (found === undefined) {
      throw new CliError("not_found", `There is nothing in namespace "${namespace}".`);
    }
    show(session, found, (view) => namespaceTable([view]));
    return;
  }
  const view = await client.call("setQuota", { params, body: quota, signal });
  show(session, view, (shown) => namespaceTable([shown]));
}

function quotaOf({ cpus, memory, tasks, services }: QuotaFlags): NamespaceView["quota"] {
  return {
    ...amountOf("cpuMillis", "--cpus", cpus, readCpuMillis, "4 or 0.5"),
    ...amountOf("memoryBytes", "--memory", memory, readBytes, "8g"),
    ...amountOf("tasks", "--tasks", tasks, readCount, "20"),
    ...amountOf("services", "--services", services, readCount, "10"),
  };
}

function amountOf(
  key: keyof NamespaceView["quota"],
  flag: string,
  text: string | undefined,
  read: (text: string) => number | undefined,
  example: string,
): NamespaceView["quota"] {
  if (text === undefined) return {};
  const amount = read(text);
  if (amount !== undefined) return { [key]: amount };
  throw new CliError("usage", `"${text}" is no amount for ${flag}. Write for example ${example}`);
}

function readCount(text: string): number | undefined {
  return /^\d{1,7}$/.test(text) ? Number(text) : undefined;
}

/** `skein ns rm NAMESPACE`: all that is in it, on every node. */
export async function removeNamespace(
  session: Session,
  namespace: string,
  flags: QueueFlags,
): Promise<void> {
  const { removed, volumes } = await session.client.call("removeNamespace", {
    params: { namespace },
    query: queueQuery(flags),
    signal: session.signal,
  });
  await waitUntilGone(session, { namespace });
  showRemoved(session, removed, volumes);
}

/** What is gone, and what data was left where it is. */
export function showRemoved(
  session: Session,
  removed: readonly string[],
  volumes: readonly KeptVolume[],
): void {
  if (session.output === "json") {
    session.print(`${JSON.stringify({ removed, volumes })}\n`);
    return;
  }
  session.print(removed.map((key) => `removed ${key}\n`).join(""));
  for (const { volume, nodes } of volumes) {
    const where = nodes.length === 0 ? "" : ` on ${nodes.join(", ")}`;
    session.print(`kept the data of volume ${volume}${where}\n`);
  }
}
