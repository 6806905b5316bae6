import { expected, type KeyRule, type SectionName } from "./key-rule.ts";
import { keyTable } from "./key-table.ts";

/** In the order of the page. */
const chapters: readonly (readonly [SectionName, string])[] = [
  ["top", "Top level"],
  ["service", "Services: `services.NAME`"],
  ["env_file", "Entries of `env_file`"],
  ["port", "Entries of `ports`"],
  ["mount", "Entries of `volumes` of a service"],
  ["ingress", "Entries of `x-ingress`"],
  ["healthcheck", "`healthcheck`"],
  ["x-healthcheck", "`x-healthcheck`"],
  ["deploy", "`deploy`"],
  ["update_config", "`deploy.update_config`"],
  ["restart_policy", "`deploy.restart_policy`"],
  ["resources", "`deploy.resources`"],
  ["limits", "`deploy.resources.limits`"],
  ["reservations", "`deploy.resources.reservations`"],
  ["placement", "`deploy.placement`"],
  ["volume", "Volumes: `volumes.NAME`"],
];

const preface = `# The manifest

A manifest is a file of the [Compose Specification](https://github.com/compose-spec/compose-spec/blob/main/spec.md).
This page is generated from the table by which the parser reads a manifest.

- **Unknown keys are errors**, with the nearest key that exists.
- **Keys of the specification that Skein does not act on yet are errors** too: a manifest that is
  accepted is obeyed. \`--allow-ignored\` lists them and goes on without them.
- Keys that start with \`x-\` are accepted everywhere. Those that this page does not name have no effect.
- Anchors, aliases and \`<<\` work. The tags \`!reset\` and \`!override\` are not supported.
- A file is at most 1 MiB, and holds at most 100000 values once its aliases are followed.

## Variables

In every value, \`$NAME\` and \`\${NAME}\` stand for a variable of the environment; one that is not set
stands for an empty text, with a warning. \`$$\` stands for a dollar sign.

| Written | Stands for |
|---|---|
| \`\${NAME:-default}\` | the default when the variable is not set or empty |
| \`\${NAME-default}\` | the default when the variable is not set |
| \`\${NAME:?message}\` | an error when the variable is not set or empty |
| \`\${NAME?message}\` | an error when the variable is not set |
| \`\${NAME:+other}\` | the other text when the variable is set and not empty |
| \`\${NAME+other}\` | the other text when the variable is set |

Defaults may hold variables themselves.

## Several files

Later files override earlier ones. Maps merge and lists append; any other value, \`command\`,
\`entrypoint\` and \`healthcheck.test\` are replaced. A mount replaces the one of an earlier file at the
same place.

## Units

Durations are numbers with a unit: \`500ms\`, \`10s\`, \`1m30s\`, \`1h\`, \`1d\`. Amounts of memory are numbers
with \`b\`, \`k\`, \`M\`, \`G\` or \`T\`, each 1024 times the one before.
`;

/** The reference page of the manifest, in Markdown, from the parser's own table. */
export function supportMatrix(): string {
  const described = chapters.map(([name, heading]) =>
    describeSection(heading, Object.entries(keyTable[name])),
  );
  return [preface, ...described].join("\n");
}

function describeSection(heading: string, rules: readonly (readonly [string, KeyRule])[]): string {
  const lines = [`## ${heading}`, ""];
  const used = rules.flatMap(([key, rule]) =>
    rule.status === "supported" ? [usedRow(key, rule)] : [],
  );
  lines.push("| Key | Value | Example | Meaning |", "|---|---|---|---|", ...used, "");
  lines.push(...unusedList("Accepted without effect", rules, "no-effect"));
  lines.push(...unusedList("Not supported yet", rules, "not-yet"));
  return lines.join("\n");
}

function usedRow(key: string, rule: Extract<KeyRule, { status: "supported" }>): string {
  const cells = [`\`${key}\``, expected(rule.type), `\`${rule.example}\``, rule.note];
  return `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
}

function unusedList(
  title: string,
  rules: readonly (readonly [string, KeyRule])[],
  status: KeyRule["status"],
): readonly string[] {
  const chosen = rules.filter(([, rule]) => rule.status === status);
  if (chosen.length === 0) return [];
  const items = chosen.map(([key, rule]) => `- \`${key}\`: ${rule.note}`);
  return [`${title}:`, "", ...items, ""];
}
