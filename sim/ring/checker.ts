import { isFinal, type NodeReport, phaseOrder, type TaskStatus } from "../../src/cluster/index.ts";
import type { NodeId } from "../../src/kernel/index.ts";
import { AgreedChecker } from "./agreed-checker.ts";
import type { Daemon } from "./daemon.ts";
import { EngineChecker } from "./engine-checker.ts";
import type { Host } from "./host.ts";
import { IntentChecker } from "./intent-checker.ts";
import type { Ring } from "./ring.ts";
import { lookMs, Sightings } from "./sightings.ts";

type Heard = { readonly epoch: number; readonly report: NodeReport };

/** Watches a ring, at every change and from time to time, against what was promised. */
export class Checker {
  readonly agreed: AgreedChecker;
  readonly sightings: Sightings;
  readonly intents: IntentChecker;
  readonly #ring: Ring;
  readonly #engines: EngineChecker;

  constructor(ring: Ring) {
    this.#ring = ring;
    this.sightings = new Sightings(ring);
    this.intents = new IntentChecker(ring);
    this.agreed = new AgreedChecker(ring, this.sightings);
    this.#engines = new EngineChecker(ring, this.agreed, this.sightings);
    this.#keepLooking();
  }

  get started(): number {
    return this.#engines.started;
  }

  /** Watches one life of a node's daemon. */
  watch(host: Host, daemon: Daemon): void {
    const { store, observations, gossip } = daemon;
    const take = () => {
      const state = store.state.get();
      this.intents.take(this.#ring.agreed, state);
      this.agreed.take(state);
      this.#engines.told(host, state.tasks.values());
    };
    take();
    store.state.subscribe(take);
    store.tell({
      applied: ({ after, command }) => this.intents.accepted(after.index, command),
      restored: () => undefined,
      snapshotTaken: () => undefined,
    });
    const heard = new Map<NodeId, Heard>();
    observations.subscribe(() => {
      for (const [owner, report] of observations.get().reports) {
        const epoch = gossip.records.get().get(owner)?.epoch ?? 0;
        const before = heard.get(owner);
        if (before?.report === report) continue;
        if (before?.epoch === epoch) this.#checkReport(host.id, before.report, report);
        heard.set(owner, { epoch, report });
      }
    });
  }

  /** What was promised for the end, when all has been well for a while. */
  atEnd(): string | undefined {
    const lost = this.intents.lost();
    return lost ?? (this.agreed.hasJumped ? undefined : this.agreed.jobs.missedDueTime());
  }

  #keepLooking(): void {
    this.#ring.queue.after(lookMs, () => {
      this.sightings.look();
      this.agreed.look();
      this.#engines.look();
      this.intents.look();
      for (const { id, daemon } of this.#ring.hosts) {
        const [warning] = daemon?.warnings() ?? [];
        if (warning !== undefined) this.#ring.violated(`${id} warns: ${warning}`);
      }
      this.#keepLooking();
    });
  }

  /** Within one life of its node, no task's status goes back. */
  #checkReport(by: NodeId, before: NodeReport, report: NodeReport): void {
    const known = new Map(before.tasks.map((status) => [status.taskId, status]));
    for (const status of report.tasks) {
      const old = known.get(status.taskId);
      if (old === undefined || !isBack(old, status)) continue;
      this.#ring.violated(
        `${by} hears of ${report.nodeId} that ${status.taskId} is ${status.phase} ` +
          `(${status.restarts}) after ${old.phase} (${old.restarts})`,
      );
    }
  }
}

function isBack(old: TaskStatus, status: TaskStatus): boolean {
  if (isFinal(old)) return status.phase !== old.phase;
  if (status.restarts !== old.restarts) return status.restarts < old.restarts;
  return phaseOrder[status.phase] < phaseOrder[old.phase];
}
