import t from "tap";
import { randomBelow, seededRandom } from "../../src/kernel/index.ts";
import { FrameReader } from "../../src/network/io/frame-reader.ts";

function framed(bytes: Uint8Array): Uint8Array {
  const header = Buffer.alloc(4);
  header.writeUInt32BE(bytes.byteLength);
  return Buffer.concat([header, bytes]);
}

t.test("frames come out the same however the octets are cut", async (t) => {
  const random = seededRandom(7);
  for (let round = 0; round < 200; round += 1) {
    const frames = Array.from({ length: randomBelow(random, 6) }, (_, index) =>
      new Uint8Array(randomBelow(random, 2_000)).fill(index + 1),
    );
    const stream = Buffer.concat(frames.map(framed));
    const reader = new FrameReader();
    const read: Uint8Array[] = [];
    for (let start = 0; start < stream.byteLength; ) {
      const end = start + 1 + randomBelow(random, 900);
      read.push(...reader.take(stream.subarray(start, end)));
      start = end;
    }
    t.ok(
      read.length === frames.length &&
        read.every(
          (frame, index) =>
            frames[index] !== undefined && Buffer.compare(frame, frames[index]) === 0,
        ),
      `round ${round}`,
    );
    t.equal(reader.pendingBytes, 0);
  }
});

t.test("a frame that is announced too large is refused before it comes", async (t) => {
  const header = Buffer.alloc(4);
  for (const length of [4 * 2 ** 20 + 1, 2 ** 32 - 1]) {
    header.writeUInt32BE(length);
    t.throws(() => new FrameReader().take(header), { code: "too_large" });
  }
  header.writeUInt32BE(4 * 2 ** 20);
  const reader = new FrameReader();
  t.same(reader.take(header), []);
  t.equal(reader.take(new Uint8Array(4 * 2 ** 20)).length, 1);
});
