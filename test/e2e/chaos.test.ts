import { randomInt } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import t, { type Test } from "tap";
import { checkRegister, type Operation } from "../../sim/raft/linearizability.ts";
import { ApiClient } from "../../src/api/index.ts";
import { socketTransport } from "../../src/api/io/http-transport.ts";
import { type Random, randomBelow, seededRandom } from "../../src/kernel/index.ts";
import { shortDirectory } from "./directory.ts";
import { Machines, machinesUnavailable } from "./machines.ts";
import { Watch } from "./watch.ts";

/**
 * Real daemons on three machines, killed, frozen and cut off while clients write and read:
 * what the API answers must be explainable by one register per service. The number of
 * replicas of services that can run nowhere serves as the register. `SKEIN_CHAOS_SECONDS`
 * makes it longer.
 */

const skip = machinesUnavailable() ?? false;
const seconds = Number(process.env["SKEIN_CHAOS_SECONDS"] ?? 40);
const numbers = [1, 2, 3];
/** More of them keep the history of each short enough to be searched. */
const registers = Array.from({ length: 12 }, (_, number) => `register-${number}`);
const clients = 6;
const answerMs = 8_000;

const manifest = `name: chaos
services:
${registers
  .map(
    (name) => `  ${name}:
    image: /bin/true
    deploy: { replicas: 0, placement: { constraints: ["node.labels.nowhere == yes"] } }
`,
  )
  .join("")}`;

class Registers {
  readonly histories = new Map<string, Operation[]>(registers.map((name) => [name, []]));
  readonly #written = new Map<string, number>();
  readonly #apis: readonly ApiClient[];
  failed = 0;

  constructor(machines: Machines) {
    this.#apis = numbers.map(
      (number) =>
        new ApiClient(socketTransport(join(machines.dataPath(number), "data/skein.sock"))),
    );
  }

  get answered(): number {
    return [...this.histories.values()].flat().filter(({ end }) => end !== undefined).length;
  }

  async act(random: Random): Promise<void> {
    const api = this.#apis[randomBelow(random, this.#apis.length)];
    const name = registers[randomBelow(random, registers.length)] ?? "a";
    if (api === undefined) return;
    const signal = AbortSignal.timeout(answerMs);
    try {
      if (random.next() < 0.5) await this.#write(api, name, signal);
      else await this.#read(api, name, signal);
    } catch {
      this.failed += 1;
      // A daemon that does not answer is not asked again at once.
      await sleep(50);
    }
  }

  /** A write that fails may have happened, or may still happen. */
  async #write(api: ApiClient, name: string, signal: AbortSignal): Promise<void> {
    const value = (this.#written.get(name) ?? 0) + 1;
    this.#written.set(name, value);
    const begin = performance.now();
    const note = (end: number | undefined) =>
      this.histories.get(name)?.push({ kind: "write", value, begin, end });
    try {
      const params = { namespace: "chaos", name };
      await api.call("scaleService", { params, body: { replicas: value }, signal });
    } catch (error) {
      note(undefined);
      throw error;
    }
    note(performance.now());
  }

  /** A backup that a quorum confirmed is a linearizable read. */
  async #read(api: ApiClient, name: string, signal: AbortSignal): Promise<void> {
    const begin = performance.now();
    const { services, isConfirmed } = await api.call("backup", { signal });
    const end = performance.now();
    if (!isConfirmed) return;
    const mode = services.find((service) => service.name === name)?.mode;
    if (mode?.kind !== "replicated") return;
    this.histories.get(name)?.push({ kind: "read", value: mode.replicas, begin, end });
  }
}

/** One fault after the other until told to stop; everything works again when it resolves. */
async function trouble(
  t: Test,
  parts: {
    readonly machines: Machines;
    readonly watch: Watch;
    readonly random: Random;
    readonly stop: AbortSignal;
    readonly daemonFlags: readonly string[];
  },
): Promise<number> {
  const { machines, watch, random, stop, daemonFlags } = parts;
  let faults = 0;
  while (!stop.aborted) {
    const any = numbers[randomBelow(random, numbers.length)] ?? 1;
    const leader = random.next() < 0.5 ? await watch.leader(any) : 0;
    const victim = leader === 0 ? any : leader;
    const fault = ["kill", "freeze", "cut"][randomBelow(random, 3)];
    const lastsMs = 1_000 + random.next() * 4_000;
    t.comment(
      `${fault} m${victim}${leader === victim ? ", the leader," : ""} for ${Math.round(lastsMs)} ms`,
    );
    if (fault === "kill") await machines.signalDaemon(victim, "SIGKILL");
    else if (fault === "freeze") machines.freezeDaemon(victim, "SIGSTOP");
    else machines.cut(victim);
    await sleep(lastsMs);
    if (fault === "kill") machines.startDaemon(victim, ...daemonFlags);
    else if (fault === "freeze") machines.freezeDaemon(victim, "SIGCONT");
    else machines.heal(victim);
    faults += 1;
    await sleep(1_000 + random.next() * 3_000);
  }
  return faults;
}

t.test(
  "answers under faults are linearizable",
  { skip, timeout: (seconds + 240) * 1_000 },
  async (t) => {
    await using machines = await Machines.start(3);
    const watch = new Watch(t, machines, numbers, { socketPath: "/var/lib/skein/data/skein.sock" });
    const daemonFlags = ["--data-dir=/var/lib/skein/data", "--runtime=process"];
    machines.startDaemon(1, ...daemonFlags);
    await watch.until(
      "the first daemon answers",
      30_000,
      async () => (await watch.nodes(1)).length === 1,
    );
    const token = (await watch.skein(1, "token", "create")).stdout.trim();
    for (const number of [2, 3]) {
      machines.startDaemon(
        number,
        ...daemonFlags,
        "--join",
        `${machines.address(1)}:7946`,
        "--token",
        token,
      );
    }
    await watch.until("three voters", 60_000, async () => (await watch.voters(3)) === 3);
    const file = join(shortDirectory(t), "compose.yaml");
    writeFileSync(file, manifest);
    const up = await watch.skein(2, "up", "--detach", "--no-queue", "-f", file);
    t.equal(up.status, 0, up.stderr);

    const seed = randomInt(2 ** 31);
    t.comment(`seed ${seed} (of the faults; the machine's own timing is not repeatable)`);
    const random = seededRandom(seed);
    const stop = new AbortController();
    const running = new Registers(machines);
    const work = Array.from({ length: clients }, async () => {
      while (!stop.signal.aborted) await running.act(random);
    });
    const troubled = trouble(t, { machines, watch, random, stop: stop.signal, daemonFlags });
    await sleep(seconds * 1_000);
    stop.abort();
    const faults = await troubled;
    await Promise.all(work);

    const before = running.answered;
    await watch.until("after the last fault all is answered again", 30_000, async () => {
      await running.act(random);
      return running.answered > before + 10;
    });
    t.comment(
      `${faults} faults, ${running.answered} answered operations, ${running.failed} failed`,
    );
    t.ok(faults > 2, "there were faults");
    for (const [name, history] of running.histories) {
      t.ok(history.length > 20, `register ${name} was used`);
      t.equal(checkRegister(history, { maxStates: 5_000_000 }), "linearizable", `register ${name}`);
    }
  },
);
