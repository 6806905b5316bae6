import type { CreatedToken, TokenView } from "../../api/index.ts";
import { CliError } from "../cli-error.ts";
import { parseDurationMs } from "../duration.ts";
import { type Session, show } from "../session.ts";
import { remaining, table } from "../table.ts";

/** As the API has them. */
const minTtlMs = 1_000;
const maxTtlMs = 365 * 86_400_000;

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
  const ttlMs = parseDurationMs(options.ttl);
  if (ttlMs < minTtlMs || ttlMs > maxTtlMs) {
    throw new CliError("usage", `--ttl takes a duration from 1s to 365d, not "${options.ttl}"`);
  }
  const created = await session.client.call("createToken", {
    body: { role, ttlMs, ...(uses === undefined ? {} : { uses }) },
    signal: session.signal,
  });
  show(session, created, tokenText);
  if (created.joinCommand !== "")
    session.note(`join another machine with:\n  ${created.joinCommand}\n`);
}

/** `skein token ls`: never the secrets, which nobody keeps. */
export async function listTokens(session: Session): Promise<void> {
  const tokens = await session.client.call("listTokens", { signal: session.signal });
  show(session, tokens, (views) => tokenTable(views, session.now()));
}

function tokenTable(tokens: readonly TokenView[], nowMs: number): string {
  return table(
    ["ID", "ROLE", "STATUS", "EXPIRES IN", "USES LEFT"],
    tokens.map(({ id, role, status, expiresAt, usesLeft }) => [
      id,
      role,
      status.replace("_", " "),
      status === "expired" ? "-" : remaining(expiresAt, nowMs),
      usesLeft === null ? "any" : String(usesLeft),
    ]),
  );
}

/** `skein token revoke ID …` */
export async function revokeTokens(session: Session, ids: readonly string[]): Promise<void> {
  for (const id of ids) {
    if (!/^[\w-]{1,64}$/.test(id)) {
      // Not repeated in the message: it may be the secret token itself.
      throw new CliError("usage", "Name a token by its id, as listed by: skein token ls");
    }
    await session.client.call("revokeToken", { params: { id }, signal: session.signal });
    session.print(
      session.output === "json" ? `${JSON.stringify({ revoked: id })}\n` : `revoked ${id}\n`,
    );
  }
}

/** The token alone on stdout, so that a script can take it. */
function tokenText({ token }: CreatedToken): string {
  return `${token}\n`;
}
