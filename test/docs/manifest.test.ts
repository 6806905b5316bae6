import { readFileSync, writeFileSync } from "node:fs";
import t from "tap";
import { formatProblem, manifestSchema, parseManifest } from "../../src/spec/index.ts";
import { keyTable } from "../../src/spec/key-table.ts";
import { supportMatrix } from "../../src/spec/support-matrix.ts";

const page = new URL("../../docs/reference/manifest.md", import.meta.url);

const schema = new URL("../../docs/reference/manifest.schema.json", import.meta.url);

// `SKEIN_WRITE_DOCS=1` writes the pages anew instead of comparing them.
if (process.env["SKEIN_WRITE_DOCS"] === "1") {
  writeFileSync(page, supportMatrix());
  writeFileSync(schema, `${JSON.stringify(manifestSchema(), undefined, 2)}\n`);
}

t.test("The published JSON Schema is the one that the parser's table makes", async (t) => {
  // The formatter breaks its lines otherwise.
  t.strictSame(JSON.parse(readFileSync(schema, "utf8")), manifestSchema());
});

t.test("The reference page of the manifest", async (t) => {
  t.test("is the one that the parser's table makes", async (t) => {
    const hint = "Run `SKEIN_WRITE_DOCS=1 tap test/docs/manifest.test.ts` to write it anew.";
    t.equal(readFileSync(page, "utf8"), supportMatrix(), hint);
  });

  t.test("names every key of the table", async (t) => {
    const text = supportMatrix();
    for (const key of Object.values(keyTable).flatMap((rules) => Object.keys(rules))) {
      t.ok(text.includes(`\`${key}\``), key);
    }
    t.equal(text.match(/^## /gm)?.length, Object.keys(keyTable).length + 3);
  });
});

for (const name of ["deploy-a-service", "update-a-service", "survive-lost-machines"]) {
  t.test(`The manifests in the how-to guide ${name} are valid`, async (t) => {
    const guide = new URL(`../../docs/how-to/${name}.md`, import.meta.url);
    const blocks = [...readFileSync(guide, "utf8").matchAll(/```yaml\n(.*?)```/gs)];
    t.ok(blocks.length > 0);
    for (const [, text = ""] of blocks) {
      const files = [{ name: "compose.yaml", text }];
      const parsed = parseManifest({ files, environment: {} });
      t.strictSame(parsed.kind === "invalid" ? parsed.problems.map(formatProblem) : [], []);
    }
  });
}
