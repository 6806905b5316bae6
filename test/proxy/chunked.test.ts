import t from "tap";
import { ChunkedScanner } from "../../src/proxy/chunked.ts";

/** What is passed on of a body that arrives in pieces of `size`, or where it broke. */
function scan(text: string, size: number): { forwarded: string; rest: string } | "broken" {
  const scanner = new ChunkedScanner();
  let forwarded = "";
  for (let start = 0; start < text.length; start += size) {
    const piece = Buffer.from(text.slice(start, start + size), "latin1");
    const forward = scanner.scan(piece, 0, piece.length);
    if (forward < 0) return "broken";
    forwarded += piece.toString("latin1", 0, forward);
    if (scanner.isDone) return { forwarded, rest: text.slice(start + scanner.consumed) };
  }
  return { forwarded, rest: "unfinished" };
}

const good: readonly (readonly [name: string, text: string, forwarded: string])[] = [
  ["an empty body", "0\r\n\r\n", "0\r\n"],
  [
    "two chunks",
    "5\r\nhello\r\nA\r\n0123456789\r\n0\r\n\r\n",
    "5\r\nhello\r\nA\r\n0123456789\r\n0\r\n",
  ],
  ["an extension", "1;a=b\r\nx\r\n0;c\r\n\r\n", "1;a=b\r\nx\r\n0;c\r\n"],
  ["trailers, which are dropped", "1\r\nx\r\n0\r\nA: b\r\nC: d\r\n\r\n", "1\r\nx\r\n0\r\n"],
  ["leading zeros", "0001\r\nx\r\n000\r\n\r\n", "0001\r\nx\r\n000\r\n"],
];

t.test("a chunked body is passed on as it is, however it is cut", async (t) => {
  for (const [name, text, forwarded] of good) {
    for (const size of [1, 2, 3, 7, 1000]) {
      t.strictSame(scan(`${text}NEXT`, size), { forwarded, rest: "NEXT" }, `${name}, by ${size}`);
    }
  }
});

const broken: readonly (readonly [name: string, text: string])[] = [
  ["a size with a sign", "+1\r\nx\r\n0\r\n\r\n"],
  ["a size with 0x", "0x1\r\nx\r\n0\r\n\r\n"],
  ["a blank before the size", " 1\r\nx\r\n0\r\n\r\n"],
  ["a blank behind the size", "1 \r\nx\r\n0\r\n\r\n"],
  ["an empty size", "\r\nx\r\n0\r\n\r\n"],
  ["a size that overflows", "fffffffffffffffff\r\nx"],
  ["a bare LF behind the size", "1\nx\r\n0\r\n\r\n"],
  ["a bare LF in an extension", "1;a\nx\r\n0\r\n\r\n"],
  ["a control octet in an extension", "1;\0\r\nx\r\n0\r\n\r\n"],
  ["an endless extension", `1;${"a".repeat(300)}\r\nx\r\n0\r\n\r\n`],
  ["data that is longer than its size", "1\r\nxy\r\n0\r\n\r\n"],
  ["a bare LF behind the data", "1\r\nx\n0\r\n\r\n"],
  ["a bare LF in the trailers", "0\r\nA: b\n\r\n"],
  ["a folded trailer", "0\r\nA: b\r\n c\r\n\r\n"],
  ["endless trailers", `0\r\n${"A: bbbbbbbb\r\n".repeat(1000)}\r\n`],
];

t.test("a chunked body that is not exactly framed is refused", async (t) => {
  for (const [name, text] of broken) {
    for (const size of [1, 5, 100_000]) t.equal(scan(text, size), "broken", `${name}, by ${size}`);
  }
});
