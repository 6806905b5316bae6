import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { noteLogHeld, refuseLostLog } from "../../src/daemon/log-presence.ts";
import { Cell } from "../../src/kernel/index.ts";
import { MemoryLogStorage } from "../../src/raft/index.ts";

t.test("a node whose log is gone does not go on under its old name", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "skein-log-presence-"));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const lost = new MemoryLogStorage();
  refuseLostLog(directory, lost);
  const status = new Cell({ commitIndex: 0 });
  t.teardown(noteLogHeld(directory, status));
  refuseLostLog(directory, lost);
  status.set({ commitIndex: 3 });
  t.throws(() => refuseLostLog(directory, lost), {
    code: "corrupt_log",
    message: /is gone.*--name/,
  });

  const held = new MemoryLogStorage();
  await held.save({ hardState: { term: 1, vote: undefined, commitIndex: 0 }, entries: [] });
  refuseLostLog(directory, held);
});
