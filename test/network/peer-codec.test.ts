import { Packr } from "msgpackr";
import t from "tap";
import { PeerCodec } from "../../src/network/index.ts";

const plain = new Packr({ useRecords: false });

t.test("what machines send comes out as it went in", async (t) => {
  const codec = new PeerCodec();
  const values: readonly unknown[] = [
    null,
    true,
    ...[0, 127, 128, 255, 256, 65_535, 65_536, 2 ** 32, 2 ** 53 - 1, -1, -32, -33, -129, -32_769],
    ...[-(2 ** 31) - 1, 1.5, -0.25],
    ...["", "a".repeat(31), "a".repeat(32), "a".repeat(256), "ü".repeat(70_000)],
    ...[0, 15, 16, 70_000].map((length) => Array.from({ length }, (_, index) => index)),
    Object.fromEntries(Array.from({ length: 20 }, (_, index) => [`key ${index}`, [index, {}]])),
    { kind: "nested", list: [{ deep: [[[null]]] }] },
  ];
  for (const value of values) {
    const packed = codec.pack(value);
    t.same(codec.unpack(packed), value, `${JSON.stringify(value)?.slice(0, 30)}`);
  }
  for (const length of [0, 1, 256, 70_000]) {
    const bytes = new Uint8Array(length).fill(7);
    const unpacked = codec.unpack(codec.pack(bytes));
    t.ok(
      unpacked instanceof Uint8Array && Buffer.compare(unpacked, bytes) === 0,
      `${length} bytes`,
    );
  }
  t.strictSame(codec.unpack(codec.pack({ absent: undefined })), { absent: undefined });
});

t.test("as many values pass as are allowed, and no more", async (t) => {
  const codec = new PeerCodec({ maxValues: 100 });
  const list = (length: number) => plain.pack(Array.from({ length }, () => 0));
  const map = (length: number) =>
    plain.pack(Object.fromEntries(Array.from({ length }, (_, index) => [`k${index}`, 0])));
  t.equal((codec.unpack(list(99)) as readonly unknown[]).length, 99);
  t.throws(() => codec.unpack(list(100)), { code: "too_large" });
  t.ok(codec.unpack(map(49)));
  t.throws(() => codec.unpack(map(50)), { code: "too_large" }, "keys count");
  t.ok(codec.unpack(plain.pack(new Uint8Array(2 ** 20))), "bytes are one value");
  t.throws(
    () => codec.unpack(Uint8Array.of(0xdd, 0xff, 0xff, 0xff, 0xff)),
    { code: "too_large" },
    "also where they are only announced",
  );
});

t.test("what is deep, cut off or of a kind that no machine sends is refused", async (t) => {
  const codec = new PeerCodec();
  const nested = (depth: number): unknown => (depth === 0 ? 0 : [nested(depth - 1)]);
  t.ok(codec.unpack(plain.pack(nested(15))));
  t.throws(() => codec.unpack(plain.pack(nested(16))), { code: "too_large" });
  const whole = plain.pack({ text: "abc", list: [1, 2_000, 3.5], bytes: new Uint8Array(9) });
  for (let length = 0; length < whole.length; length += 1) {
    t.throws(() => codec.unpack(whole.subarray(0, length)), `cut at ${length}`);
  }
  t.throws(() => codec.unpack(Uint8Array.of(...whole, 0)), "more behind it");
  const foreign: readonly (readonly [string, readonly number[]])[] = [
    ["a definition of a record", [0xd4, 0x72, 0x40]],
    ["a time", [0xd6, 0xff, 0, 0, 0, 0]],
    ["a long extension", [0xc7, 1, 5, 0]],
    ["the unused first byte", [0xc1]],
  ];
  for (const [name, bytes] of foreign) t.throws(() => codec.unpack(Uint8Array.from(bytes)), name);
});
