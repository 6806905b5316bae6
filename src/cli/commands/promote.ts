import { createInterface } from "node:readline/promises";
import { describeChanges } from "../changes-text.ts";
import { CliError } from "../cli-error.ts";
import { followRollout } from "../follow.ts";
import { findService, type Session } from "../session.ts";
import { shortImage } from "../table.ts";

type PromoteOptions = {
  readonly from?: string;
  readonly to?: string;
  readonly all?: boolean;
  readonly yes?: boolean;
  readonly dryRun?: boolean;
  readonly detach?: boolean;
};

/** `skein promote NAME --from NS --to NS`: what runs in one namespace, to the digest, in another. */
export async function promote(
  session: Session,
  text: string,
  { from, to, all = false, yes = false, dryRun = false, detach = false }: PromoteOptions,
): Promise<void> {
  if (to === undefined) throw new CliError("usage", "Say where to, for example: --to prod");
  const { client, signal, output } = session;
  const place = from === undefined ? session : { ...session, client, namespace: from };
  const { namespace, name } = await findService(place, text);
  const params = { namespace, name };
  const shown = await client.call("promoteService", {
    params,
    body: { to, isWhole: all, dryRun: true },
    signal,
  });
  const isJson = output === "json";
  const isChange = shown.changes.some(({ action }) => action !== "none");
  if (!isJson) {
    session.print(`${namespace}/${name} -> ${to}/${name}: ${shortImage(shown.image)}\n`);
    session.print(describeChanges(shown, dryRun || !isChange));
  }
  if (!shown.isPinned && !shown.image.startsWith("/")) {
    session.note(
      `The image is not known by a digest, only as ${shown.image}: each machine runs what it has under that name, or pulls it.\n`,
    );
  }
  if (dryRun || !isChange) {
    if (isJson) session.print(`${JSON.stringify(shown, undefined, 2)}\n`);
    return;
  }
  if (!yes) await confirm(session, to);
  const applied = await client.call("promoteService", {
    params,
    body: { to, isWhole: all, dryRun: false, version: shown.version },
    signal,
  });
  if (isJson) session.print(`${JSON.stringify(applied, undefined, 2)}\n`);
  if (!detach) await followRollout(session, new Set([name]), { namespace: to, isUpdate: true });
}

async function confirm({ signal }: Session, to: string): Promise<void> {
  if (!process.stdin.isTTY) {
    throw new CliError("usage", "To promote without being asked, say: skein promote … --yes");
  }
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await terminal.question(`Run this in "${to}"? [y/N] `, { signal });
    if (/^y(es)?$/i.test(answer.trim())) return;
    throw new CliError("interrupted", "Nothing was changed.");
  } finally {
    terminal.close();
  }
}
