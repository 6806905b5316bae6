import { resolve } from "node:path";
import type { NamespaceView } from "../../api/index.ts";
import { voterCounts } from "../../cluster/voter-counts.ts";
import type { ServiceSpec } from "../../spec/index.ts";
import { type BackupContent, backupText, readBackup, writeDurably } from "../backup-file.ts";
import { describeChanges } from "../changes-text.ts";
import { CliError } from "../cli-error.ts";
import { followRollout } from "../follow.ts";
import type { Session } from "../session.ts";

/** Of the services in one request, well below what one entry of the log takes. */
const maxBatchBytes = 512 * 1024;

type Quota = NamespaceView["quota"];

/** `skein backup FILE`: what the cluster agreed to run, at one index of the log. */
export async function backup(session: Session, file: string): Promise<void> {
  const taken = await session.client.call("backup", { signal: session.signal });
  if (!taken.isConfirmed) {
    session.note(
      "degraded: no quorum confirmed that this node knows the newest state; the backup is what this node knows\n",
    );
  }
  writeDurably(resolve(session.workingDirectory, file), backupText(taken));
  const { services, index } = taken;
  session.print(
    session.output === "json"
      ? `${JSON.stringify({ file, index, services: services.length })}\n`
      : `${amountsOf(taken)} as of entry ${index} are in ${file}. It holds their environment: keep it secret.\n`,
  );
}

/** `skein restore FILE`: runs in this cluster what the file describes. */
export async function restore(
  session: Session,
  file: string,
  { detach }: { readonly detach?: boolean },
): Promise<void> {
  const content = readBackup(resolve(session.workingDirectory, file), file);
  const { services } = content;
  const isTable = session.output !== "json";
  if (services.length === 0 && isTable) session.print(`${file} holds no services.\n`);
  const batches = batchesOf(services);
  // All of it is looked at before any of it is changed.
  for (const batch of batches) await checkServices(session, batch);
  const quotas = await newQuotas(session, content);
  for (const batch of batches) {
    const { client, signal } = session;
    const body = { services: batch, dryRun: false };
    const applied = await client.call("applyServices", { query: { queue: "false" }, body, signal });
    if (session.output === "json") session.print(`${JSON.stringify(applied, undefined, 2)}\n`);
    else session.print(describeChanges(applied, false));
  }
  await restoreSettings(session, { quotas, maxVoters: content.maxVoters });
  if (detach) return;
  const namespaces = Map.groupBy(services, ({ namespace }) => namespace);
  for (const [namespace, members] of namespaces) {
    const names = new Set(members.map(({ name }) => name));
    await followRollout(session, names, { namespace, isUpdate: true });
  }
}

async function checkServices(
  { client, signal }: Session,
  services: readonly ServiceSpec[],
): Promise<void> {
  const body = { services: [...services], dryRun: true };
  const { changes } = await client.call("applyServices", { body, signal });
  const other = changes.find(({ action }) => action === "update");
  if (other === undefined) return;
  throw new CliError(
    "conflict",
    `Service ${other.namespace}/${other.name} runs here already, in another form. A backup is restored into a new cluster; or remove it first: skein rm ${other.name} -n ${other.namespace}`,
  );
}

/** The quotas that are not set here yet. @throws CliError where another one is. */
async function newQuotas(
  { client, signal }: Session,
  { quotas }: BackupContent,
): Promise<ReadonlyMap<string, Quota>> {
  const wanted = new Map(Object.entries(quotas));
  if (wanted.size === 0) return wanted;
  for (const { namespace, quota } of await client.call("listNamespaces", { signal })) {
    const other = wanted.get(namespace);
    if (other === undefined || Object.keys(quota).length === 0) continue;
    if (!isSameQuota(quota, other)) {
      throw new CliError(
        "conflict",
        `Namespace ${namespace} has another quota here. A backup is restored into a new cluster; or take it away first: skein ns quota ${namespace} --none`,
      );
    }
    wanted.delete(namespace);
  }
  return wanted;
}

function isSameQuota(left: Quota, right: Quota): boolean {
  const amounts = ["cpuMillis", "memoryBytes", "tasks", "services"] as const;
  return amounts.every((amount) => left[amount] === right[amount]);
}

async function restoreSettings(
  session: Session,
  {
    quotas,
    maxVoters,
  }: { readonly quotas: ReadonlyMap<string, Quota>; readonly maxVoters: number | null },
): Promise<void> {
  const { client, signal, output } = session;
  const print = (text: string) => {
    if (output !== "json") session.print(text);
  };
  // After the services: what is over its quota already may stay.
  for (const [namespace, quota] of quotas) {
    await client.call("setQuota", { params: { namespace }, body: quota, signal });
    print(`quota of namespace ${namespace} set\n`);
  }
  const count = voterCounts.find((allowed) => allowed === maxVoters);
  if (count === undefined) return;
  await client.call("setMaxVoters", { body: { maxVoters: count }, signal });
  print(`at most ${count} are to vote\n`);
}

/** "3 services and 1 quota". */
function amountsOf({
  services,
  quotas,
  maxVoters,
}: {
  readonly services: readonly unknown[];
  readonly quotas: object;
  readonly maxVoters: number | null;
}): string {
  const count = (many: number, what: string) => `${many} ${what}${many === 1 ? "" : "s"}`;
  const parts = [
    count(services.length, "service"),
    ...(Object.keys(quotas).length > 0 ? [count(Object.keys(quotas).length, "quota")] : []),
    ...(maxVoters === null ? [] : ["the number of voters"]),
  ];
  return new Intl.ListFormat("en").format(parts);
}

function batchesOf(services: readonly ServiceSpec[]): readonly ServiceSpec[][] {
  const batches: ServiceSpec[][] = [];
  let bytes = Number.POSITIVE_INFINITY;
  for (const service of services) {
    const size = Buffer.byteLength(JSON.stringify(service));
    if (bytes + size > maxBatchBytes) {
      batches.push([]);
      bytes = 0;
    }
    batches.at(-1)?.push(service);
    bytes += size;
  }
  return batches;
}
