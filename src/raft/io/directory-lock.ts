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
  const path = join(directory, lockFile);
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(path, { timeout: 0 });
    database.exec("PRAGMA journal_mode = MEMORY");
    database.exec("BEGIN EXCLUSIVE");
  } catch (cause) {
    database?.close();
    throw refusal(cause, directory, path);
  }
  const held = database;
  return {
    [Symbol.dispose]: () => {
      if (held.isOpen) held.close();
    },
  };
}

function refusal(cause: unknown, directory: string, path: string): StorageError {
  if (codeOf(cause) === "ERR_SQLITE_ERROR" && messageOf(cause).includes("locked")) {
    return new StorageError(
      "directory_in_use",
      `Another process uses ${directory}. Stop it, or give this node a directory of its own (--data-dir).`,
      { cause },
    );
  }
  return new StorageError(
    "storage_failed",
    `${path} cannot be locked: ${messageOf(cause)}. Check that the directory can be written to. The file holds no data: where it is damaged, remove it and start the node again.`,
    { cause },
  );
}
