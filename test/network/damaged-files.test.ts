import { rmSync, truncateSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { loadClusterKey, saveClusterKey } from "../../src/network/io/cluster-key.ts";
import {
  createCluster,
  loadCredentials,
  saveCredentials,
} from "../../src/network/io/credentials.ts";
import { loadOrCreateIdentity } from "../../src/network/io/identity.ts";

/** A data directory of a member that votes. */
async function memberDirectory(t: Test): Promise<string> {
  const directory = t.testdir();
  const { nodeId } = await loadOrCreateIdentity(directory);
  const cluster = await createCluster({ clusterId: "c1", self: nodeId, nowMs: 1e12 });
  saveCredentials(directory, { ...cluster, seeds: [] });
  saveClusterKey(directory, cluster);
  return directory;
}

const files: readonly {
  readonly name: string;
  readonly load: (directory: string) => unknown;
  readonly remedy: RegExp;
}[] = [
  { name: "credentials.json", load: loadCredentials, remedy: /join anew under another name/ },
  { name: "identity.key", load: loadOrCreateIdentity, remedy: /join anew under another name/ },
  { name: "cluster-key.json", load: loadClusterKey, remedy: /it asks them for the key/ },
];

for (const { name, load, remedy } of files) {
  t.test(`a damaged ${name} is named, with what to do`, async (t) => {
    const directory = await memberDirectory(t);
    const file = join(directory, name);
    const loaded = async () => await load(directory);
    await t.resolves(loaded());
    for (const [bytes, why] of [
      [20, "its content is unreadable"],
      [0, "it is empty"],
    ] as const) {
      truncateSync(file, bytes);
      const refusal = { code: "damaged_file", message: `${file} is damaged: ${why}.` };
      await t.rejects(loaded(), refusal);
      await t.rejects(loaded(), { message: remedy });
    }
  });
}

t.test("a member whose identity is gone does not get another one", async (t) => {
  const directory = await memberDirectory(t);
  const file = join(directory, "identity.key");
  rmSync(file);
  const refusal = { code: "damaged_file", message: `${file} is gone` };
  await t.rejects(loadOrCreateIdentity(directory), refusal);
});
