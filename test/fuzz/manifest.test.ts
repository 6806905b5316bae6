import { randomInt } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import t from "tap";
import { parseDocument, stringify, visit } from "yaml";
import { type Random, randomBelow, seededRandom } from "../../src/kernel/index.ts";
import {
  formatProblem,
  lintManifest,
  type ParsedManifest,
  parseManifest,
  renderManifestText,
  serviceSpecSchema,
} from "../../src/spec/index.ts";
import { keyTable } from "../../src/spec/key-table.ts";

/**
 * Damaged and hostile manifests: the parser says yes, or where what is wrong, and soon. What
 * it accepts is a valid service and can be exported and read again. Seeds are fresh in each
 * run and are printed.
 */

const folder = new URL("../spec/corpus/", import.meta.url);
const corpus = readdirSync(folder).map((name) => readFileSync(new URL(name, folder), "utf8"));
const rounds = 1_000;

t.setTimeout(180_000);

function pick<Value>(random: Random, values: readonly Value[]): Value {
  const value = values[randomBelow(random, values.length)];
  if (value === undefined) throw new Error("There is nothing to pick from.");
  return value;
}

/** Everything that must hold of an answer, whatever the file was. */
function check(text: string, name: string): ParsedManifest {
  const options = {
    files: [{ name: "c.yaml", text }],
    environment: { SET: "1", EMPTY: "" },
    // A file may name itself.
    readFile: (path: string) => (/ya?ml/.test(path) ? text : "A=1"),
  };
  const parsed = parseManifest(options);
  if (parsed.kind === "invalid") {
    if (parsed.problems.length === 0) throw new Error(`${name}: it was refused without a reason`);
    for (const problem of parsed.problems) {
      const line = formatProblem(problem);
      if (!/^[^\n]+?:[1-9]\d*:[1-9]\d*: [^\n]+$/.test(line)) throw new Error(`${name}: ${line}`);
      if (
        /\bat .*\.ts:\d+|undefined|\[object|NaN|ZodError|Error:/.test(
          line.replace(/"[^"]*"|`[^`]*`/g, ""),
        )
      ) {
        throw new Error(`${name}: this is not meant for people: ${line}`);
      }
    }
    return parsed;
  }
  const { namespace, services, extensions } = parsed.manifest;
  for (const service of services) serviceSpecSchema.parse(service);
  lintManifest(options);
  const rendered = renderManifestText({ namespace, services, extensions });
  const again = parseManifest({ files: [{ name: "e.yaml", text: rendered }], environment: {} });
  if (again.kind === "invalid") {
    throw new Error(
      `${name}: exported, it is refused: ${again.problems.map(formatProblem).join("\n")}\n${rendered}`,
    );
  }
  if (JSON.stringify(sorted(again.manifest.services)) !== JSON.stringify(sorted(services))) {
    throw new Error(`${name}: exported, it means something else:\n${rendered}`);
  }
  return parsed;
}

/** With keys in one order. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).sort(([left], [right]) => (left < right ? -1 : 1));
  return Object.fromEntries(entries.map(([key, inner]) => [key, sorted(inner)]));
}

function run(
  seed: number,
  round: (random: Random) => string,
): { accepted: number; slowestMs: number } {
  const random = seededRandom(seed);
  let accepted = 0;
  let slowestMs = 0;
  for (let index = 0; index < rounds; index += 1) {
    const text = round(random);
    const before = performance.now();
    try {
      if (check(text, `seed ${seed}, round ${index}`).kind === "valid") accepted += 1;
    } catch (error) {
      throw new Error(`seed ${seed}, round ${index}, with:\n${text.slice(0, 2_000)}`, {
        cause: error,
      });
    }
    slowestMs = Math.max(slowestMs, performance.now() - before);
  }
  return { accepted, slowestMs };
}

const fragments = [
  ...[
    "&a ",
    "*a",
    "<<: *a",
    "!reset ",
    "!override ",
    "!!binary ",
    "? ",
    "- ",
    ": ",
    "\t",
    "\n",
    "  ",
    "#",
  ],
  ...[
    "{",
    "}",
    "[",
    "]",
    "'",
    '"',
    "|",
    ">",
    "%YAML 9.9\n",
    "---\n",
    "...\n",
    "\0",
    "\u2028",
    "\ufeff",
    "\ud800",
  ],
  ...[
    "$",
    "${",
    "${A",
    "${A:-",
    "${A:?",
    "}",
    "$$",
    "${SET:+${EMPTY:-x}}",
    "~",
    "null",
    "0x",
    "1e999",
    "-0",
    ".inf",
  ],
  ...[
    "__proto__",
    "constructor",
    "toString",
    "x-",
    "extends: web",
    "include: [c.yaml]",
    "99999999999999999999",
  ],
];

t.test("Files with letters changed, cut, moved and put in", async (t) => {
  const seed = randomInt(2 ** 31);
  const { accepted, slowestMs } = run(seed, (random) => {
    let text = pick(random, corpus);
    for (let change = randomBelow(random, 4); change >= 0; change -= 1) {
      const at = randomBelow(random, text.length + 1);
      const length = randomBelow(random, 12);
      const kind = randomBelow(random, 4);
      const piece = kind === 0 ? pick(random, fragments) : "";
      const moved =
        kind === 1 ? text.slice(randomBelow(random, text.length + 1)).slice(0, 40) : piece;
      text = text.slice(0, at) + moved + text.slice(kind === 2 ? at + length : at);
    }
    return text;
  });
  t.comment(
    `seed ${seed}: ${accepted} of ${rounds} accepted, the slowest took ${Math.round(slowestMs)} ms`,
  );
  t.ok(accepted > 0 && accepted < rounds);
});

t.test("Files with values and keys exchanged", async (t) => {
  const seed = randomInt(2 ** 31);
  const keys = Object.values(keyTable).flatMap((rules) => Object.keys(rules));
  const values: readonly unknown[] = [
    ...[
      null,
      true,
      false,
      0,
      -1,
      1.5,
      1e308,
      "",
      " ",
      "a",
      "a:b",
      "1s",
      "64m",
      "/a",
      "/a:/b",
      "80:80",
      "$$",
      "é\u0000",
    ],
    ...[
      [],
      {},
      [null],
      [[]],
      [{}],
      { a: null },
      { a: { b: [] } },
      ["a", 1],
      "x".repeat(300),
      { test: ["CMD"] },
    ],
  ];
  const { accepted } = run(seed, (random) => {
    const document = parseDocument(pick(random, corpus), { uniqueKeys: false, logLevel: "error" });
    const share = 1 + randomBelow(random, 20);
    visit(document, {
      Pair: (_key, pair) => {
        if (randomBelow(random, share) !== 0) return;
        if (randomBelow(random, 3) === 0) pair.key = document.createNode(pick(random, keys));
        else pair.value = document.createNode(pick(random, values));
      },
    });
    try {
      return document.toString();
    } catch {
      return "services: {}"; // What was exchanged was an anchor that is needed.
    }
  });
  t.comment(`seed ${seed}: ${accepted} of ${rounds} accepted`);
  t.ok(accepted < rounds);
});

t.test("Services made of keys at random", async (t) => {
  const seed = randomInt(2 ** 31);
  const supported = Object.entries(keyTable.service).flatMap(([key, rule]) =>
    rule.status === "supported" ? [{ key, example: rule.example }] : [],
  );
  const { accepted } = run(seed, (random) => {
    const service: Record<string, unknown> = { image: "web:1" };
    for (let count = randomBelow(random, 8); count >= 0; count -= 1) {
      const { key, example } = pick(random, supported);
      const value: unknown = parseDocument(example).toJS();
      service[key] = value;
    }
    return stringify({ name: "shop", services: { web: service, base: { image: "base:1" } } });
  });
  t.comment(`seed ${seed}: ${accepted} of ${rounds} accepted`);
  t.ok(accepted > rounds / 20);
});

t.test("What is made to take long is refused soon", async (t) => {
  const levels = Array.from(
    { length: 30 },
    (_, n) => `l${n + 1}: &l${n + 1} [${`*l${n}, `.repeat(9)}*l${n}]`,
  );
  const laughs = [
    "x-l:\n  l0: &l0 [a]",
    ...levels.map((level) => `  ${level}`),
    "services: {a: {image: a, command: *l30}}",
  ].join("\n");
  const merges = Array.from(
    { length: 2_000 },
    (_, n) => `x-m${n + 1}: &m${n + 1} {<<: *m${n}, k${n}: 1}`,
  );
  const chain = Array.from({ length: 5_000 }, (_, n) => `  s${n}: {image: a, extends: s${n + 1}}`);
  const hostile: Readonly<Record<string, string>> = {
    "10 MB of letters": "a".repeat(10_000_000),
    "10 MB of services": `services:\n${"  a: {image: a}\n".repeat(625_000)}`,
    "a billion laughs": laughs,
    "merges of merges": `x-m0: &m0 {a: 1}\n${merges.join("\n")}\nservices: {a: {image: a}}`,
    "a chain of extends": `services:\n${chain.join("\n")}\n  s5000: {image: a}`,
    "a circle of extends": `services:\n${chain.join("\n")}\n  s5000: {image: a, extends: s0}`,
    "a circle of includes": "include: [c.yaml]\nservices: {a: {image: a}}",
    "ten circles of includes": `include: [${Array.from({ length: 10 }, (_, n) => `c${n}.yaml`).join(", ")}]`,
    "extends of itself in other files":
      "services: {a: {extends: {file: c.yaml, service: b}}, b: {extends: {file: d.yaml, service: a}}}",
    "deep lists": "[".repeat(50_000),
    "deep maps": `a: ${"{b: ".repeat(50_000)}`,
    "deep variables": `services: {a: {image: '${"${A:-".repeat(20_000)}'}}`,
    "many variables": `services: {a: {image: '${"$A".repeat(200_000)}'}}`,
    "a long key": `${"k".repeat(900_000)}: 1`,
    "many unknown keys": `services: {a: {image: a, ${Array.from({ length: 20_000 }, (_, n) => `zz${n}: 1`).join(", ")}}}`,
    "many equal keys": `services: {a: {${"image: a, ".repeat(50_000)}}}`,
    "many open quotes": "a: '\n".repeat(100_000),
    "many ports": `services: {a: {image: a, ports: [${"1-65535, ".repeat(10_000)}]}}`,
    "many services": `services:\n${Array.from({ length: 40_000 }, (_, n) => `  s${n}: {image: a}\n`).join("")}`,
  };
  // How long a file of ordinary make takes here, so that a slow machine is no failure.
  const usual = `services:\n${Array.from({ length: 900 }, (_, n) => `  s${n}: {image: 'a:1', environment: {A: b}, ports: ['${2_000 + n}:80']}\n`).join("")}`;
  const start = performance.now();
  check(usual, "the usual");
  const usualMs = performance.now() - start;
  for (const [name, text] of Object.entries(hostile)) {
    const before = performance.now();
    const { kind } = check(text, name);
    const ratio = (performance.now() - before) / usualMs;
    t.equal(kind, "invalid", name);
    t.ok(ratio < 10, `${name} takes ${ratio.toFixed(2)} times as long as 900 ordinary services`);
  }
});
