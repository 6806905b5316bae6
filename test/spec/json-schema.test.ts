import { readdirSync, readFileSync } from "node:fs";
import t from "tap";
import { parse } from "yaml";
import { formatProblem, type Json, manifestSchema, parseManifest } from "../../src/spec/index.ts";
import { keyTable } from "../../src/spec/key-table.ts";

type Schema = Readonly<Record<string, Json>>;

const root = manifestSchema() as Schema;

function isSchema(value: Json | undefined): value is { [key: string]: Json } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** As much of a validator as the schema needs; a keyword that it does not know is a mistake. */
function accepts(schema: Schema, value: unknown): boolean {
  return Object.entries(schema).every(([keyword, given]) => {
    const check = keywords[keyword];
    if (check === undefined) throw new Error(`The schema uses ${keyword}.`);
    return check(given, value, schema);
  });
}

type Check = (given: Json, value: unknown, schema: Schema) => boolean;

const isMap = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const schemas = (given: Json): readonly Schema[] =>
  Array.isArray(given) ? given.filter(isSchema) : [];
const always: Check = () => true;

function isOfType(type: Json, value: unknown): boolean {
  switch (type) {
    case "object":
      return isMap(value);
    case "array":
      return Array.isArray(value);
    case "null":
      return value === null;
    case "integer":
      return Number.isInteger(value);
    default:
      return typeof value === type;
  }
}

function propertiesFit(schema: Schema, value: unknown): boolean {
  if (!isMap(value)) return true;
  const { properties = {}, patternProperties = {}, additionalProperties = true } = schema;
  return Object.entries(value).every(([key, inner]) => {
    const own =
      isSchema(properties) && Object.hasOwn(properties, key) ? properties[key] : undefined;
    if (isSchema(own)) return accepts(own, inner);
    const pattern = isSchema(patternProperties)
      ? Object.entries(patternProperties).find(([source]) => new RegExp(source).test(key))?.[1]
      : undefined;
    if (isSchema(pattern)) return accepts(pattern, inner);
    return isSchema(additionalProperties)
      ? accepts(additionalProperties, inner)
      : additionalProperties === true;
  });
}

const keywords: Readonly<Record<string, Check>> = {
  $schema: always,
  title: always,
  description: always,
  definitions: always,
  $ref: (given, value) => {
    const name = String(given).replace("#/definitions/", "");
    const found = isSchema(root["definitions"]) ? root["definitions"][name] : undefined;
    if (!isSchema(found)) throw new Error(`There is no definition ${name}.`);
    return accepts(found, value);
  },
  type: (given, value) =>
    (Array.isArray(given) ? given : [given]).some((type) => isOfType(type, value)),
  anyOf: (given, value) => schemas(given).some((schema) => accepts(schema, value)),
  not: (given, value) => !(isSchema(given) && accepts(given, value)),
  enum: (given, value) => Array.isArray(given) && given.some((each) => each === value),
  const: (given, value) => given === value,
  pattern: (given, value) => typeof value !== "string" || new RegExp(String(given)).test(value),
  minimum: (given, value) => typeof value !== "number" || value >= Number(given),
  maximum: (given, value) => typeof value !== "number" || value <= Number(given),
  minLength: (given, value) => typeof value !== "string" || value.length >= Number(given),
  minProperties: (given, value) => !isMap(value) || Object.keys(value).length >= Number(given),
  required: (given, value) =>
    !isMap(value) ||
    (Array.isArray(given) && given.every((key) => typeof key === "string" && key in value)),
  items: (given, value) =>
    !Array.isArray(value) || !isSchema(given) || value.every((item) => accepts(given, item)),
  properties: (_given, value, schema) => propertiesFit(schema, value),
  patternProperties: (_given, value, schema) => propertiesFit(schema, value),
  additionalProperties: (_given, value, schema) => propertiesFit(schema, value),
};

function problems(text: string): readonly string[] {
  const files = [{ name: "c.yaml", text }];
  const parsed = parseManifest({
    files,
    environment: { SET: "1", EMPTY: "" },
    readFile: () => "A=1",
  });
  return parsed.kind === "valid" ? [] : parsed.problems.map(formatProblem);
}

/** What stands in a file's structure; the rest only the parser sees. */
const structural =
  /unknown key|is not supported yet$|is not supported yet; |must be (?:a whole number|a number|a duration|an amount|true or false|a map|one|`)|has no `|manifest has no services|cannot be the name of a service|holds a (?:map|list) where/;

/** The syntax of one text. */
const withinText = /binds to one address|option|`x-ports: |`network_mode: /;

t.test("The JSON Schema judges the corpus as the parser does", async (t) => {
  const folder = new URL("corpus/", import.meta.url);
  let refused = 0;
  for (const name of readdirSync(folder)) {
    const text = readFileSync(new URL(name, folder), "utf8");
    // What is no YAML by itself is none for an editor either; profiles the schema does not see.
    if (/-circle|duplicate-key|spec-include|spec-profiles/.test(name)) continue;
    const said = problems(text);
    const isRefused = said.some((line) => structural.test(line) && !withinText.test(line));
    if (isRefused) refused += 1;
    t.equal(
      accepts(root, parse(text, { merge: true })),
      !isRefused,
      `${name}: ${said.join(" | ")}`,
    );
  }
  t.ok(refused > 40);
});

t.test(
  "The JSON Schema accepts every example of the table, and refuses what is not supported",
  async (t) => {
    for (const [section, rules] of Object.entries(keyTable)) {
      const definition = isSchema(root["definitions"]) ? root["definitions"][section] : undefined;
      const properties = isSchema(definition) ? definition["properties"] : undefined;
      if (!isSchema(properties)) throw new Error(`There is no definition ${section}.`);
      for (const [key, rule] of Object.entries(rules)) {
        const own = properties[key];
        if (!isSchema(own)) throw new Error(`${section}.${key} is not in the schema.`);
        const value = rule.status === "supported" ? parse(rule.example) : "x";
        t.equal(accepts(own, value), rule.status !== "not-yet", `${section}.${key}`);
      }
    }
  },
);

const single: readonly (readonly [lines: string, isAccepted: boolean])[] = [
  ["deploy: {replicas: 3}", true],
  ["deploy: {replicas: '3'}", true],
  ["deploy: {replicas: '${N:-3}'}", true],
  ["deploy: {replicas: three}", false],
  ["deploy: {replicas: -1}", false],
  ["stop_grace_period: 30", false],
  ["stop_grace_period: 1m30s", true],
  ["mem_limit: 64m", true],
  ["mem_limit: lots", false],
  ["init: true", true],
  ["init: 'yes'", false],
  ["environment: {A: 1, B: null, C: true}", true],
  ["environment: {A: [1]}", false],
  ["environment: [A=1, B]", true],
  ["deploy: {update_config: {order: start-first}}", true],
  ["deploy: {update_config: {order: first}}", false],
  ["healthcheck: {test: [CMD, a], retries: 3}", true],
  ["healthcheck: []", false],
  ["ulimits: {nofile: 3, nproc: {soft: 1, hard: 2}}", true],
  ["ulimits: {nproc: {soft: 1}}", false],
  ["ports: [80, '81:81', {target: 82}]", true],
  ["ports: [{published: 82}]", false],
  ["volumes: [{type: tmpfs, target: /a}]", true],
  ["volumes: [{type: floppy, target: /a}]", false],
  ["extra_hosts: {a: 10.0.0.1}", true],
  ["x-anything: [at, all]", true],
  ["replicas: 3", false],
];

t.test("The JSON Schema and the parser agree on single keys", async (t) => {
  for (const [lines, isAccepted] of single) {
    const text = `services:\n  web:\n    image: web:1\n    ${lines}\n`;
    t.equal(accepts(root, parse(text)), isAccepted, lines);
    t.equal(problems(text).length === 0, isAccepted, `${lines}, by the parser`);
  }
});
