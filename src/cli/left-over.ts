import { type Manifest, type ParseManifestOptions, parseManifest } from "../spec/index.ts";
import type { Session } from "./session.ts";

/** More names than this nobody reads. */
const maxNames = 20;

/**
 * Names the services of the namespace that the files do not have: whoever takes one out of a
 * file, or renames it, has it running still. What other profiles of the files have is theirs,
 * and a job that runs once, as `skein run` makes them, belongs to no file.
 */
export async function noteLeftOver(
  session: Session,
  options: ParseManifestOptions,
  { namespace, services }: Manifest,
): Promise<void> {
  const { client, signal } = session;
  const running = await client.call("listServices", { query: { namespace }, signal });
  const asked = new Set(services.map(({ name }) => name));
  const left = running.filter(
    ({ name, spec }) =>
      !asked.has(name) &&
      spec.isStopped !== true &&
      (spec.schedule !== undefined || !spec.mode.kind.endsWith("-job")),
  );
  if (left.length === 0) return;
  const whole = parseManifest({ ...options, profiles: ["*"] });
  // Profiles may exclude each other, as by one port. Whose the services are is not known then.
  if (whole.kind === "invalid") return;
  const known = new Set(whole.manifest.services.map(({ name }) => name));
  const names = left.map(({ name }) => name).filter((name) => !known.has(name));
  if (names.length === 0) return;
  const shown = names.slice(0, maxNames);
  const more = names.length > shown.length ? `, and ${names.length - shown.length} more` : "";
  const remedy = shown.map((name) => `${namespace}/${name}`).join(" ");
  session.note(
    `warning: not in the file, and still in namespace "${namespace}": ${shown.join(", ")}${more}. If nobody needs them: skein rm ${remedy}\n`,
  );
}
