import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Test } from "tap";

/**
 * A directory that is removed with the test. The daemons' sockets lie in it, and a socket's path
 * has at most 107 bytes, which a fixture directory named after the test can exceed.
 */
export function shortDirectory(t: Test): string {
  const directory = mkdtempSync(join(tmpdir(), "skein-e2e-"));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}
