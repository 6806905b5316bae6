import t from "tap";
import { plainLine } from "../../src/daemon/log-output.ts";

t.test("a person reads the time, the level, the part, and the fields", async (t) => {
  const line = plainLine(
    '{"level":40,"time":0,"node":"n1","part":"raft","term":3,"error":"no answer","msg":"leader lost"}',
  );
  t.match(line, /^\d\d:\d\d:\d\d warn {2}raft: leader lost term=3 error=no answer\n$/);
});

t.test("what is no log line is left as it is", async (t) => {
  t.equal(plainLine('{"other":1}'), '{"other":1}');
});
