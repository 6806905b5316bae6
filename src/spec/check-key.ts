import type { Diagnostics } from "./diagnostics.ts";
import type { KeyRule, SectionName, ValueType } from "./key-rule.ts";
import { keyTable } from "./key-table.ts";
import { nearest, slips } from "./nearest.ts";
import type { Position } from "./service-spec.ts";
import { shortened } from "./tree.ts";

/** `Object.hasOwn`, because a file may well say `constructor: 1`. */
export function ruleOf(section: SectionName, key: string): KeyRule | undefined {
  return Object.hasOwn(keyTable[section], key) ? keyTable[section][key] : undefined;
}

/** Reports a key that its section does not know, or that is not acted on. */
export function checkKey(
  key: string,
  position: Position,
  options: {
    readonly section: SectionName;
    readonly where: string;
    readonly prefix: string;
    readonly diagnostics: Diagnostics;
  },
): void {
  const { section, where, prefix, diagnostics } = options;
  const rule = ruleOf(section, key);
  if (rule?.status === "not-yet") {
    // The first sentence of a note says what the key is; what follows says what to do instead.
    const advice = /[.;] (.+)\.$/.exec(rule.note)?.[1];
    const hint = advice && `${advice.charAt(0).toLowerCase()}${advice.slice(1)}`;
    diagnostics.notYet(position, `\`${prefix}${key}\` is not supported yet`, hint);
  } else if (rule?.status === "no-effect") {
    diagnostics.ignored(position, `\`${prefix}${key}\` has no effect`);
  } else if (rule === undefined && key.startsWith("x-")) {
    const meant = Object.keys(keyTable[section]).find((ours) => isSlipOfExtension(key, ours));
    if (meant === undefined) return;
    const hint = `did you mean \`${meant}\`?`;
    diagnostics.ignored(position, `\`${prefix}${key}\` has no effect`, hint);
  } else if (rule === undefined) {
    if (diagnostics.isFull) return;
    const what = `unknown key \`${shortened(key)}\` ${where}`;
    diagnostics.problem(position, what, hintForKey(section, key));
  }
}

function isSlipOfExtension(key: string, ours: string): boolean {
  return ours.startsWith("x-") && slips(key.slice(2).toLowerCase(), ours.slice(2)) <= 2;
}

/** What to write in place of `words`, where that can be guessed. */
export function hintFor(type: ValueType, words: string): string | undefined {
  if (type.kind === "duration" && /^\d+(?:\.\d+)?$/.test(words)) {
    return `write the unit: \`${words}s\``;
  }
  if (type.kind === "boolean" && /^(?:y|yes|on)$/i.test(words)) return "write `true`";
  if (type.kind === "boolean" && /^(?:n|no|off)$/i.test(words)) return "write `false`";
  const meant = type.kind === "choice" ? nearest(words, type.values) : undefined;
  return meant === undefined ? undefined : `did you mean \`${meant}\`?`;
}

function hintForKey(section: SectionName, key: string): string | undefined {
  const meant = nearest(key, Object.keys(keyTable[section]));
  if (meant !== undefined) return `did you mean \`${meant}\`?`;
  const home = Object.entries(keyTable).find(
    ([name, rules]) => name !== section && Object.hasOwn(rules, key),
  );
  const homes: Partial<Record<string, string>> = {
    top: "at the top level",
    service: "in a service",
    deploy: "in `deploy`",
    update_config: "in `deploy.update_config`",
    restart_policy: "in `deploy.restart_policy`",
    resources: "in `deploy.resources`",
    placement: "in `deploy.placement`",
    healthcheck: "in `healthcheck`",
  };
  const place = homes[home?.[0] ?? ""];
  return place === undefined ? undefined : `\`${key}\` belongs ${place}`;
}
