/** One command of a script: `name first second key=value list=(1,2)`. */
export type Command = {
  readonly line: string;
  readonly name: string;
  readonly words: readonly string[];
  readonly options: ReadonlyMap<string, string>;
};

/** Commands with the trace they must leave. */
export type Block = {
  /** The lines of the commands, with the comments among them. */
  readonly head: readonly string[];
  readonly commands: readonly Command[];
  readonly expected: string;
};

const divider = "----";

/**
 * Reads a script. Blocks are separated by empty lines; a block is commands with comments (`#`)
 * among them, then `----` and the trace of all of them.
 */
export function parseScript(text: string): readonly Block[] {
  return text
    .split(/\n{2,}/)
    .map((part) => part.trim())
    .filter((part) => part !== "")
    .map((part) => {
      const lines = part.split("\n");
      const at = lines.indexOf(divider);
      const head = at === -1 ? lines : lines.slice(0, at);
      return {
        head,
        commands: head.filter((line) => !line.startsWith("#")).map(parseCommand),
        expected: at === -1 ? "" : lines.slice(at + 1).join("\n"),
      };
    });
}

/** The script again, with what was really traced. */
export function formatScript(
  blocks: readonly { readonly block: Block; readonly actual: string }[],
): string {
  const parts = blocks.map(({ block: { head, commands }, actual }) =>
    (commands.length === 0 ? head : [...head, divider, actual]).join("\n"),
  );
  return `${parts.join("\n\n")}\n`;
}

function parseCommand(line: string): Command {
  const [name = "", ...rest] = line.trim().split(/\s+/);
  const words: string[] = [];
  const options = new Map<string, string>();
  for (const part of rest) {
    const equals = part.indexOf("=");
    if (equals === -1) words.push(part);
    else options.set(part.slice(0, equals), part.slice(equals + 1));
  }
  return { line, name, words, options };
}

/** `(1,2,3)` as its parts; nothing for an option that is not there. */
export function listOf(text: string | undefined): readonly string[] {
  const inner = (text ?? "").replace(/^\(|\)$/g, "");
  return inner === "" ? [] : inner.split(",");
}
