import {
  formatProblem,
  lintManifest,
  manifestSchema,
  type RenderedManifest,
  renderManifest,
  renderManifestText,
} from "../../spec/index.ts";
import { CliError } from "../cli-error.ts";
import { type ManifestFlags, manifestOptions, readManifest } from "../manifest-files.ts";
import { type Session, warnWithoutQuorum } from "../session.ts";

type ConfigFlags = ManifestFlags & {
  readonly format?: string;
  readonly quiet?: boolean;
  readonly schema?: boolean;
  readonly services?: boolean;
  readonly images?: boolean;
};

/** `skein config`: what the files say once merged, with every variable replaced. */
export function config(session: Session, flags: ConfigFlags): void {
  if (flags.schema) {
    session.print(`${JSON.stringify(manifestSchema(), undefined, 2)}\n`);
    return;
  }
  const isJson = formOf(session, flags.format) === "json";
  const manifest = readManifest(session, flags);
  if (flags.quiet) return;
  if (flags.services || flags.images) {
    const { services } = manifest;
    const names = services.map(({ name, template }) => (flags.services ? name : template.image));
    const lines = [...new Set(names)];
    session.print(
      isJson ? `${JSON.stringify(lines)}\n` : lines.map((line) => `${line}\n`).join(""),
    );
    return;
  }
  printManifest(session, manifest, isJson);
}

/** `skein lint`: what is allowed, but rarely meant. */
export function lint(session: Session, flags: ManifestFlags & { readonly strict?: boolean }): void {
  const linted = lintManifest(manifestOptions(session, flags));
  if (linted.kind === "invalid") {
    throw new CliError("usage", linted.problems.map(formatProblem).join("\n"));
  }
  const { warnings } = linted;
  if (session.output === "json") session.print(`${JSON.stringify(warnings, undefined, 2)}\n`);
  else session.print(warnings.map((warning) => `${formatProblem(warning)}\n`).join(""));
  if (flags.strict && warnings.length > 0) session.setExitCode(1);
}

/** `skein export [NAMESPACE]`: a manifest that means what the cluster agreed to run there. */
export async function exportManifest(
  session: Session,
  wanted: string | undefined,
  flags: { readonly format?: string },
): Promise<void> {
  const isJson = formOf(session, flags.format) === "json";
  const { services } = await session.client.call("backup", { signal: session.signal });
  const namespace = wanted ?? session.namespace ?? onlyNamespace(services);
  const found = services.filter((service) => service.namespace === namespace);
  if (found.length === 0) {
    throw new CliError(
      "not_found",
      `There is no service in namespace "${namespace}". See: skein ls`,
    );
  }
  const sorted = found.toSorted((a, b) => (a.name < b.name ? -1 : 1));
  printManifest(session, { namespace, services: sorted }, isJson);
  await warnWithoutQuorum(session);
}

function onlyNamespace(services: readonly { readonly namespace: string }[]): string {
  const [only, ...others] = [...new Set(services.map(({ namespace }) => namespace))].sort();
  if (only === undefined) throw new CliError("not_found", "There are no services to export.");
  if (others.length > 0) {
    const names = [only, ...others].join(", ");
    throw new CliError(
      "usage",
      `There are several namespaces (${names}). Say which: skein export NAMESPACE`,
    );
  }
  return only;
}

function printManifest(session: Session, manifest: RenderedManifest, isJson: boolean): void {
  session.print(
    isJson
      ? `${JSON.stringify(renderManifest(manifest), undefined, 2)}\n`
      : renderManifestText(manifest),
  );
}

function formOf(session: Session, format: string | undefined): "yaml" | "json" {
  if (format === undefined) return session.output === "json" ? "json" : "yaml";
  if (format === "yaml" || format === "json") return format;
  throw new CliError("usage", `"${format}" is no form of a manifest. Forms are: yaml, json`);
}
