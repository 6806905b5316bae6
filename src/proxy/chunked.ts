import { isFieldText, isToken } from "./octets.ts";

/** Longest chunk extension and longest trailer section that are read (and then ignored). */
const extensionMaxBytes = 256;
const trailersMaxBytes = 8192;
/** 12 hexadecimal digits stay exact in a number. */
const sizeMaxDigits = 12;

const lineFeed = 10;
const carriageReturn = 13;
const semicolon = 59;

type State =
  | "size-first"
  | "size"
  | "extension"
  | "size-line-feed"
  | "data"
  | "data-return"
  | "data-line-feed"
  | "trailer-start"
  | "trailer"
  | "trailer-line-feed"
  | "last-line-feed"
  | "done";

const beforeTrailers: ReadonlySet<State> = new Set<State>([
  "size-first",
  "size",
  "extension",
  "size-line-feed",
  "data",
  "data-return",
  "data-line-feed",
]);

/**
 * Follows the framing of a chunked body through any cuts. The bytes may be passed on as
 * they are, so nothing is copied; trailers are read but not passed on, and so the caller
 * writes the final CRLF once `isDone`.
 */
export class ChunkedScanner {
  #state: State = "size-first";
  #left = 0;
  #digits = 0;
  #extensionBytes = 0;
  #trailerBytes = 0;
  #consumed = 0;

  get isDone(): boolean {
    return this.#state === "done";
  }

  /** Position behind the last octet of the body that the last scan has used up. */
  get consumed(): number {
    return this.#consumed;
  }

  /** The position up to which the bytes may be passed on; -1 when the framing is broken. */
  scan(bytes: Uint8Array, start: number, end: number): number {
    let position = start;
    let forward = start;
    while (position < end && this.#state !== "done") {
      if (this.#state === "data") {
        const taken = Math.min(this.#left, end - position);
        this.#left -= taken;
        position += taken;
        if (this.#left === 0) this.#state = "data-return";
      } else {
        if (!this.#takeOctet(bytes[position] ?? 0)) return -1;
        position += 1;
      }
      // The last chunk's own line (`0` and CRLF) still counts; what comes behind does not.
      if (beforeTrailers.has(this.#state) || this.#isAtTrailers) forward = position;
    }
    this.#consumed = position;
    return forward;
  }

  /** Whether the octet just taken ended the last chunk's line. */
  get #isAtTrailers(): boolean {
    return this.#state === "trailer-start" && this.#trailerBytes === 0;
  }

  #takeOctet(octet: number): boolean {
    switch (this.#state) {
      case "size-first":
      case "size":
        return this.#takeSize(octet);
      case "extension":
        if (octet === carriageReturn) return this.#go("size-line-feed");
        this.#extensionBytes += 1;
        return isFieldText[octet] === 1 && this.#extensionBytes <= extensionMaxBytes;
      case "size-line-feed":
        this.#digits = 0;
        this.#extensionBytes = 0;
        return octet === lineFeed && this.#go(this.#left === 0 ? "trailer-start" : "data");
      case "data-return":
        return octet === carriageReturn && this.#go("data-line-feed");
      case "data-line-feed":
        return octet === lineFeed && this.#go("size-first");
      case "trailer-start":
        if (octet === carriageReturn) return this.#go("last-line-feed");
        this.#trailerBytes += 1;
        return isToken[octet] === 1 && this.#go("trailer");
      case "trailer":
        if (octet === carriageReturn) return this.#go("trailer-line-feed");
        this.#trailerBytes += 1;
        return isFieldText[octet] === 1 && this.#trailerBytes <= trailersMaxBytes;
      case "trailer-line-feed":
        return octet === lineFeed && this.#go("trailer-start");
      case "last-line-feed":
        return octet === lineFeed && this.#go("done");
      default:
        return false;
    }
  }

  #takeSize(octet: number): boolean {
    const value = hexadecimal(octet);
    if (value >= 0) {
      this.#digits += 1;
      this.#left = this.#left * 16 + value;
      return this.#digits <= sizeMaxDigits && this.#go("size");
    }
    if (this.#state === "size-first") return false;
    if (octet === carriageReturn) return this.#go("size-line-feed");
    return octet === semicolon && this.#go("extension");
  }

  #go(state: State): true {
    this.#state = state;
    return true;
  }
}

function hexadecimal(octet: number): number {
  if (octet >= 48 && octet <= 57) return octet - 48;
  const lower = octet | 0x20;
  return lower >= 97 && lower <= 102 ? lower - 87 : -1;
}
