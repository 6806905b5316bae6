import { bytesOf, equalsIgnoringCase, isFieldText, isHostText, isToken } from "./octets.ts";

export const requestFieldsMax = 100;
export const responseFieldsMax = 200;

export type Incomplete = { readonly kind: "incomplete" };
/** `status` is what a client is told. */
export type Malformed = { readonly kind: "malformed"; readonly status: number };

export const incomplete: Incomplete = { kind: "incomplete" };

export function malformed(status: number): Malformed {
  return { kind: "malformed", status };
}

type FieldAction =
  | "connection"
  | "content-length"
  | "drop"
  | "drop-from-request"
  | "expect"
  | "host"
  | "transfer-encoding"
  | "upgrade";

/** The fields that mean something to the proxy; all others are copied unread. */
const knownFields: Readonly<Record<string, FieldAction>> = {
  host: "host",
  connection: "connection",
  "content-length": "content-length",
  "transfer-encoding": "transfer-encoding",
  upgrade: "upgrade",
  expect: "expect",
  te: "drop",
  "keep-alive": "drop",
  "proxy-connection": "drop",
  "proxy-authorization": "drop",
  "proxy-authenticate": "drop",
  "http2-settings": "drop",
  trailer: "drop",
  forwarded: "drop-from-request",
  "x-forwarded-for": "drop-from-request",
  "x-forwarded-host": "drop-from-request",
  "x-forwarded-port": "drop-from-request",
  "x-forwarded-proto": "drop-from-request",
};

type KnownField = { readonly name: Uint8Array; readonly action: FieldAction };

/** Known fields by the length of their name, so that most fields cost one look-up. */
const knownByLength: readonly (readonly KnownField[])[] = (() => {
  const table: KnownField[][] = Array.from({ length: 24 }, () => []);
  for (const [name, action] of Object.entries(knownFields)) {
    table[name.length]?.push({ name: bytesOf(name), action });
  }
  return table;
})();

/** Fields that a Connection header must not be able to remove. */
const protectedFields = new Set([
  "host",
  "content-length",
  "transfer-encoding",
  "content-type",
  "authorization",
  "cookie",
  "cache-control",
  "forwarded",
  "x-forwarded-for",
  "x-forwarded-host",
  "x-forwarded-proto",
  "x-real-ip",
]);

const chunkedBytes = bytesOf("chunked");
const closeBytes = bytesOf("close");
const keepAliveBytes = bytesOf("keep-alive");
const continueBytes = bytesOf("100-continue");

const tab = 9;
const lineFeed = 10;
const carriageReturn = 13;
const space = 32;
const colon = 58;
const zero = 48;

/** Reads the fields of one head; holds what it has learnt of them. */
export class HeaderFields {
  readonly #bytes: Buffer;
  readonly #isRequest: boolean;
  contentLength = -1;
  isChunked = false;
  asksClose = false;
  asksKeepAlive = false;
  host: string | undefined;
  readonly dropped: number[] = [];
  #asksUpgrade = false;
  #upgrade: string | undefined;
  #transferEncodings = 0;
  /** Further fields that Connection names. */
  readonly #named: string[] = [];

  constructor(bytes: Buffer, isRequest: boolean) {
    this.#bytes = bytes;
    this.#isRequest = isRequest;
  }

  get upgrade(): string | undefined {
    return this.#asksUpgrade ? this.#upgrade : undefined;
  }

  /** The position behind the blank line, or why there is none. */
  read(start: number, end: number, isHttp10: boolean): number | Incomplete | Malformed {
    const bytes = this.#bytes;
    const fieldsMax = this.#isRequest ? requestFieldsMax : responseFieldsMax;
    let position = start;
    for (let count = 0; ; count += 1) {
      if (position >= end) return incomplete;
      if (bytes[position] === carriageReturn) {
        if (position + 1 >= end) return incomplete;
        if (bytes[position + 1] !== lineFeed) return malformed(400);
        break;
      }
      if (count === fieldsMax) return malformed(431);
      const next = this.#readField(position, end);
      if (typeof next !== "number") return next;
      position = next;
    }
    const hasEncoding = this.#transferEncodings > 0;
    // Two ways to tell the length are how requests are smuggled: neither is believed.
    if (hasEncoding && (this.contentLength >= 0 || isHttp10)) return malformed(400);
    if (this.#named.length > 0) this.#dropNamed(start, position);
    return position + 2;
  }

  #readField(start: number, end: number): number | Incomplete | Malformed {
    const bytes = this.#bytes;
    let position = start;
    while (position < end && isToken[bytes[position] ?? 0] === 1) position += 1;
    if (position >= end) return incomplete;
    // Also catches folded lines, a blank before the colon, an empty name, and a bare LF.
    if (bytes[position] !== colon || position === start) return malformed(400);
    const nameLength = position - start;
    position += 1;
    while (position < end && (bytes[position] === space || bytes[position] === tab)) position += 1;
    const valueStart = position;
    while (position < end && isFieldText[bytes[position] ?? 0] === 1) position += 1;
    if (position + 1 >= end) return incomplete;
    if (bytes[position] !== carriageReturn || bytes[position + 1] !== lineFeed) {
      return malformed(400);
    }
    let valueEnd = position;
    while (valueEnd > valueStart && isBlank(bytes[valueEnd - 1])) valueEnd -= 1;
    const lineEnd = position + 2;
    for (const { name, action } of knownByLength[nameLength] ?? []) {
      if (!equalsIgnoringCase(bytes, start, name)) continue;
      const refusal = this.#note(action, start, lineEnd, valueStart, valueEnd);
      if (refusal !== undefined) return refusal;
    }
    return lineEnd;
  }

  #note(
    action: FieldAction,
    lineStart: number,
    lineEnd: number,
    valueStart: number,
    valueEnd: number,
  ): Malformed | undefined {
    switch (action) {
      case "host":
        return this.#isRequest ? this.#noteHost(valueStart, valueEnd) : undefined;
      case "content-length":
        return this.#noteLength(valueStart, valueEnd);
      case "transfer-encoding":
        return this.#noteEncoding(valueStart, valueEnd);
      case "expect":
        if (!this.#isRequest) return undefined;
        return this.#is(continueBytes, valueStart, valueEnd) ? undefined : malformed(417);
      case "connection":
        this.#drop(lineStart, lineEnd);
        return this.#noteConnection(valueStart, valueEnd);
      case "upgrade":
        this.#drop(lineStart, lineEnd);
        // Two of them are not joined: an upgrade that is unclear does not happen.
        this.#upgrade =
          this.#upgrade === undefined ? this.#bytes.toString("latin1", valueStart, valueEnd) : "";
        return undefined;
      case "drop":
        this.#drop(lineStart, lineEnd);
        return undefined;
      case "drop-from-request":
        if (this.#isRequest) this.#drop(lineStart, lineEnd);
        return undefined;
    }
  }

  #noteHost(start: number, end: number): Malformed | undefined {
    if (this.host !== undefined || start === end) return malformed(400);
    for (let i = start; i < end; i += 1) {
      if (isHostText[this.#bytes[i] ?? 0] === 0) return malformed(400);
    }
    this.host = this.#bytes.toString("latin1", start, end);
    return undefined;
  }

  #noteLength(start: number, end: number): Malformed | undefined {
    // 15 digits stay exact in a number. A second field is refused even when it agrees.
    if (this.contentLength >= 0 || start === end || end - start > 15) return malformed(400);
    let length = 0;
    for (let i = start; i < end; i += 1) {
      const digit = (this.#bytes[i] ?? 0) - zero;
      if (digit < 0 || digit > 9) return malformed(400);
      length = length * 10 + digit;
    }
    this.contentLength = length;
    return undefined;
  }

  #noteEncoding(start: number, end: number): Malformed | undefined {
    this.#transferEncodings += 1;
    if (this.#transferEncodings > 1) return malformed(400);
    if (!this.#is(chunkedBytes, start, end)) return malformed(501);
    this.isChunked = true;
    return undefined;
  }

  #noteConnection(start: number, end: number): Malformed | undefined {
    if (this.#is(closeBytes, start, end)) this.asksClose = true;
    else if (this.#is(keepAliveBytes, start, end)) this.asksKeepAlive = true;
    else return this.#noteConnectionList(this.#bytes.toString("latin1", start, end));
    return undefined;
  }

  #noteConnectionList(list: string): Malformed | undefined {
    for (const part of list.split(",")) {
      const name = part.trim().toLowerCase();
      if (name === "close") this.asksClose = true;
      else if (name === "keep-alive") this.asksKeepAlive = true;
      else if (name === "upgrade") this.#asksUpgrade = true;
      else if (name !== "") {
        if (!isTokenText(name) || protectedFields.has(name)) return malformed(400);
        this.#named.push(name);
      }
    }
    return undefined;
  }

  #is(expected: Uint8Array, start: number, end: number): boolean {
    return end - start === expected.length && equalsIgnoringCase(this.#bytes, start, expected);
  }

  #drop(start: number, end: number): void {
    const { dropped } = this;
    if (dropped.at(-1) === start) dropped[dropped.length - 1] = end;
    else dropped.push(start, end);
  }

  /** Adds the lines whose name Connection gave. Rare, so it walks the lines a second time. */
  #dropNamed(start: number, end: number): void {
    const already = [...this.dropped];
    this.dropped.length = 0;
    for (let line = start; line < end; ) {
      const next = this.#bytes.indexOf("\r\n", line) + 2;
      const text = this.#bytes.toString("latin1", line, next);
      const name = text.slice(0, text.indexOf(":")).toLowerCase();
      if (this.#named.includes(name) || isWithin(already, line)) this.#drop(line, next);
      line = next;
    }
  }
}

function isBlank(octet: number | undefined): boolean {
  return octet === space || octet === tab;
}

function isTokenText(text: string): boolean {
  for (let i = 0; i < text.length; i += 1) if (isToken[text.charCodeAt(i)] !== 1) return false;
  return true;
}

function isWithin(ranges: readonly number[], position: number): boolean {
  for (let i = 0; i < ranges.length; i += 2) {
    if (position >= (ranges[i] ?? 0) && position < (ranges[i + 1] ?? 0)) return true;
  }
  return false;
}
