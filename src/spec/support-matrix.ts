import { expected, type KeyRule, type SectionName } from "./key-rule.ts";
import { keyTable } from "./key-table.ts";

/** In the order of the page. */
const chapters: readonly (readonly [SectionName, string])[] = [
  ["top", "Top level"],
  ["include", "Entries of `include`"],
  ["service", "Services: `services.NAME`"],
  ["extends", "`extends`"],
  ["env_file", "Entries of `env_file`"],
  ["port", "Entries of `ports`"],
  ["mount", "Entries of `volumes` of a service"],
  ["bind", "`bind` of a mount"],
  ["mount_volume", "`volume` of a mount"],
  ["mount_tmpfs", "`tmpfs` of a mount"],
  ["device", "Entries of `devices`"],
  ["ulimit", "Entries of `ulimits`"],
  ["logging", "`logging`"],
  ["blkio_config", "`blkio_config`"],
  ["blkio_weight", "Entries of `blkio_config.weight_device`"],
  ["blkio_rate", "Rates of `blkio_config`"],
  ["ingress", "Entries of `x-ingress`"],
  ["healthcheck", "`healthcheck`"],
  ["x-healthcheck", "`x-healthcheck`"],
  ["depends_on", "Entries of `depends_on`"],
  ["deploy", "`deploy`"],
  ["update_config", "`deploy.update_config`"],
  ["rollback_config", "`deploy.rollback_config`"],
  ["restart_policy", "`deploy.restart_policy`"],
  ["resources", "`deploy.resources`"],
  ["limits", "`deploy.resources.limits`"],
  ["reservations", "`deploy.resources.reservations`"],
  ["placement", "`deploy.placement`"],
  ["preference", "Entries of `deploy.placement.preferences`"],
  ["x-placement", "`x-placement`"],
  ["x-update", "`x-update`"],
  ["x-failover", "`x-failover`"],
  ["x-schedule", "`x-schedule`"],
  ["x-job", "`x-job`"],
  ["volume", "Volumes: `volumes.NAME`"],
  ["config", "Configs: `configs.NAME` (read, but refused until they are delivered)"],
  ["secret", "Secrets: `secrets.NAME` (read, but refused until they are delivered)"],
];

const preface = `# The manifest

A manifest is a file of the [Compose Specification](https://github.com/compose-spec/compose-spec/blob/main/spec.md).
This page is generated from the table by which the parser reads a manifest.

- **Unknown keys are errors**, with the nearest key that exists.
- **Keys of the specification that Skein does not act on yet are errors** too: a manifest that is
  accepted is obeyed. \`--allow-ignored\` lists them and goes on without them.
- Keys that start with \`x-\` are accepted everywhere. Those that this page does not name have no effect;
  those of a service are kept, and \`skein export\` gives them back.
- Anchors, aliases and \`<<\` work.
- Files are UTF-8. A file is at most 1 MiB; a project is made of at most 100 files and 1000 services, and
  holds at most 100000 values once its aliases are followed and its services extended.
- Editors can check a manifest by the [JSON Schema](manifest.schema.json), made from the same table.

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

Defaults may hold variables themselves. Variables that the environment does not have are looked up in
the file \`.env\` beside the first manifest, or in the files that \`--env-file\` names.
\`COMPOSE_PROJECT_NAME\` is the namespace, and \`COMPOSE_PROFILES\` does what \`--profile\` does.

## Several files

Later files override earlier ones. Maps merge and lists append; any other value, \`command\`,
\`entrypoint\` and \`healthcheck.test\` are replaced. In a list, a port, mount or device replaces the
one of an earlier file that stands for the same thing. \`!reset\` before a value takes the key away,
\`!override\` replaces what would be merged. \`extends\` lays a service over another by the same rules.
Paths are seen from the directory of the first file, those of an included or extended file from its
own.

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
