import type { AppliedChanges, ServiceView } from "../../api/index.ts";
import type { Manifest } from "../../spec/index.ts";
import { describeChanges } from "../changes-text.ts";
import { followRollout } from "../follow.ts";
import { noteLeftOver } from "../left-over.ts";
import { type ManifestFlags, manifestOptions, readManifest } from "../manifest-files.ts";
import type { Session } from "../session.ts";
import { type QueueFlags, queueQuery } from "./queue.ts";

type UpOptions = ManifestFlags &
  QueueFlags & {
    readonly detach?: boolean;
    readonly dryRun?: boolean;
  };

/** `skein up`: reads the file, submits it, shows the change and follows it to its end. */
export async function up(session: Session, options: UpOptions): Promise<void> {
  const files = manifestOptions(session, options);
  const manifest = readManifest(session, options, files);
  const applied = await session.client.call("applyServices", {
    query: queueQuery(options),
    body: { services: [...manifest.services], dryRun: options.dryRun ?? false },
    signal: session.signal,
  });
  const isJson = session.output === "json";
  if (!isJson) session.print(describeChanges(applied, options.dryRun ?? false));
  await noteLeftOver(session, files, manifest);
  if (options.dryRun || options.detach) {
    if (isJson) session.print(`${JSON.stringify(applied, undefined, 2)}\n`);
    return;
  }
  const services = await followOrDetach(session, manifest, applied);
  if (isJson) session.print(`${JSON.stringify({ ...applied, services }, undefined, 2)}\n`);
  else session.print(describeAddresses(services));
  await noteWarnings(session, manifest);
}

/** Such as of a port that another process of the machine has: the tasks run all the same. */
async function noteWarnings(session: Session, { services }: Manifest): Promise<void> {
  const { warnings } = await session.client.call("status", { signal: session.signal });
  const names = services.map(({ namespace, name }) => `service ${namespace}/${name} `);
  for (const warning of warnings) {
    if (names.some((name) => warning.includes(name))) session.note(`warning: ${warning}\n`);
  }
}

async function followOrDetach(
  session: Session,
  { namespace, services }: Manifest,
  { changes }: AppliedChanges,
): Promise<readonly ServiceView[]> {
  const names = new Set(services.map((service) => service.name));
  try {
    return await followRollout(session, names, { namespace, isUpdate: true, changes });
  } catch (error) {
    if (session.signal.aborted) session.note("The roll-out goes on. Look with: skein ls\n");
    throw error;
  }
}

function describeAddresses(services: readonly ServiceView[]): string {
  return services
    .flatMap((service) =>
      service.endpoints.map((endpoint) => {
        const port = /^:(\d+)->/.exec(endpoint)?.[1];
        const where = port === undefined ? endpoint : `port ${port} of every node`;
        return `${service.name}: ${where}\n`;
      }),
    )
    .join("");
}
