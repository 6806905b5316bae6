import { z } from "zod";
import type { DoctorView } from "../api/index.ts";
import { type ClusterNode, type ClusterState, compareText } from "../cluster/index.ts";
import { type Clock, messageOf, type NodeId, nodeId, type ReadableCell } from "../kernel/index.ts";
import { PeerCodec, type PeerNetwork } from "../network/index.ts";
import type { ContainerRuntime } from "../runtime/index.ts";
import { diagnose, type Examination, type ExaminedNode } from "./diagnose.ts";
import { diskSpace, forwardsPackets, measureSync, tryPort } from "./doctor-checks.ts";

const examineProtocol = "/skein/doctor/1";
const pingProtocol = "/skein/doctor-ping/1";
const packr = new PeerCodec();

/** One node examines no more links than this; more than so many nodes are sampled. */
const maxLinks = 64;
/** One node names no more of its ports that do not answer. */
const maxPortProblems = 20;
const pingMs = 4_000;
const engineMs = 3_000;
/** For all that one node tries, all at once. */
const examineMs = 8_000;
/** Examinations that a node works on at a time: each writes to its disk. */
const maxParallel = 4;

const portState = z.enum(["open", "refused", "timed_out", "unreachable"]);

const examinationSchema = z.object({
  version: z.string().max(64),
  engine: z.string().max(128),
  engineError: z.string().max(2_000).nullable(),
  diskSyncMs: z.number().nullable(),
  diskFreeBytes: z.number().nullable(),
  diskCapacityBytes: z.number().nullable(),
  forwardsPackets: z.boolean().nullable(),
  /** Absent from a node of an earlier version. */
  portProblems: z.array(z.string().max(500)).max(maxPortProblems).default([]),
  links: z
    .array(
      z.object({
        to: z.string().max(128).transform(nodeId),
        roundTripMs: z.number().nullable(),
        clockAheadMs: z.number().nullable(),
        port: portState,
      }),
    )
    .max(maxLinks),
});

const pongSchema = z.object({ nowMs: z.number() });

type DoctorOptions = {
  readonly self: NodeId;
  readonly version: string;
  readonly network: PeerNetwork;
  readonly runtime: ContainerRuntime;
  readonly state: ReadableCell<ClusterState>;
  readonly dataDirectory: string;
  /** Why ports of this node do not answer. */
  readonly portProblems: () => readonly string[];
  readonly clock: Clock;
};

/** Tests the links between nodes, and the nodes themselves; every node can be asked. */
export class Doctor {
  readonly #options: DoctorOptions;
  #underWay = 0;

  constructor(options: DoctorOptions) {
    this.#options = options;
    const { network, clock } = options;
    network.handle(pingProtocol, async () => packr.pack({ nowMs: clock.now() }));
    network.handle(examineProtocol, async (_, __, { signal }) => {
      const bounded = AbortSignal.any([signal, AbortSignal.timeout(examineMs)]);
      return packr.pack(await this.#examine(bounded));
    });
  }

  /** Asks every node to test itself and its links, and says what is wrong. */
  async view({ signal }: { readonly signal: AbortSignal }): Promise<DoctorView> {
    const { self, state } = this.#options;
    const nodes = [...state.get().nodes.values()].sort((a, b) => compareText(a.name, b.name));
    const examined = await Promise.all(nodes.map((node) => this.#ask(node, signal)));
    signal.throwIfAborted();
    return diagnose(examined, self);
  }

  async #ask(node: ClusterNode, signal: AbortSignal): Promise<ExaminedNode> {
    const { self, network } = this.#options;
    const bounded = AbortSignal.any([signal, AbortSignal.timeout(examineMs + pingMs)]);
    try {
      if (node.id === self) return { node, result: await this.#examine(bounded) };
      const body = await network.request(node.id, examineProtocol, packr.pack({}), {
        signal: bounded,
      });
      return { node, result: examinationSchema.parse(packr.unpack(body)) };
    } catch (error) {
      return { node, error: messageOf(error) };
    }
  }

  async #examine(signal: AbortSignal): Promise<Examination> {
    if (this.#underWay >= maxParallel) throw new Error("It is being examined by others already.");
    this.#underWay += 1;
    try {
      const { self, state, version, dataDirectory, portProblems } = this.#options;
      const others = [...state.get().nodes.values()]
        .filter(({ id }) => id !== self)
        .slice(0, maxLinks);
      const [engine, disk, diskSyncMs, forwards, links] = await Promise.all([
        this.#examineEngine(signal),
        diskSpace(dataDirectory),
        measureSync(dataDirectory),
        forwardsPackets(),
        Promise.all(others.map((other) => this.#examineLink(other, signal))),
      ]);
      return {
        version,
        ...engine,
        diskSyncMs: diskSyncMs ?? null,
        diskFreeBytes: disk?.freeBytes ?? null,
        diskCapacityBytes: disk?.capacityBytes ?? null,
        forwardsPackets: forwards ?? null,
        portProblems: portProblems()
          .slice(0, maxPortProblems)
          .map((text) => text.slice(0, 500)),
        links,
      };
    } finally {
      this.#underWay -= 1;
    }
  }

  async #examineEngine(signal: AbortSignal): Promise<Pick<Examination, "engine" | "engineError">> {
    try {
      const bounded = AbortSignal.any([signal, AbortSignal.timeout(engineMs)]);
      const { kind, version } = await this.#options.runtime.info({ signal: bounded });
      return { engine: `${kind} ${version}`.trim(), engineError: null };
    } catch (error) {
      return { engine: "", engineError: messageOf(error).slice(0, 2_000) };
    }
  }

  async #examineLink(
    { id, address }: ClusterNode,
    signal: AbortSignal,
  ): Promise<Examination["links"][number]> {
    const [port, answer] = await Promise.all([
      tryPort(address, signal).catch(() => "unreachable" as const),
      this.#ping(id, signal),
    ]);
    return { to: id, port, ...answer };
  }

  /** The second of two: the first may have had to connect. */
  async #ping(
    to: NodeId,
    signal: AbortSignal,
  ): Promise<{ readonly roundTripMs: number | null; readonly clockAheadMs: number | null }> {
    const { network, clock } = this.#options;
    const bounded = AbortSignal.any([signal, AbortSignal.timeout(pingMs)]);
    try {
      await network.request(to, pingProtocol, new Uint8Array(), { signal: bounded });
      const sentMs = clock.now();
      const from = clock.monotonic();
      const body = await network.request(to, pingProtocol, new Uint8Array(), { signal: bounded });
      const roundTripMs = clock.monotonic() - from;
      const { nowMs } = pongSchema.parse(packr.unpack(body));
      return { roundTripMs, clockAheadMs: nowMs - (sentMs + roundTripMs / 2) };
    } catch {
      return { roundTripMs: null, clockAheadMs: null };
    }
  }
}
