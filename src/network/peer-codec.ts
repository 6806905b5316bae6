import { Packr } from "msgpackr";
import { NetworkError } from "./errors.ts";

/** Far more than anything that machines tell each other, long lists aside. */
const defaultMaxValues = 2 ** 17;
/** Lists and maps within each other. */
const maxDepth = 16;

/** How a value's first byte says what follows; the bytes of its own head are `head`. */
type Shape =
  | { readonly kind: "bytes"; readonly head: number; readonly bytes: number }
  | { readonly kind: "list"; readonly head: number; readonly values: number };

/**
 * The msgpack that machines speak to each other. Whoever sends a frame pays one byte for a value
 * that costs its reader an object, and millions fit a frame: they are counted before any is made.
 */
export class PeerCodec {
  readonly #packr = new Packr({ useRecords: false });
  readonly #maxValues: number;

  constructor({ maxValues = defaultMaxValues }: { readonly maxValues?: number } = {}) {
    this.#maxValues = maxValues;
  }

  pack(value: unknown): Uint8Array {
    return this.#packr.pack(value);
  }

  /** @throws NetworkError `too_large`, or whatever msgpack finds wrong. */
  unpack(bytes: Uint8Array): unknown {
    assertBounded(bytes, this.#maxValues);
    return this.#packr.unpack(bytes);
  }
}

/** Goes over the heads of all values; what they hold is passed over. */
function assertBounded(bytes: Uint8Array, maxValues: number): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  /** How many values each open list still has. */
  const open = [1];
  let values = 1;
  let offset = 0;
  while (open.length > 0) {
    const last = open.length - 1;
    const left = open[last] ?? 0;
    if (left === 0) {
      open.pop();
      continue;
    }
    open[last] = left - 1;
    const shape = shapeAt(view, offset);
    offset += shape.head;
    if (shape.kind === "bytes") {
      offset += shape.bytes;
      continue;
    }
    values += shape.values;
    if (values > maxValues) {
      throw new NetworkError("too_large", `A peer's message has more than ${maxValues} values.`);
    }
    open.push(shape.values);
    if (open.length > maxDepth) {
      throw new NetworkError("too_large", `A peer's message is more than ${maxDepth} lists deep.`);
    }
  }
}

/** @throws RangeError past the end, NetworkError for what no Skein sends. */
function shapeAt(view: DataView, offset: number): Shape {
  const first = view.getUint8(offset);
  if (first < 0x80 || first >= 0xe0) return scalar(0);
  if (first < 0x90) return { kind: "list", head: 1, values: 2 * (first & 0x0f) };
  if (first < 0xa0) return { kind: "list", head: 1, values: first & 0x0f };
  if (first < 0xc0) return scalar(first & 0x1f);
  return longShapeAt(view, offset, first);
}

/** @see https://github.com/msgpack/msgpack/blob/master/spec.md */
function longShapeAt(view: DataView, offset: number, first: number): Shape {
  switch (first) {
    case 0xc0: // nil
    case 0xc2: // false
    case 0xc3: // true
      return scalar(0);
    case 0xcc: // one byte of a number
    case 0xd0:
      return scalar(1);
    case 0xcd:
    case 0xd1:
      return scalar(2);
    case 0xca:
    case 0xce:
    case 0xd2:
      return scalar(4);
    case 0xcb:
    case 0xcf:
    case 0xd3:
      return scalar(8);
    case 0xc4: // bytes and text
    case 0xd9:
      return { kind: "bytes", head: 2, bytes: view.getUint8(offset + 1) };
    case 0xc5:
    case 0xda:
      return { kind: "bytes", head: 3, bytes: view.getUint16(offset + 1) };
    case 0xc6:
    case 0xdb:
      return { kind: "bytes", head: 5, bytes: view.getUint32(offset + 1) };
    case 0xdc: // lists
      return { kind: "list", head: 3, values: view.getUint16(offset + 1) };
    case 0xdd:
      return { kind: "list", head: 5, values: view.getUint32(offset + 1) };
    case 0xde: // maps
      return { kind: "list", head: 3, values: 2 * view.getUint16(offset + 1) };
    case 0xdf:
      return { kind: "list", head: 5, values: 2 * view.getUint32(offset + 1) };
    case 0xd4: // an extension of one byte; number 0 is how `undefined` is packed
      if (view.getUint8(offset + 1) === 0) return scalar(2);
      break;
    default:
      break;
  }
  throw new NetworkError("too_large", `A peer's message has a value of the unknown kind ${first}.`);
}

function scalar(bytes: number): Shape {
  return { kind: "bytes", head: 1, bytes };
}
