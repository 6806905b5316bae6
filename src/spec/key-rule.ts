/**
 * What the key table says about one key of a manifest. The parser reads by these rules and
 * the reference page is written from them, so the two cannot drift apart.
 */

/** The groups of keys that a manifest is made of. */
export type SectionName =
  | "top"
  | "include"
  | "service"
  | "extends"
  | "env_file"
  | "port"
  | "mount"
  | "bind"
  | "mount_volume"
  | "mount_tmpfs"
  | "device"
  | "ulimit"
  | "logging"
  | "blkio_config"
  | "blkio_weight"
  | "blkio_rate"
  | "ingress"
  | "healthcheck"
  | "x-healthcheck"
  | "depends_on"
  | "deploy"
  | "update_config"
  | "rollback_config"
  | "restart_policy"
  | "resources"
  | "limits"
  | "reservations"
  | "placement"
  | "preference"
  | "x-placement"
  | "x-update"
  | "x-failover"
  | "x-schedule"
  | "x-job"
  | "volume"
  | "config"
  | "secret";

/** What may stand behind a key, and by that how several files merge: see `mergeTrees`. */
export type ValueType =
  /** `isPath`: a file, seen from the directory of the manifest that names it. */
  | { readonly kind: "text"; readonly isPath?: true }
  | { readonly kind: "boolean" }
  | { readonly kind: "integer"; readonly minimum: number; readonly maximum: number }
  | { readonly kind: "number"; readonly minimum: number; readonly maximum: number }
  | { readonly kind: "duration"; readonly minimumMs: number }
  | { readonly kind: "bytes"; readonly minimum: number }
  | { readonly kind: "cpus" }
  | {
      readonly kind: "choice";
      readonly values: readonly string[];
      /** Words of the Compose Specification that Skein does not act on yet. */
      readonly notYet: readonly string[];
    }
  /** Text or a list of texts, replaced as a whole. */
  | { readonly kind: "command" }
  /** A list of texts, or one text. */
  | { readonly kind: "texts"; readonly isPath?: true }
  /** A map of texts, or a list of `KEY=value`. */
  | { readonly kind: "pairs" }
  /** A map from host names to addresses, or a list of `HOST:ADDRESS`. */
  | { readonly kind: "hosts" }
  /** A map with the keys of a section. */
  | { readonly kind: "section"; readonly section: SectionName }
  /** Text (`shape` shows how), or a map with the keys of a section. */
  | { readonly kind: "short"; readonly section: SectionName; readonly shape: string }
  /** A map from names to maps with the keys of a section; with `shape`, or to texts. */
  | { readonly kind: "named"; readonly section: SectionName; readonly shape?: string }
  /** A list of names, or a map from names to maps with the keys of a section. */
  | { readonly kind: "references"; readonly section: SectionName }
  /** A list whose items are texts (`shape` shows how), or maps with the keys of a section. */
  | {
      readonly kind: "items";
      readonly section?: SectionName;
      readonly shape: string;
      readonly isPath?: true;
      /** What makes two items of two files the same one; by default their whole text. */
      readonly identity?: "port" | "target";
    }
  | { readonly kind: "any" };

/**
 * - `supported`: acted on.
 * - `no-effect`: accepted, and listed as ignored.
 * - `not-yet`: a key of the Compose Specification that Skein does not act on: an error,
 *   unless the user asks to have such keys ignored.
 */
export type KeyRule =
  | {
      readonly status: "supported";
      readonly type: ValueType;
      /** A value in YAML that changes what is deployed. */
      readonly example: string;
      readonly note: string;
    }
  | { readonly status: "no-effect" | "not-yet"; readonly type: ValueType; readonly note: string };

export type SectionRules = Readonly<Record<string, KeyRule>>;

export const text: ValueType = { kind: "text" };
export const boolean: ValueType = { kind: "boolean" };
export const cpus: ValueType = { kind: "cpus" };
export const command: ValueType = { kind: "command" };
export const texts: ValueType = { kind: "texts" };
export const pairs: ValueType = { kind: "pairs" };

export const path: ValueType = { kind: "text", isPath: true };

const any: ValueType = { kind: "any" };

export function integer(minimum: number, maximum: number): ValueType {
  return { kind: "integer", minimum, maximum };
}

export function duration(minimumMs = 0): ValueType {
  return { kind: "duration", minimumMs };
}

export function bytes(minimum = 1): ValueType {
  return { kind: "bytes", minimum };
}

export function choice(values: readonly string[], notYet: readonly string[] = []): ValueType {
  return { kind: "choice", values, notYet };
}

export function section(name: SectionName): ValueType {
  return { kind: "section", section: name };
}

export function supported(type: ValueType, example: string, note: string): KeyRule {
  return { status: "supported", type, example, note };
}

export function noEffect(note: string): KeyRule {
  return { status: "no-effect", type: any, note };
}

/** With a type, what stands behind the key is checked although it is not acted on. */
export function notYet(note: string, type: ValueType = any): KeyRule {
  return { status: "not-yet", type, note };
}

/** What a value must be, as the middle of a sentence. */
export function expected(type: ValueType): string {
  switch (type.kind) {
    case "text":
      return "text";
    case "boolean":
      return "true or false";
    case "integer":
      return `a whole number from ${type.minimum} to ${type.maximum}`;
    case "number":
      return `a number from ${type.minimum} to ${type.maximum}`;
    case "duration":
      return type.minimumMs > 0
        ? "a duration longer than zero, such as `1m30s`"
        : "a duration such as `1m30s`";
    case "bytes":
      return type.minimum > 1
        ? `an amount of memory of at least ${type.minimum / 2 ** 20}M, such as \`256M\``
        : "an amount of memory such as `256M`";
    case "cpus":
      return "a number of CPUs from 0.001 to 1024, such as `0.5`";
    case "choice":
      return oneOf(type.values);
    case "command":
      return "text, or a list of texts";
    case "texts":
      return "a list of texts";
    case "pairs":
      return "a map, or a list of `KEY=value`";
    case "hosts":
      return "a map, or a list of `HOST:ADDRESS`";
    case "section":
      return "a map";
    case "short":
      return `\`${type.shape}\`, or a map`;
    case "named":
      return type.shape === undefined
        ? "a map of names"
        : `a map from names to \`${type.shape}\` or maps`;
    case "references":
      return "a list of names, or a map from names to maps";
    case "items":
      return type.section === undefined
        ? `a list of \`${type.shape}\``
        : `a list of \`${type.shape}\` or maps`;
    case "any":
      return "any value";
  }
}

function oneOf(values: readonly string[]): string {
  const quoted = values.map((value) => `\`${value}\``);
  if (quoted.length < 2) return quoted.join("");
  return `${quoted.slice(0, -1).join(", ")} or ${quoted.at(-1)}`;
}
