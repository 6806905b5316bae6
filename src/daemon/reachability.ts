import { z } from "zod";
import type { ClusterState } from "../cluster/index.ts";
import {
  Cell,
  type Clock,
  type Logger,
  messageOf,
  type NodeId,
  type ReadableCell,
} from "../kernel/index.ts";
import { PeerCodec, type PeerNetwork } from "../network/index.ts";
import { tryPort } from "./doctor-checks.ts";

const protocol = "/skein/dial-back/1";
const packr = new PeerCodec();
const answerSchema = z.object({ port: z.string().max(32) });

/** Asked at a time; one that can connect is proof. */
const maxAsked = 3;
const askMs = 4_000;
/** Until the first answer, and afterwards. */
const firstMs = 1_000;
const intervalMs = 60_000;

/**
 * Whether no other node can open a connection to this one, so that it is reached only over
 * the connections that it opened itself: behind NAT, say. The others try it when asked, at
 * the address that was agreed, and nowhere else.
 */
export function watchReachability(options: {
  readonly self: NodeId;
  readonly network: PeerNetwork;
  readonly state: ReadableCell<ClusterState>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}): ReadableCell<boolean> {
  const { self, network, state, clock, logger, signal } = options;
  const isDialOutOnly = new Cell(false);
  network.handle(protocol, async (from, _, { signal: gone }) => {
    const address = state.get().nodes.get(from)?.address;
    const port = address === undefined ? "unknown" : await tryPort(address, gone);
    return packr.pack({ port });
  });

  async function ask(node: NodeId): Promise<string | undefined> {
    const bounded = AbortSignal.any([signal, AbortSignal.timeout(askMs)]);
    try {
      const body = await network.request(node, protocol, new Uint8Array(), { signal: bounded });
      return answerSchema.parse(packr.unpack(body)).port;
    } catch (error) {
      logger.debug({ peer: node, error: messageOf(error) }, "not told whether it reaches us");
      return undefined;
    }
  }

  /** Whether anybody has said something. */
  async function look(): Promise<boolean> {
    if (!state.get().nodes.has(self)) return false;
    const peers = [...network.connected.get()].slice(0, maxAsked);
    const answers = (await Promise.all(peers.map(ask))).filter(
      (port) => port !== undefined && port !== "unknown",
    );
    if (answers.length === 0) return false;
    const isShut = !answers.includes("open");
    if (isShut !== isDialOutOnly.get()) {
      logger.info({ isDialOutOnly: isShut }, "whether others can connect to this node");
    }
    isDialOutOnly.set(isShut);
    return true;
  }

  async function run(): Promise<void> {
    while (!signal.aborted) {
      const isKnown = await look();
      await clock.sleep(isKnown ? intervalMs : firstMs, { signal });
    }
  }

  // Ends with the signal's reason, which is no news.
  run().catch(() => undefined);
  return isDialOutOnly;
}
