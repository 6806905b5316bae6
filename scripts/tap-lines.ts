/** What a TAP stream tells, while it is read line by line. */
export interface TapTotals {
  readonly passed: number;
  readonly failed: number;
  readonly skips: readonly string[];
}

/** A failure's diagnostics beyond this many lines are in the report file only. */
const diagnosticsLimit = 40;

/**
 * Reads TAP version 14 with indented subtests, the output of `tap --reporter=tap`: calls
 * `say` with a line for every test file and with every failed assertion's path and
 * diagnostics, and counts assertions.
 */
export class TapLines {
  readonly #say: (line: string) => void;
  /** The names of the subtests that enclose the line that is read. */
  #path: { readonly indent: number; readonly name: string }[] = [];
  /** Indentation of the last line that ended a subtest: the result that follows only sums it up. */
  #closed = -1;
  #diagnostics: { readonly end: string; lines: number } | undefined;
  #hasFailed = false;
  #passed = 0;
  #failed = 0;
  readonly #skips: string[] = [];

  constructor(say: (line: string) => void) {
    this.#say = say;
  }

  get totals(): TapTotals {
    return { passed: this.#passed, failed: this.#failed, skips: this.#skips };
  }

  push(line: string): void {
    const text = line.trimStart();
    const indent = line.length - text.length;
    if (this.#isDiagnostics(line, text, indent)) return;
    const subtest = text.match(/^# Subtest: (.*)$/)?.[1];
    if (subtest !== undefined) {
      this.#leaveTo(indent);
      this.#path.push({ indent, name: subtest });
      return;
    }
    if (/^1\.\.\d+/.test(text)) {
      this.#closed = indent;
      return;
    }
    const result = text.match(/^(not )?ok \d+(?: - (.*?))?(?: # (.*))?$/);
    if (result === null) return;
    this.#result(result[1] === undefined, result[2] ?? "", result[3] ?? "", indent);
  }

  #result(isOk: boolean, name: string, directive: string, indent: number): void {
    const sumsUp = this.#closed > indent;
    this.#closed = -1;
    this.#leaveTo(indent);
    const isSkip = /^SKIP/i.test(directive);
    if (isSkip) {
      const reason = directive.slice("SKIP".length).trim();
      this.#skips.push(`${name}: ${reason === "" ? "no reason given" : reason}`);
    }
    if (indent === 0) this.#say(`${isOk ? "ok    " : "FAILED"} ${name} ${directive}`.trimEnd());
    this.#hasFailed = !isOk && !sumsUp;
    if (sumsUp || isSkip) return;
    if (isOk) this.#passed += 1;
    else {
      this.#failed += 1;
      this.#say(`not ok: ${[...this.#path.map((each) => each.name), name].join(" > ")}`);
    }
  }

  /** The YAML block below a result; that of a failed assertion is shown. */
  #isDiagnostics(line: string, text: string, indent: number): boolean {
    const block = this.#diagnostics;
    if (block === undefined) {
      if (text !== "---") return false;
      this.#diagnostics = { end: `${" ".repeat(indent)}...`, lines: 0 };
      return true;
    }
    if (line === block.end) {
      this.#diagnostics = undefined;
      this.#hasFailed = false;
      return true;
    }
    block.lines += 1;
    if (this.#hasFailed && block.lines <= diagnosticsLimit) {
      this.#say(`    ${line.slice(block.end.length - 3)}`);
    }
    return true;
  }

  #leaveTo(indent: number): void {
    this.#path = this.#path.filter((each) => each.indent < indent);
  }
}
