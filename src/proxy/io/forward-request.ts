import { keptFields, type RequestHead } from "../http-head.ts";
import type { ForwardedRequest } from "./http-exchange.ts";
import { singleWriteMaxBytes } from "./limits.ts";

/**
 * A request as the replica gets it. A short body that is already here goes with the head, and
 * ends at `bodyEnd`; any other follows piece by piece.
 */
export function forwardRequest(
  head: RequestHead,
  bytes: Buffer,
  client: { readonly clientAddress: string; readonly keepsAlive: boolean },
): { readonly request: ForwardedRequest; readonly bodyEnd: number } {
  const hasBody = head.isChunked || head.contentLength > 0;
  const bodyEnd = head.end + Math.max(0, head.contentLength);
  const isShort = !head.isChunked && head.contentLength <= singleWriteMaxBytes;
  const isWhole = isShort && bodyEnd <= bytes.length;
  const asksUpgrade = !hasBody && isUpgrade(head);
  const body = isWhole && hasBody ? bytes.toString("latin1", head.end, bodyEnd) : "";
  const request = {
    text: forwardedHead(head, bytes, { ...client, asksUpgrade }) + body,
    isWhole,
    isIdempotent: head.method !== "other" && !asksUpgrade,
    isHead: head.method === "head",
    isHttp10: head.isHttp10,
    asksUpgrade,
    keepsAlive: client.keepsAlive && !head.asksClose && (!head.isHttp10 || head.asksKeepAlive),
  };
  return { request, bodyEnd };
}

function forwardedHead(
  head: RequestHead,
  bytes: Buffer,
  { clientAddress, asksUpgrade }: { readonly clientAddress: string; readonly asksUpgrade: boolean },
): string {
  let text =
    `${head.startLine}${keptFields(bytes, head)}X-Forwarded-For: ${clientAddress}\r\n` +
    `X-Forwarded-Proto: http\r\nX-Forwarded-Host: ${head.host}\r\n`;
  if (asksUpgrade) text += `Connection: Upgrade\r\nUpgrade: ${head.upgrade}\r\n`;
  else if (head.isHttp10) text += "Connection: close\r\n";
  return `${text}\r\n`;
}

/** h2c is left out: it would let a client speak to the replica past all these checks. */
function isUpgrade({ upgrade, method, isHttp10 }: RequestHead): boolean {
  if (upgrade === undefined || upgrade === "" || isHttp10 || method !== "get") return false;
  return !/h2c/i.test(upgrade);
}
