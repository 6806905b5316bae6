import {
  HeaderFields,
  type Incomplete,
  incomplete,
  type Malformed,
  malformed,
} from "./header-fields.ts";
import { bytesOf, isFieldText, isTargetText, isToken } from "./octets.ts";

/** Largest request head, request line included. */
export const requestHeadMaxBytes = 16_384;
/** Largest response head: applications set large cookies and policies. */
export const responseHeadMaxBytes = 65_536;

/** How safe it is to send a request twice. */
export type MethodKind = "get" | "head" | "idempotent" | "other";

/** What both directions share: framing, connection options, and the fields to leave out. */
export type MessageHead = {
  readonly isHttp10: boolean;
  /** Where the first field begins, behind the start line. */
  readonly fieldsStart: number;
  /** Behind the blank line: where the body begins. */
  readonly end: number;
  /** -1 when the field is absent. */
  readonly contentLength: number;
  readonly isChunked: boolean;
  readonly asksClose: boolean;
  readonly asksKeepAlive: boolean;
  /** The Upgrade field's value, when Connection also names `upgrade`. */
  readonly upgrade: string | undefined;
  /** Pairs of positions, ascending: hop-by-hop and forwarding fields that must not travel on. */
  readonly dropped: readonly number[];
};

export type RequestHead = MessageHead & {
  readonly kind: "request";
  readonly method: MethodKind;
  /** The start line as it goes on, CRLF included, always in origin-form. */
  readonly startLine: string;
  readonly target: string;
  /** Empty in HTTP/1.0 without a Host field. */
  readonly host: string;
};

export type ResponseHead = MessageHead & { readonly kind: "response"; readonly status: number };

/**
 * Reads a request head, strictly: whatever two programs could read in two ways is refused,
 * for the containers behind are unknown.
 */
export function parseRequestHead(
  bytes: Buffer,
  start: number,
  end: number,
): RequestHead | Incomplete | Malformed {
  const line = readRequestLine(bytes, start, end);
  if (line.kind !== "line") return line;
  const fields = new HeaderFields(bytes, true);
  const headEnd = fields.read(line.end, end, line.isHttp10);
  if (typeof headEnd !== "number") {
    const isTooLong = headEnd.kind === "incomplete" && end - start > requestHeadMaxBytes;
    return isTooLong ? malformed(431) : headEnd;
  }
  if (headEnd - start > requestHeadMaxBytes) return malformed(431);
  if (fields.host === undefined && !line.isHttp10) return malformed(400);
  const host = fields.host ?? "";
  const target = originForm(line.target, host, line.methodText);
  if (target === undefined) return malformed(400);
  const startLine =
    target === line.target
      ? bytes.toString("latin1", start, line.end)
      : `${line.methodText} ${target} HTTP/1.${line.isHttp10 ? 0 : 1}\r\n`;
  return {
    kind: "request",
    method: methodKind(line.methodText),
    startLine,
    target,
    host,
    ...common(fields, { isHttp10: line.isHttp10, fieldsStart: line.end, end: headEnd }),
  };
}

/** Reads a response head; whatever is wrong with it is a 502 to the client. */
export function parseResponseHead(
  bytes: Buffer,
  start: number,
  end: number,
): ResponseHead | Incomplete | Malformed {
  const line = readStatusLine(bytes, start, end);
  if (line.kind !== "line") return line;
  const fields = new HeaderFields(bytes, false);
  const headEnd = fields.read(line.end, end, line.isHttp10);
  if (typeof headEnd !== "number") {
    const isTooLong = end - start > responseHeadMaxBytes;
    return headEnd.kind === "malformed" || isTooLong ? malformed(502) : headEnd;
  }
  return {
    kind: "response",
    status: line.status,
    ...common(fields, { isHttp10: line.isHttp10, fieldsStart: line.end, end: headEnd }),
  };
}

function common(
  fields: HeaderFields,
  position: Pick<MessageHead, "isHttp10" | "fieldsStart" | "end">,
): MessageHead {
  return {
    ...position,
    contentLength: fields.contentLength,
    isChunked: fields.isChunked,
    asksClose: fields.asksClose,
    asksKeepAlive: fields.asksKeepAlive,
    upgrade: fields.upgrade,
    dropped: fields.dropped,
  };
}

/** The field lines that travel on, without the blank line. */
export function keptFields(bytes: Buffer, head: MessageHead): string {
  const end = head.end - 2;
  const { dropped } = head;
  if (dropped.length === 0) return bytes.toString("latin1", head.fieldsStart, end);
  let text = "";
  let position = head.fieldsStart;
  for (let i = 0; i < dropped.length; i += 2) {
    const dropStart = dropped[i] ?? end;
    if (dropStart > position) text += bytes.toString("latin1", position, dropStart);
    position = dropped[i + 1] ?? end;
  }
  return position < end ? text + bytes.toString("latin1", position, end) : text;
}

type RequestLine = {
  readonly kind: "line";
  readonly methodText: string;
  readonly target: string;
  readonly isHttp10: boolean;
  readonly end: number;
};

const lineFeed = 10;
const carriageReturn = 13;
const space = 32;
const zero = 48;
const versionBytes = bytesOf(" HTTP/");
const methodMaxBytes = 20;

function readRequestLine(
  bytes: Buffer,
  start: number,
  end: number,
): RequestLine | Incomplete | Malformed {
  let position = start;
  while (position < end && isToken[bytes[position] ?? 0] === 1) position += 1;
  const methodEnd = position;
  if (methodEnd - start > methodMaxBytes) return malformed(400);
  if (position >= end) return incomplete;
  if (bytes[position] !== space || methodEnd === start) return malformed(400);
  position += 1;
  const targetStart = position;
  while (position < end && isTargetText[bytes[position] ?? 0] === 1) position += 1;
  if (position - targetStart > requestHeadMaxBytes) return malformed(414);
  if (position >= end) return incomplete;
  if (bytes[position] !== space || position === targetStart) return malformed(400);
  // What follows is ` HTTP/1.1` and CRLF: 11 octets, all of which are fixed but one.
  if (end - position < 11) return incomplete;
  for (let i = 0; i < versionBytes.length; i += 1) {
    if (bytes[position + i] !== versionBytes[i]) return malformed(400);
  }
  const minor = (bytes[position + 8] ?? 0) - zero;
  const isVersion1 = bytes[position + 6] === 49 && bytes[position + 7] === 46;
  if (!isVersion1 || (minor !== 0 && minor !== 1)) return malformed(505);
  if (bytes[position + 9] !== carriageReturn || bytes[position + 10] !== lineFeed) {
    return malformed(400);
  }
  const methodText = bytes.toString("latin1", start, methodEnd);
  // A tunnel to wherever the client likes is not what this proxy is for.
  if (methodText === "CONNECT") return malformed(405);
  const target = bytes.toString("latin1", targetStart, position);
  return { kind: "line", methodText, target, isHttp10: minor === 0, end: position + 11 };
}

/** The target as an origin server takes it; undefined when it is in no form that is accepted. */
function originForm(target: string, host: string, method: string): string | undefined {
  if (target.startsWith("/")) return target;
  if (target === "*") return method === "OPTIONS" ? target : undefined;
  const authority = /^http:\/\/([^/?]+)/i.exec(target);
  // An authority that differs from Host would be routed one way and served another.
  if (authority?.[1]?.toLowerCase() !== host.toLowerCase()) return undefined;
  const rest = target.slice(authority[0].length);
  return rest.startsWith("/") ? rest : `/${rest}`;
}

function methodKind(method: string): MethodKind {
  switch (method) {
    case "GET":
      return "get";
    case "HEAD":
      return "head";
    case "PUT":
    case "DELETE":
    case "OPTIONS":
    case "TRACE":
      return "idempotent";
    default:
      return "other";
  }
}

type StatusLine = {
  readonly kind: "line";
  readonly status: number;
  readonly isHttp10: boolean;
  readonly end: number;
};

const statusLineStart = bytesOf("HTTP/1.");

function readStatusLine(
  bytes: Buffer,
  start: number,
  end: number,
): StatusLine | Incomplete | Malformed {
  if (end - start < 14) return incomplete;
  for (let i = 0; i < statusLineStart.length; i += 1) {
    if (bytes[start + i] !== statusLineStart[i]) return malformed(502);
  }
  const minor = (bytes[start + 7] ?? 0) - zero;
  if ((minor !== 0 && minor !== 1) || bytes[start + 8] !== space) return malformed(502);
  let status = 0;
  for (let i = start + 9; i < start + 12; i += 1) {
    const digit = (bytes[i] ?? 0) - zero;
    if (digit < 0 || digit > 9) return malformed(502);
    status = status * 10 + digit;
  }
  if (status < 100) return malformed(502);
  let position = start + 12;
  if (bytes[position] === space) {
    position += 1;
    while (position < end && isFieldText[bytes[position] ?? 0] === 1) position += 1;
    if (position + 1 >= end)
      return end - start > responseHeadMaxBytes ? malformed(502) : incomplete;
  }
  if (bytes[position] !== carriageReturn || bytes[position + 1] !== lineFeed) {
    return malformed(502);
  }
  return { kind: "line", status, isHttp10: minor === 0, end: position + 2 };
}
