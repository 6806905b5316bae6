import type { Observations } from "../cluster/index.ts";
import type { NodeId } from "../kernel/index.ts";

/**
 * For how long a leader has not had a sign of life of nodes that are suspect or given up, by
 * the monotonic clock and since it looked. The next leader begins anew.
 */
export class SilenceWatch {
  readonly #sinceMs = new Map<NodeId, number>();

  /** Ages in ms; call it for every change of what is observed. */
  ages({ members }: Observations, monotonicMs: number): ReadonlyMap<NodeId, number> {
    const ages = new Map<NodeId, number>();
    for (const [id, { status }] of members) {
      if (status !== "suspect" && status !== "failed") continue;
      const sinceMs = this.#sinceMs.get(id) ?? monotonicMs;
      this.#sinceMs.set(id, sinceMs);
      ages.set(id, monotonicMs - sinceMs);
    }
    for (const id of this.#sinceMs.keys()) if (!ages.has(id)) this.#sinceMs.delete(id);
    return ages;
  }

  forget(): void {
    this.#sinceMs.clear();
  }
}
