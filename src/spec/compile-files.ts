import type { Section } from "./section.ts";
import type { FileSpec } from "./service-spec.ts";

/** The top-level `configs` or `secrets`. */
export function compileFiles(
  top: Section,
  group: "configs" | "secrets",
  namespace: string,
): readonly FileSpec[] {
  const word = group === "configs" ? "config" : "secret";
  return top
    .named(group, (key) => `in ${word} \`${key}\``)
    .flatMap(({ name: key, section }) => {
      const sources = sourcesOf(section, group);
      const name = section.text("name");
      const [source, ...others] = sources;
      if (source === undefined || others.length > 0) {
        const words =
          group === "configs" ? "`file`, `environment`, `content`" : "`file`, `environment`";
        section.diagnostics.problem(
          section.position,
          `the ${word} \`${key}\` must have one of ${words} or \`external: true\``,
        );
        return [];
      }
      const isExternal = source.kind === "external";
      return [{ key, name: name ?? (isExternal ? key : `${namespace}_${key}`), source }];
    });
}

function sourcesOf(section: Section, group: "configs" | "secrets"): readonly FileSpec["source"][] {
  const path = section.text("file");
  const variable = section.text("environment");
  const content = group === "configs" ? section.text("content") : undefined;
  return [
    ...(path === undefined ? [] : [{ kind: "file", path } as const]),
    ...(variable === undefined ? [] : [{ kind: "environment", variable } as const]),
    ...(content === undefined ? [] : [{ kind: "content", text: content } as const]),
    ...(section.boolean("external") === true ? [{ kind: "external" } as const] : []),
  ];
}
