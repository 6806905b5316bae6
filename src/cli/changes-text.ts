import type { AppliedChanges } from "../api/index.ts";

/** What an accepted change does to each service, a line for each. */
export function describeChanges({ changes }: AppliedChanges, isDryRun: boolean): string {
  if (changes.every((change) => change.action === "none")) return "no changes\n";
  const marks = { create: "+", update: "~", none: "=" };
  const lines = changes.map(({ action, namespace, name, details }) => {
    const detail = details.length === 0 ? "" : `  ${details.join(", ")}`;
    return `${marks[action]} ${namespace}/${name}${action === "none" ? "  unchanged" : detail}\n`;
  });
  return lines.join("") + (isDryRun ? "nothing was changed (dry run)\n" : "");
}
