import { createInterface } from "node:readline/promises";
import type { RecoveryView } from "../../api/index.ts";
import { CliError } from "../cli-error.ts";
import type { Session } from "../session.ts";

type RecoverOptions = { readonly yes?: boolean };

/** `skein recover`: shows what is lost with the quorum, asks, and goes on with the survivors. */
export async function recover(session: Session, { yes }: RecoverOptions): Promise<void> {
  const { client, signal, output } = session;
  const view = await client.call("recovery", { signal });
  const isJson = output === "json";
  if (isJson && yes !== true) {
    session.print(`${JSON.stringify(view, undefined, 2)}\n`);
    return;
  }
  if (view.refusal !== null) throw new CliError("conflict", view.refusal);
  if (!isJson) session.print(describe(view));
  if (yes !== true) await confirm(session);
  const lost = view.nodes.filter(({ position }) => position === null).map(({ id }) => id);
  const { index } = await client.call("recover", { body: { lost }, signal });
  session.print(
    isJson
      ? `${JSON.stringify({ ...view, index }, undefined, 2)}\n`
      : "The cluster works again. See: skein node ls\nBack to three voters: join other machines, see: skein token create\n",
  );
}

function describe({ nodes, commitIndex }: RecoveryView): string {
  const staying = nodes.filter(({ position }) => position !== null);
  const gone = nodes.filter(({ position }) => position === null);
  const voters = nodes.filter(({ isVoter }) => isVoter);
  const answering = voters.filter(({ position }) => position !== null);
  const names = (list: RecoveryView["nodes"]) =>
    list
      .map(({ name }) => name)
      .toSorted()
      .join(", ");
  const last = nodes.find(({ isSelf }) => isSelf)?.position?.index ?? 0;
  const open = last - commitIndex;
  return `The quorum is lost: ${answering.length} of ${voters.length} voters answer.

  stays   ${names(staying)}
  goes    ${names(gone)}: their membership ends, their tasks start elsewhere

May be lost: whatever was agreed after entry ${last} of the log without ${names(staying)}.
${open > 0 ? `The last ${open === 1 ? "entry" : `${open} entries`} of this log may never have been agreed; they will count as agreed.\n` : ""}
If a machine of ${names(gone)} can still come back with its disk, start it instead: then nothing is lost.
Whichever comes back later is told to rejoin as a new member.
`;
}

async function confirm({ signal }: Session): Promise<void> {
  if (!process.stdin.isTTY) {
    throw new CliError("usage", "To go on without being asked, say: skein recover --yes");
  }
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await terminal.question('\nType "recover" to go on: ', { signal });
    if (answer.trim() !== "recover") throw new CliError("interrupted", "Nothing was changed.");
  } finally {
    terminal.close();
  }
}
