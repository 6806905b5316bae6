import type { ApiBackend } from "../api/server.ts";
import type { ClusterNode, ClusterState, Command, Outcome } from "../cluster/index.ts";
import { defaultMaxVoters, effectiveLabels, sameValue } from "../cluster/index.ts";
import {
  type Clock,
  type Logger,
  messageOf,
  type NodeId,
  type ReadableCell,
  whenCell,
} from "../kernel/index.ts";
import type { Entered } from "./enter-cluster.ts";
import type { Settings } from "./settings.ts";

type AnnounceOptions = {
  readonly settings: Settings;
  readonly entered: Entered;
  readonly self: NodeId;
  readonly state: ReadableCell<ClusterState>;
  readonly submit: (
    command: Command,
    options: { readonly signal: AbortSignal },
  ) => Promise<Outcome>;
  readonly createToken: ApiBackend["createToken"];
  readonly clock: Clock;
  readonly logger: Logger;
  readonly print: (text: string) => void;
  /** Whether only a person reads what is printed: a service's output is kept in a journal. */
  readonly isTerminal: boolean;
  readonly signal: AbortSignal;
};

const retryMs = 1_000;
const firstTokenTtlMs = 24 * 3_600_000;

/**
 * Puts this node into the agreed state as it is today: the first node of a new cluster, and
 * one that came back with another address, name or labels.
 * @throws when the cluster refuses it for good, e.g. because the name is taken.
 */
export async function announceSelf(options: AnnounceOptions): Promise<void> {
  const { entered, state, self, logger, signal, clock } = options;
  const { maxVoters } = options.settings;
  // Also at a later start, where the first one ended before this was agreed.
  if (entered.isFounder && state.get().clusterId === "") {
    await untilDone(options, () => ({
      kind: "bootstrap",
      clusterId: entered.credentials.clusterId,
      node: nodeOf(options, undefined),
      ...(maxVoters === undefined ? {} : { maxVoters }),
    }));
    await printJoinCommand(options);
    return;
  }
  // What was agreed before has to arrive first; then only a difference is worth an entry.
  const known = await whenCell(state, ({ nodes }) => nodes.has(self), { signal });
  const agreed = known.maxVoters ?? defaultMaxVoters;
  if (maxVoters !== undefined && maxVoters !== agreed) {
    const remedy = `skein voters ${maxVoters}`;
    logger.warn({ maxVoters, agreed, remedy }, "--voters counts for a new cluster only");
  }
  const before = known.nodes.get(self);
  const now = nodeOf(options, before);
  const shown = { ...now, labels: effectiveLabels(now.labels, now.assignedLabels) };
  if (entered.kind === "resumed" && !sameValue(before, shown)) {
    logger.info({ address: now.address, name: now.name }, "this node has changed, telling all");
    await untilDone(options, () => ({ kind: "admit_node", node: now, nowMs: clock.now() }));
  }
}

function nodeOf(
  { settings, entered, self, clock }: AnnounceOptions,
  before: ClusterNode | undefined,
): ClusterNode {
  const assignedLabels = before?.assignedLabels;
  return {
    id: self,
    name: settings.name,
    address: entered.address,
    labels: settings.labels,
    ...(assignedLabels === undefined ? {} : { assignedLabels }),
    eligibility: before?.eligibility ?? "active",
    admittedAtMs: before?.admittedAtMs ?? clock.now(),
  };
}

async function untilDone(
  { submit, clock, logger, signal }: AnnounceOptions,
  make: () => Command,
): Promise<void> {
  for (;;) {
    try {
      const outcome = await submit(make(), { signal });
      if (outcome.kind === "accepted") return;
      // A bootstrap that is there already came from this node before a crash.
      if (outcome.code === "conflict") return;
      throw new RefusedError(outcome.message);
    } catch (error) {
      if (error instanceof RefusedError || signal.aborted) throw error;
      logger.debug({ error: messageOf(error) }, "not agreed yet, trying again");
      await clock.sleep(retryMs, { signal });
    }
  }
}

class RefusedError extends Error {}

async function printJoinCommand(options: AnnounceOptions): Promise<void> {
  const { createToken, print, isTerminal, signal } = options;
  if (!isTerminal) {
    print("A new cluster. To join another machine, make a token with: skein token create\n");
    return;
  }
  const token = await createToken({ role: "node", ttlMs: firstTokenTtlMs }, { signal });
  print(
    `A new cluster. Join another machine with:\n\n  ${token.joinCommand}\n\nThe token is valid for 24 hours; make others with: skein token create\n`,
  );
}
