import { type Document, LineCounter, parseDocument, visit, type YAMLError } from "yaml";
import type { Diagnostics } from "./diagnostics.ts";
import type { Position } from "./service-spec.ts";
import type { MapTree } from "./tree.ts";
import { type ManifestFile, maxDepth, positionAt, TooLarge, TreeBuilder } from "./tree-builder.ts";

export const maxFileLength = 2 ** 20;
/** One mistake makes many syntax errors; the first ones tell. */
const maxSyntaxErrors = 5;

/** Reads one file, or reports why it cannot be read. */
export function readYaml(
  file: ManifestFile,
  options: {
    readonly environment: Readonly<Record<string, string>>;
    readonly diagnostics: Diagnostics;
  },
): MapTree | undefined {
  const { diagnostics } = options;
  const start: Position = { file: file.name, line: 1, column: 1 };
  if (file.text.length > maxFileLength) {
    diagnostics.problem(start, "the file is larger than 1 MiB");
    return undefined;
  }
  const lines = new LineCounter();
  const document = parseDocument(file.text, {
    lineCounter: lines,
    prettyErrors: false,
    // The builder looks for them itself: the parser's way takes quadratic time.
    uniqueKeys: false,
    resolveKnownTags: false,
    logLevel: "error",
  });
  const problems = [...document.errors, ...document.warnings].filter(
    (error) => !mergeTagWarning.test(error.message),
  );
  for (const error of problems.slice(0, maxSyntaxErrors)) {
    const offset = openQuote(document, error) ?? error.pos[0];
    diagnostics.problem(positionAt(file, lines, offset), ...syntaxMessage(error));
  }
  if (problems.length > 0) return undefined;
  if (document.contents === null) {
    diagnostics.problem(start, "the file is empty", "it needs at least `services:`");
    return undefined;
  }
  try {
    const tree = new TreeBuilder({ file, lines, ...options }).build(document.contents);
    if (tree.kind === "map") return tree;
    diagnostics.problem(tree.position, "a manifest is a map of keys such as `services:`");
  } catch (error) {
    if (!(error instanceof TooLarge)) throw error;
    diagnostics.problem(error.position, error.message);
  }
  return undefined;
}

/** The parser does not know these tags; the builder does. */
const mergeTagWarning = /^Unresolved tag: !(?:reset|override)$/;

function syntaxMessage(error: YAMLError): readonly [message: string, hint?: string] {
  switch (error.code) {
    case "TAB_AS_INDENT":
      return ["a tab cannot indent YAML", "use spaces"];
    case "MULTIPLE_DOCS":
      return ["the file holds several YAML documents", "split it into several files"];
    case "RESOURCE_EXHAUSTION":
      return [`values are nested more than ${maxDepth} deep`];
    case "TAG_RESOLVE_FAILED": {
      const tag = error.message.replace(/^Unresolved tag: /, "");
      return [`the tag \`${tag.replace("tag:yaml.org,2002:", "!!")}\` is not supported`];
    }
    default:
      return [`this is not valid YAML: ${error.message}`];
  }
}

/** The parser reports an open quote where the file ends; what helps is where it was opened. */
function openQuote(document: Document.Parsed, error: YAMLError): number | undefined {
  const isTooDeep = document.errors.some(({ code }) => code === "RESOURCE_EXHAUSTION");
  if (error.code !== "MISSING_CHAR" || !error.message.includes("quote") || isTooDeep) {
    return undefined;
  }
  let opened: number | undefined;
  visit(document, {
    Scalar: (_key, node) => {
      if (node.type?.startsWith("QUOTE") && node.range) opened = node.range[0];
    },
  });
  return opened;
}
