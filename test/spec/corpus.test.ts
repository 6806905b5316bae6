import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import t from "tap";
import { parseManifest, renderManifestText } from "../../src/spec/index.ts";
import { refusedByMatrix } from "./matrix.ts";
import { valid } from "./parse.ts";

/**
 * Manifests in the kind of the Compose Specification's examples (`spec-`), and of those that
 * people publish. The first lines of each say what is expected of it:
 *
 *     # verdict: refused
 *     # keys: 5:5 build, 9:5 depends_on
 *     # values: 12:9
 *
 * `keys` must also be what the published page refuses. `SKEIN_WRITE_CORPUS=1` writes the
 * lines anew, to be read before they are committed.
 */

const folder = new URL("corpus/", import.meta.url);
const files = readdirSync(folder).filter((name) => name.endsWith(".yaml"));
const environment = { SET: "1", EMPTY: "" };

const other: Readonly<Record<string, string>> = {
  "other/compose.yaml": "services: {helper: {image: 'example/helper:1'}}",
};

/** Any file that a manifest names is there. */
function readFile(path: string): string | undefined {
  return other[path.replace(/^\.\//, "")] ?? "A=1";
}

function judge(name: string, text: string) {
  const files = [{ name, text }];
  const parsed = parseManifest({ files, environment, readFile, directory: "corpus" });
  if (parsed.kind === "valid") return { verdict: "accepted", keys: [], values: [] };
  const problems = parsed.problems.map(({ position, message }) => {
    const key =
      /^(?:unknown key )?`(?:[^`]*\.)?([^`.:]+)`(?: is not supported yet$| in | at )/.exec(
        message,
      )?.[1];
    const isKey = /^unknown key |^`[^`:]+` is not supported yet$/.test(message);
    const place = `${position.line}:${position.column}`;
    return { place, key: isKey ? key : undefined };
  });
  const keys = problems.flatMap(({ place, key }) => (key === undefined ? [] : [`${place} ${key}`]));
  const values = problems.flatMap(({ place, key }) => (key === undefined ? [place] : []));
  return { verdict: "refused", keys, values };
}

function headOf({ verdict, keys, values }: ReturnType<typeof judge>): string {
  return [
    `# verdict: ${verdict}`,
    ...(keys.length > 0 ? [`# keys: ${keys.join(", ")}`] : []),
    ...(values.length > 0 ? [`# values: ${values.join(", ")}`] : []),
    "",
  ].join("\n");
}

/** The places count without the lines at the head. */
function split(text: string): { readonly head: string; readonly body: string } {
  const head = /^(?:# (?:verdict|keys|values): .*\n)*/.exec(text)?.[0] ?? "";
  return { head, body: text.slice(head.length) };
}

if (process.env["SKEIN_WRITE_CORPUS"] === "1") {
  for (const name of files) {
    const { body } = split(readFileSync(new URL(name, folder), "utf8"));
    writeFileSync(new URL(name, folder), headOf(judge(name, body)) + body);
  }
}

t.test("The corpus is large and varied", async (t) => {
  const isSpecification = (name: string) => name.startsWith("spec-");
  t.ok(files.filter(isSpecification).length >= 75);
  t.ok(files.filter((name) => !isSpecification(name)).length >= 80);
});

for (const name of files) {
  t.test(`The manifest ${name} is judged as expected`, async (t) => {
    const { head, body } = split(readFileSync(new URL(name, folder), "utf8"));
    const judged = judge(name, body);
    t.equal(headOf(judged), head);
    const refused = refusedByMatrix(body).map(({ key, place }) => `${place} ${key}`);
    // What comes first hides the rest where a file cannot be read at all.
    const isUnreadable = judged.values.length > 0 && judged.keys.length === 0;
    if (!isUnreadable) t.strictSame([...judged.keys].sort(), refused.sort(), "as the page says");
    if (judged.verdict === "refused") return;
    const options = { environment, readFile, directory: "corpus" };
    const { namespace, services, extensions } = valid(body, options);
    const again = valid(renderManifestText({ namespace, services, extensions }));
    t.strictSame(again.services, services, "and exported, it means the same");
  });
}
