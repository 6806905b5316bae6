import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { codeOf, messageOf } from "../../kernel/index.ts";
import { StorageError } from "./storage-error.ts";

const lockFile = "lock";

/**
 * Keeps every other process out of `directory` until it is disposed or this process ends,
 * however it ends. The directory must exist. @throws StorageError `directory_in_use`.
 *
 * Node has no file locks of its own, but the SQLite inside it has: a transaction that stays
 * open on an otherwise empty database. The kernel releases it, so there is no stale lock to
 * judge by process ids, which containers and restarts reuse.
 */
export function lockDirectory(directory: string): Disposable {
  const database = new DatabaseSync(join(directory, lockFile), { timeout: 0 });
  try {
    database.exec("PRAGMA journal_mode = MEMORY");
    database.exec("BEGIN EXCLUSIVE");
  } catch (cause) {
    database.close();
    if (codeOf(cause) !== "ERR_SQLITE_ERROR" || !messageOf(cause).includes("locked")) throw cause;
    throw new StorageError(
      "directory_in_use",
      `Another process uses ${directory}. Stop it, or give this node a directory of its own (--data-dir).`,
      { cause },
    );
  }
  return {
    [Symbol.dispose]: () => {
      if (database.isOpen) database.close();
    },
  };
}
