import t from "tap";
import { formatProblem, parseManifest, renderManifest } from "../../src/spec/index.ts";

function parse(key: string) {
  const text = `name: shop\nservices:\n  web:\n    image: web\n${key === "" ? "" : `    ${key}\n`}`;
  return parseManifest({ files: [{ name: "c.yaml", text }], environment: {} });
}

for (const [key, priority] of [
  ["", undefined],
  ["x-priority: 0", undefined],
  ["x-priority: 100", 100],
  ["x-priority: -1000", -1_000],
  ['x-priority: "7"', 7],
] as const) {
  t.test(`the priority of "${key}" is ${priority ?? 0}, also of what is exported`, async (t) => {
    const parsed = parse(key);
    if (parsed.kind === "invalid") throw new Error("invalid");
    const [spec] = parsed.manifest.services;
    t.equal(spec?.placement.priority, priority);
    const rendered = JSON.stringify(renderManifest(parsed.manifest));
    t.equal(rendered.includes("x-priority"), priority !== undefined);
  });
}

for (const key of [
  "x-priority: 1001",
  "x-priority: -1001",
  "x-priority: high",
  "x-priority: 1.5",
]) {
  t.test(`"${key}" is refused with its place`, async (t) => {
    const parsed = parse(key);
    const problems = parsed.kind === "invalid" ? parsed.problems.map(formatProblem) : [];
    t.match(problems, [/^c\.yaml:5:17: .*x-priority.*-1000 to 1000/]);
  });
}
