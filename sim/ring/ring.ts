import type { ClusterState, Command } from "../../src/cluster/index.ts";
import { emptyClusterState } from "../../src/cluster/index.ts";
import type { ChangeOutcome } from "../../src/intents/index.ts";
import type { Random } from "../../src/kernel/index.ts";
import { messageOf } from "../../src/kernel/index.ts";
import type { Machine } from "../gossip/machine.ts";
import { Links } from "../links.ts";
import { VirtualTime } from "../virtual-time.ts";
import type { RingContext } from "./context.ts";
import type { Daemon } from "./daemon.ts";
import { Host } from "./host.ts";
import type { Swarm } from "./swarm.ts";

export type RingOptions = {
  readonly swarm: Swarm;
  readonly random: Random;
  readonly note: (text: () => string) => void;
  readonly onDaemon: (host: Host, daemon: Daemon) => void;
  /** A user asks for something. */
  readonly onAsk: (host: Host, command: Command) => void;
  readonly onAnswer: (host: Host, command: Command, outcome: ChangeOutcome) => void;
};

/** Machines with everything that Skein runs on them, in virtual time. */
export class Ring extends VirtualTime {
  readonly links: Links;
  readonly hosts: readonly Host[];
  readonly context: RingContext;
  /** The newest agreed state that any node holds. */
  agreed: ClusterState = emptyClusterState;
  readonly #options: RingOptions;
  /** Where users wait for an answer. */
  readonly #asked = new Set<{ readonly machine: Machine }>();

  constructor(options: RingOptions) {
    super();
    const { swarm, random, note, onDaemon } = options;
    this.#options = options;
    const { queue } = this;
    this.links = new Links({ queue, random, weather: swarm.weather, note });
    this.context = {
      queue,
      random,
      links: this.links,
      timing: swarm.timing,
      note,
      violated: (text) => this.violated(text),
      stir: () => {
        this.stir();
      },
    };
    this.hosts = Array.from({ length: swarm.nodes }, (_, at) => {
      const clockRate = 1 + swarm.clockSkew * (2 * random.next() - 1);
      const { cpuMillis, busyRate } = swarm;
      return new Host(this.context, { name: `n${at}`, cpuMillis, clockRate, busyRate, onDaemon });
    });
  }

  get awake(): readonly Host[] {
    return this.hosts.filter(({ isAwake }) => isAwake);
  }

  /** The node that leads, as most would say. */
  get leader(): Host | undefined {
    return this.awake
      .filter(({ daemon }) => daemon?.isLeader.get())
      .toSorted((a, b) => termOf(b) - termOf(a))[0];
  }

  /** Asks a node for something, as the API does, and tells what came of it. */
  submit(
    host: Host,
    command: Command,
    onOutcome: (outcome: ChangeOutcome) => void = () => undefined,
  ) {
    const { daemon, machine } = host;
    if (daemon === undefined) return;
    const asked = { machine };
    this.#asked.add(asked);
    this.#options.onAsk(host, command);
    const forget = () => this.#asked.delete(asked);
    machine.act(() => {
      daemon
        .change(command)
        .finally(forget)
        .then(
          (outcome) => {
            this.context.note(() => `user: ${command.kind} at ${host.id}: ${outcome.kind}`);
            this.#options.onAnswer(host, command, outcome);
            onOutcome(outcome);
          },
          (error: unknown) =>
            this.context.note(
              () => `user: ${command.kind} at ${host.id} failed: ${messageOf(error)}`,
            ),
        );
    });
  }

  /** Whether a user waits for an answer: what was asked for may still be agreed. */
  get isAsked(): boolean {
    return [...this.#asked].some(({ machine }) => machine.isUp);
  }

  /** Whether a node that runs keeps a change for its user. */
  get isKept(): boolean {
    return this.awake.some(({ daemon }) => (daemon?.intents.get().length ?? 0) > 0);
  }

  /** By how much two wall clocks may have drifted apart by now. */
  get driftMs(): number {
    return 2 * this.#options.swarm.clockSkew * this.queue.now;
  }

  /** How long nothing has kept this node from hearing the others and doing its work. */
  quietMs(host: Host): number {
    const isCut = this.hosts.some((other) => this.links.isCut(host.id, other.id));
    if (isCut || this.links.weather.lossRate > 0) return 0;
    return host.undisturbedMs;
  }
}

function termOf({ daemon }: Host): number {
  return daemon?.raft.status.get().term ?? 0;
}
