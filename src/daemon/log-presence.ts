import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { CodedError, type ReadableCell } from "../kernel/index.ts";
import type { LogStorage, RaftStatus } from "../raft/index.ts";

/** Its presence says that this node has held the cluster's log. */
const markerName = "log-held";

/**
 * A node that forgot its votes and entries could help to undo what was acknowledged, so one
 * whose log is gone does not go on under its old name.
 * @throws CodedError `corrupt_log`
 */
export function refuseLostLog(
  dataDirectory: string,
  storage: Pick<LogStorage, "lastIndex" | "hardState" | "snapshotMeta">,
): void {
  const isEmpty =
    storage.lastIndex() === 0 &&
    storage.hardState().term === 0 &&
    storage.snapshotMeta() === undefined;
  if (!isEmpty || !existsSync(join(dataDirectory, markerName))) return;
  throw new CodedError(
    "corrupt_log",
    `The replicated log that was in ${dataDirectory} is gone. Put the directory back as it was; or move it away and let this machine join anew under another name (--name), with a new token.`,
  );
}

/** Remembers that there is a log, from the first entry on. Returns the undo. */
export function noteLogHeld(
  dataDirectory: string,
  status: ReadableCell<Pick<RaftStatus, "commitIndex">>,
): () => void {
  const marker = join(dataDirectory, markerName);
  let isNoted = existsSync(marker);
  const look = () => {
    if (isNoted || status.get().commitIndex === 0) return;
    isNoted = true;
    writeFileSync(marker, "", { mode: 0o600 });
  };
  look();
  return status.subscribe(look);
}
