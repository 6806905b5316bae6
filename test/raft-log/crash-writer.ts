import { writeSync } from "node:fs";
import { entries, openSmall, snapshotMeta } from "./log-fixtures.ts";

// Writes to the log in the directory given until it is killed, and says after each save, on a
// line of its own, which entry is the last that it was told is durable.
const storage = await openSmall(process.argv[2] ?? "");
for (let round = 0; ; round += 1) {
  const first = storage.lastIndex() + 1;
  const last = first + (round % 13);
  await storage.save({
    hardState: { term: 1, vote: undefined, commitIndex: last },
    entries: entries(first, last),
  });
  writeSync(1, `${last}\n`);
  if (round % 50 === 49) {
    await storage.saveSnapshot(snapshotMeta(last), new Uint8Array(5_000).fill(round % 256));
    await storage.compact(last - 100);
  }
}
