import t from "tap";
import { diskWarnings } from "../../src/daemon/disk-warning.ts";
import { raftTimings } from "../../src/raft/index.ts";

t.test("a slow disk is named with what it took and what it may take", async (t) => {
  const options = { timing: raftTimings.lan, directory: "/var/lib/skein/raft" };
  t.strictSame(diskWarnings({ slowWriteMs: undefined }, options), []);
  const [warning] = diskWarnings({ slowWriteMs: 450 }, options);
  t.match(warning, /\/var\/lib\/skein\/raft took 450 ms.* after 1000 ms/);
});
