import type { KeyRule, SectionName, ValueType } from "./key-rule.ts";
import { keyTable } from "./key-table.ts";
import { servicePattern } from "./service-name.ts";
import type { Json } from "./service-spec.ts";

type Schema = { readonly [key: string]: Json };

/**
 * The JSON Schema of a manifest, for editors, from the parser's own table. It judges the
 * structure; what only the parser can judge (a text's own syntax, names that must be
 * declared) it lets pass. Any text with a `$` may become what is needed.
 */
export function manifestSchema(): Schema {
  const names = Object.keys(keyTable) as SectionName[];
  return {
    $schema: "http://json-schema.org/draft-07/schema#",
    title: "Skein manifest",
    description: "A file of the Compose Specification, as far as Skein acts on it.",
    ...sectionSchema("top"),
    definitions: Object.fromEntries(names.map((name) => [name, sectionSchema(name)])),
  };
}

/** Keys without which the parser refuses a section, wherever it stands. */
const required: Partial<Record<SectionName, readonly string[]>> = {
  include: ["path"],
  extends: ["service"],
  env_file: ["path"],
  port: ["target"],
  mount: ["type", "target"],
  device: ["source"],
  ulimit: ["soft", "hard"],
  blkio_weight: ["path", "weight"],
  blkio_rate: ["path", "rate"],
  ingress: ["host"],
  "x-update": ["strategy"],
};

function sectionSchema(name: SectionName): Schema {
  const rules = keyTable[name];
  const properties = Object.entries(rules).map(([key, rule]) => [key, ruleSchema(rule)] as const);
  return {
    type: "object",
    properties: Object.fromEntries(properties),
    patternProperties: { "^x-": {} },
    additionalProperties: false,
    ...(required[name] && { required: [...(required[name] ?? [])] }),
    ...(name === "top" && { anyOf: [{ required: ["services"] }, { required: ["include"] }] }),
    ...(name === "service" && { anyOf: [{ required: ["image"] }, { required: ["extends"] }] }),
  };
}

function ruleSchema(rule: KeyRule): Schema {
  switch (rule.status) {
    case "supported":
      return { ...typeSchema(rule.type), description: rule.note };
    case "no-effect":
      return { description: `Has no effect. ${rule.note}` };
    case "not-yet":
      // Editors mark the key and show why.
      return { not: {}, description: `Not supported yet. ${rule.note}` };
  }
}

const variable: Schema = { type: "string", pattern: "\\$" };
const scalar: Schema = { type: ["string", "number", "boolean"] };
const text: Schema = { type: ["string", "number"], minLength: 1 };
const pairs: Schema = {
  anyOf: [
    { type: "object", additionalProperties: { type: ["string", "number", "boolean", "null"] } },
    { type: "array", items: scalar },
    { type: "null" },
  ],
};

function typeSchema(type: ValueType): Schema {
  switch (type.kind) {
    case "text":
      return text;
    case "boolean":
      return {
        anyOf: [
          { type: "boolean" },
          { type: "string", pattern: "^(?:true|false|True|False|TRUE|FALSE)$" },
          variable,
        ],
      };
    case "integer":
    case "number":
      return numberSchema(type);
    case "duration":
      return {
        anyOf: [
          { type: "string", pattern: "^(?:0|(?:[0-9]+(?:\\.[0-9]+)?(?:ns|us|µs|ms|s|m|h|d))+)$" },
          { const: 0 },
          variable,
        ],
      };
    case "bytes":
      return {
        anyOf: [
          { type: "number", minimum: type.minimum },
          { type: "string", pattern: "^[0-9]+(?:\\.[0-9]+)? ?[kKmMgGtTpP]?i?[bB]?$" },
          variable,
        ],
      };
    case "cpus":
      return {
        anyOf: [
          { type: "number", minimum: 0.001, maximum: 1_024 },
          { type: "string", pattern: "^[0-9]+(?:\\.[0-9]+)?$" },
          variable,
        ],
      };
    case "choice":
      return { anyOf: [{ enum: [...type.values] }, variable] };
    case "command":
      return { anyOf: [scalar, { type: "array", items: scalar }, { type: "null" }] };
    case "texts":
      return { anyOf: [scalar, { type: "array", items: scalar }] };
    case "pairs":
      return pairs;
    case "hosts":
      return {
        anyOf: [
          {
            type: "object",
            additionalProperties: { anyOf: [scalar, { type: "array", items: scalar }] },
          },
          { type: "array", items: scalar },
          { type: "null" },
        ],
      };
    case "section":
      return reference(type.section);
    case "short":
      return { anyOf: [scalar, reference(type.section)] };
    case "named":
      return namedSchema(type);
    case "references":
      return {
        anyOf: [
          { type: "array", items: scalar },
          { type: "object", additionalProperties: reference(type.section) },
        ],
      };
    case "items":
      return itemsSchema(type.section);
    case "any":
      return {};
  }
}

function reference(section: SectionName): Schema {
  return { $ref: `#/definitions/${section}` };
}

function numberSchema(type: Extract<ValueType, { kind: "integer" | "number" }>): Schema {
  const { minimum, maximum } = type;
  const pattern = type.kind === "integer" ? "^-?[0-9]+$" : "^-?[0-9]*\\.?[0-9]+$";
  return { anyOf: [{ type: type.kind, minimum, maximum }, { type: "string", pattern }, variable] };
}

function namedSchema({ section, shape }: Extract<ValueType, { kind: "named" }>): Schema {
  const value: Schema = {
    anyOf: [
      reference(section),
      // `data:` alone is a volume with nothing to say about it; a service needs its image.
      ...(shape === undefined ? (section === "service" ? [] : [{ type: "null" }]) : [scalar]),
    ],
  };
  if (section !== "service")
    return { anyOf: [{ type: "object", additionalProperties: value }, { type: "null" }] };
  return {
    type: "object",
    patternProperties: { [servicePattern]: value },
    additionalProperties: false,
    minProperties: 1,
  };
}

function itemsSchema(section: SectionName | undefined): Schema {
  const inner = section === undefined ? [] : [reference(section)];
  return { anyOf: [scalar, { type: "array", items: { anyOf: [scalar, ...inner] } }] };
}
