import { mkdirSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { CodedError, messageOf } from "../../src/kernel/index.ts";

t.test("a failure of the file system is told in words, with the path and the code", async (t) => {
  const directory = t.testdir({ file: "" });
  const of = (act: () => unknown): string => {
    try {
      act();
      return "";
    } catch (error) {
      return messageOf(error);
    }
  };
  const file = join(directory, "file");
  const missing = join(directory, "missing");
  t.equal(
    of(() => openSync(missing, "r")),
    `${missing}: it does not exist [ENOENT, open]`,
  );
  t.equal(
    of(() => mkdirSync(file)),
    `${file}: something of that name is there already [EEXIST, mkdir]`,
  );
  t.equal(
    of(() => readFileSync(directory)),
    "it is a directory [EISDIR, read]",
  );
  t.match(
    of(() => writeFileSync(join(file, "below"), "")),
    /below: a part of its path is no directory \[ENOTDIR, open\]/,
  );
  t.match(
    of(() => writeFileSync("/dev/full", "x")),
    /^the disk is full \(free some space\) \[ENOSPC, write\]$/,
  );
});

t.test("every other error has its own text", async (t) => {
  t.equal(messageOf(new CodedError("full", "It is full.")), "It is full.");
  t.equal(messageOf(Object.assign(new Error("no"), { code: "ENOSPC" })), "no");
  const refused = Object.assign(new Error("connect ECONNREFUSED"), { code: "ECONNREFUSED" });
  t.equal(messageOf(Object.assign(refused, { syscall: "connect" })), "connect ECONNREFUSED");
  const socket = Object.assign(new Error("connect ENOENT /run/x.sock"), { code: "ENOENT" });
  t.equal(messageOf(Object.assign(socket, { syscall: "connect" })), "connect ENOENT /run/x.sock");
  t.equal(messageOf("text"), "text");
});
