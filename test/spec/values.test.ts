import t from "tap";
import { nearest } from "../../src/spec/nearest.ts";
import {
  readBytes,
  readCpuMillis,
  readDuration,
  readInteger,
  readNumber,
  readPortRange,
  splitWords,
} from "../../src/spec/values.ts";

function table<Value>(
  name: string,
  read: (text: string) => Value | undefined,
  cases: readonly (readonly [text: string, expected: Value | undefined])[],
): void {
  t.test(name, async (t) => {
    for (const [text, expected] of cases) t.strictSame(read(text), expected, JSON.stringify(text));
  });
}

table("durations", readDuration, [
  ["0", 0],
  ["0s", 0],
  ["500ms", 500],
  ["1m30s", 90_000],
  ["1.5h", 5_400_000],
  ["1d", 86_400_000],
  ["1us", 1],
  ["2h32m10s", 9_130_000],
  ["10", undefined],
  ["-1s", undefined],
  ["1 s", undefined],
  ["s", undefined],
  ["", undefined],
  ["99999d", undefined],
]);

table("amounts of memory", readBytes, [
  ["1024", 1_024],
  ["1b", 1],
  ["1k", 1_024],
  ["1KB", 1_024],
  ["2m", 2 * 2 ** 20],
  ["1.5G", 1.5 * 2 ** 30],
  ["1GiB", 2 ** 30],
  ["1 gb", 2 ** 30],
  ["1t", 2 ** 40],
  ["1x", undefined],
  ["-1m", undefined],
  ["m", undefined],
  ["99999999p", undefined],
]);

table("CPUs", readCpuMillis, [
  ["0.5", 500],
  ["2", 2_000],
  ["0.001", 1],
  ["0.0001", undefined],
  ["0", undefined],
  ["1e3", undefined],
  ["2000", undefined],
]);

table("whole numbers", (text) => readInteger(text, { minimum: -2, maximum: 100 }), [
  ["0", 0],
  ["-2", -2],
  ["100", 100],
  ["101", undefined],
  ["1.0", undefined],
  ["0x10", undefined],
  ["1e1", undefined],
  ["9".repeat(30), undefined],
]);

table("numbers", (text) => readNumber(text, { minimum: 0, maximum: 1 }), [
  ["0", 0],
  [".5", 0.5],
  ["1.0", 1],
  ["1.1", undefined],
  ["half", undefined],
]);

table("port ranges", readPortRange, [
  ["80", { first: 80, last: 80 }],
  ["80-82", { first: 80, last: 82 }],
  ["82-80", undefined],
  ["0", undefined],
  ["65536", undefined],
  ["1-2-3", undefined],
  ["-80", undefined],
]);

table("words of a command line", splitWords, [
  ["", []],
  ["  a  b\tc\n", ["a", "b", "c"]],
  ["a 'b c' \"d e\"", ["a", "b c", "d e"]],
  ["a''b\"\"c", ["abc"]],
  ["a '' \"\"", ["a", "", ""]],
  ['"a \\"b\\" \\x"', ['a "b" \\x']],
  ["'a \\' b", ["a \\", "b"]],
  ["a\\ b \\'", ["a b", "'"]],
  ["a \\\nb", ["a", "b"]],
  ["echo $HOME && x", ["echo", "$HOME", "&&", "x"]],
  ["'open", undefined],
  ['"open', undefined],
]);

table(
  "the nearest word",
  (word) => nearest(word, ["replicas", "image", "user", "start-first", "tmpfs"]),
  [
    ["replcas", "replicas"],
    ["repilcas", "replicas"],
    ["Replicas", "replicas"],
    ["startFirst", "start-first"],
    ["start_first", "start-first"],
    ["imgae", "image"],
    ["usr", "user"],
    ["tmp", undefined],
    ["x", undefined],
    ["entirely different", undefined],
    ["a".repeat(10_000), undefined],
  ],
);
