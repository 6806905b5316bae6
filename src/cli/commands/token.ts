import type { CreatedToken } from "../../api/index.ts";
import { CliError } from "../cli-error.ts";
import { parseDurationMs } from "../duration.ts";
import { type Session, show } from "../session.ts";

/** `skein token create [--role node|admin] [--ttl 24h] [--uses N]` */
export async function createToken(
  session: Session,
  options: { readonly role: string; readonly ttl: string; readonly uses?: string },
): Promise<void> {
  const { role } = options;
  if (role !== "node" && role !== "admin") {
    throw new CliError("usage", `"${role}" is no role. Roles are: node, admin`);
  }
  const uses = options.uses === undefined ? undefined : Number(options.uses);
  if (uses !== undefined && !(Number.isInteger(uses) && uses >= 1)) {
    throw new CliError("usage", `--uses takes a whole number from 1, not "${options.uses}"`);
  }
  const created = await session.client.call("createToken", {
    body: { role, ttlMs: parseDurationMs(options.ttl), ...(uses === undefined ? {} : { uses }) },
    signal: session.signal,
  });
  show(session, created, tokenText);
  if (created.joinCommand !== "")
    session.note(`join another machine with:\n  ${created.joinCommand}\n`);
}

/** The token alone on stdout, so that a script can take it. */
function tokenText({ token }: CreatedToken): string {
  return `${token}\n`;
}
