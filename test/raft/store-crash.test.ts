import t from "tap";
import { SimDisk } from "../../sim/raft/sim-disk.ts";
import { seededRandom } from "../../src/kernel/index.ts";
import { openFileLogStorage } from "../../src/raft/io/file-log-storage.ts";
import type { LogStorage } from "../../src/raft/log-storage.ts";

const segmentBytes = 1_024;
const data = new Uint8Array(200);

/** A disk on which a process can be killed at any of its waits. */
class KillableDisk {
  readonly disk: SimDisk;
  #waits = 0;
  #killAt = Number.POSITIVE_INFINITY;
  #killed = Promise.withResolvers<"killed">();

  constructor(seed: number) {
    this.disk = new SimDisk({
      random: seededRandom(seed),
      afterDelay: (run) => {
        this.#waits += 1;
        if (this.#waits === this.#killAt) this.#killed.resolve("killed");
        else setImmediate(run);
      },
      onSettled: () => undefined,
    });
  }

  /** Runs a process until its wait number `killAt`; says whether it came to an end before. */
  async run(killAt: number, process: () => Promise<void>): Promise<"done" | "killed"> {
    this.#waits = 0;
    this.#killAt = killAt;
    this.#killed = Promise.withResolvers();
    return await Promise.race([process().then(() => "done" as const), this.#killed.promise]);
  }

  open(): Promise<LogStorage> {
    return openFileLogStorage({ directory: "/raft", disk: this.disk, segmentBytes });
  }
}

async function append(storage: LogStorage): Promise<void> {
  const entry = { index: storage.lastIndex() + 1, term: 1, kind: "normal", data } as const;
  await storage.save({ entries: [entry] });
}

/**
 * Found by the simulator: a process was killed between the renaming of a new segment and the
 * sync of the directory; the next one wrote to that segment; then the power failed, the name
 * was gone, and with it what had been acknowledged.
 */
t.test(
  "what a second process saves survives the loss of power, wherever the first died",
  async (t) => {
    let kills = 0;
    for (let killAt = 1; killAt <= 40; killAt += 1) {
      for (let seed = 1; seed <= 4; seed += 1) {
        const killable = new KillableDisk(seed);
        let saved = 0;
        const outcome = await killable.run(killAt, async () => {
          const storage = await killable.open();
          for (let count = 0; count < 12; count += 1) {
            await append(storage);
            saved = storage.lastIndex();
          }
        });
        if (outcome === "killed") kills += 1;
        killable.disk.crash({ losesPower: false });
        await killable.run(Number.POSITIVE_INFINITY, async () => {
          const storage = await killable.open();
          t.ok(storage.lastIndex() >= saved);
          await append(storage);
          saved = storage.lastIndex();
        });
        killable.disk.crash({ losesPower: true });
        await killable.run(Number.POSITIVE_INFINITY, async () => {
          t.equal((await killable.open()).lastIndex(), saved, `killed at ${killAt}, seed ${seed}`);
        });
      }
    }
    t.ok(kills > 60, `${kills} kills`);
  },
);

t.test("a newest segment that vanishes is missed, wherever a process died before", async (t) => {
  let vanished = 0;
  for (let killAt = 1; killAt <= 60; killAt += 1) {
    const killable = new KillableDisk(killAt);
    await killable.run(killAt, async () => {
      const storage = await killable.open();
      for (let count = 0; count < 12; count += 1) await append(storage);
    });
    killable.disk.crash({ losesPower: false });
    await killable.run(Number.POSITIVE_INFINITY, async () => {
      const storage = await killable.open();
      await append(storage);
      await storage[Symbol.asyncDispose]();
      const names = await killable.disk.names("/raft");
      const segments = names.filter((name) => name.endsWith(".log")).toSorted();
      const newest = segments.at(-1);
      if (segments.length < 2 || newest === undefined) return;
      vanished += 1;
      await killable.disk.remove(`/raft/${newest}`);
      await t.rejects(killable.open(), { code: "corrupt_log" }, `killed at ${killAt}`);
    });
    killable.disk.crash({ losesPower: false });
  }
  t.ok(vanished > 20, `${vanished} times`);
});
