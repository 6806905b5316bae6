/** Nothing that people write is longer, and nothing that grows by itself gets longer. */
const maxResultLength = 2 ** 20;
const maxNesting = 20;
const variableName = /[A-Za-z_][A-Za-z0-9_]*/y;

export type Interpolation =
  | {
      readonly kind: "text";
      readonly text: string;
      /** Variables that have no value and no default, with the number of their `$` in the text. */
      readonly missing: readonly { readonly name: string; readonly dollar: number }[];
    }
  | {
      readonly kind: "failed";
      readonly message: string;
      readonly hint?: string;
      readonly dollar: number;
    };

/**
 * Replaces `$NAME`, `${NAME}`, `${NAME:-default}`, `${NAME-default}`, `${NAME:?message}`,
 * `${NAME?message}`, `${NAME:+other}`, `${NAME+other}` and `$$` as the Compose
 * Specification says. Places in the text are told by counting dollar signs from zero,
 * because these stand in the file as they stand in the value, however it is quoted.
 */
export function interpolate(
  text: string,
  environment: Readonly<Record<string, string>>,
): Interpolation {
  if (!text.includes("$")) return { kind: "text", text, missing: [] };
  const reader = new Interpolator(text, environment);
  try {
    return { kind: "text", text: reader.read(), missing: reader.missing };
  } catch (error) {
    if (error instanceof Failure) {
      const { message, hint, dollar } = error;
      return { kind: "failed", message, dollar, ...(hint !== undefined && { hint }) };
    }
    throw error;
  }
}

/** Unwinds the recursion; never leaves this file. */
class Failure extends Error {
  readonly dollar: number;
  readonly hint: string | undefined;

  constructor(dollar: number, message: string, hint?: string) {
    super(message);
    this.dollar = dollar;
    this.hint = hint;
  }
}

class Interpolator {
  readonly missing: { name: string; dollar: number }[] = [];
  readonly #text: string;
  readonly #environment: Readonly<Record<string, string>>;
  #offset = 0;
  #dollars = 0;

  constructor(text: string, environment: Readonly<Record<string, string>>) {
    this.#text = text;
    this.#environment = environment;
  }

  read(): string {
    return this.#readUntilEnd({ nesting: 0, isUsed: true });
  }

  /** `isUsed` is false in a default that is not taken: it must be well formed, no more. */
  #readUntilEnd(context: { readonly nesting: number; readonly isUsed: boolean }): string {
    let result = "";
    while (this.#offset < this.#text.length) {
      const character = this.#text.charAt(this.#offset);
      if (character === "}" && context.nesting > 0) break;
      if (character === "$") {
        result += this.#readDollar(context);
      } else {
        result += character;
        this.#offset += 1;
      }
      if (result.length > maxResultLength) {
        throw new Failure(this.#dollars - 1, "the text with its variables is longer than 1 MiB");
      }
    }
    return result;
  }

  #readDollar(context: { readonly nesting: number; readonly isUsed: boolean }): string {
    const dollar = this.#dollars;
    this.#dollars += 1;
    this.#offset += 1;
    const next = this.#text.charAt(this.#offset);
    if (next === "$") {
      this.#dollars += 1;
      this.#offset += 1;
      return "$";
    }
    if (next === "{") {
      this.#offset += 1;
      return this.#readBraces({ ...context, dollar });
    }
    const name = this.#readName();
    if (name === undefined) {
      throw new Failure(
        dollar,
        "`$` is not followed by the name of a variable",
        "write `$$` for a plain dollar sign",
      );
    }
    return this.#value(name, { ...context, dollar });
  }

  #readBraces(context: {
    readonly nesting: number;
    readonly isUsed: boolean;
    readonly dollar: number;
  }): string {
    const { dollar, isUsed, nesting } = context;
    if (nesting >= maxNesting) {
      throw new Failure(dollar, `variables are nested more than ${maxNesting} deep`);
    }
    const name = this.#readName();
    if (name === undefined) {
      throw new Failure(dollar, "`${` is not followed by the name of a variable");
    }
    const operator = /:?[-?+]/y;
    operator.lastIndex = this.#offset;
    const sign = operator.exec(this.#text)?.[0] ?? "";
    this.#offset += sign.length;

    const value = Object.hasOwn(this.#environment, name) ? this.#environment[name] : undefined;
    const isSet = value !== undefined && !(sign.startsWith(":") && value === "");
    const isOperandUsed = sign !== "" && isUsed && (sign.endsWith("+") ? isSet : !isSet);
    const operand =
      sign === "" ? "" : this.#readUntilEnd({ nesting: nesting + 1, isUsed: isOperandUsed });
    if (this.#text.charAt(this.#offset) !== "}") {
      throw new Failure(dollar, `\`\${${name}\` is not closed with \`}\``);
    }
    this.#offset += 1;

    if (sign === "") return this.#value(name, context);
    if (sign.endsWith("+")) return isSet ? operand : "";
    if (isSet) return value;
    if (sign.endsWith("?") && isUsed) {
      const reason = operand === "" ? "" : `: ${operand}`;
      throw new Failure(dollar, `the variable \`${name}\` must have a value${reason}`);
    }
    return operand;
  }

  #readName(): string | undefined {
    variableName.lastIndex = this.#offset;
    const name = variableName.exec(this.#text)?.[0];
    this.#offset += name?.length ?? 0;
    return name;
  }

  #value(name: string, context: { readonly isUsed: boolean; readonly dollar: number }): string {
    const value = Object.hasOwn(this.#environment, name) ? this.#environment[name] : undefined;
    if (value === undefined && context.isUsed) {
      this.missing.push({ name, dollar: context.dollar });
    }
    return value ?? "";
  }
}
