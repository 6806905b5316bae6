import { Diagnostics } from "./diagnostics.ts";
import { readDotEnv } from "./env-file.ts";
import type { ManifestProblem } from "./service-spec.ts";

export type ReadDotEnv =
  | { readonly kind: "valid"; readonly values: Readonly<Record<string, string>> }
  | { readonly kind: "invalid"; readonly problems: readonly ManifestProblem[] };

/** The variables in a project's `.env`. `environment` is what its lines may use. */
export function readDotEnvFile(
  file: { readonly name: string; readonly text: string },
  environment: Readonly<Record<string, string>>,
): ReadDotEnv {
  const diagnostics = new Diagnostics({ allowIgnored: false });
  const values = readDotEnv(file, { environment, diagnostics });
  const problems = diagnostics.problems();
  return problems.length > 0 ? { kind: "invalid", problems } : { kind: "valid", values };
}
