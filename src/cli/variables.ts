import { CliError } from "./cli-error.ts";

/** `NAME=VALUE`, or `NAME` for the value that it has here; a name without one is left out. */
export function variablesOf(
  pairs: readonly string[],
  environment: NodeJS.ProcessEnv,
): Record<string, string> {
  const variables: Record<string, string> = {};
  for (const pair of pairs) {
    const equals = pair.indexOf("=");
    const name = equals < 0 ? pair : pair.slice(0, equals);
    if (name === "") throw new CliError("usage", `-e takes NAME=VALUE, not "${pair}"`);
    const value = equals < 0 ? environment[name] : pair.slice(equals + 1);
    if (value !== undefined) variables[name] = value;
  }
  return variables;
}
