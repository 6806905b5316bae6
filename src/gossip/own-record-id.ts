import type { NodeId } from "../kernel/index.ts";
import { isNewer, type RecordId } from "./record-table.ts";

/**
 * Numbers this node's own records, above whatever anybody holds of it. That may be more than
 * this life has written: its incarnation may be lost with a disk, or another member lies.
 */
export class OwnRecordId {
  #id: RecordId;

  constructor(owner: NodeId, epoch: number) {
    this.#id = { owner, epoch, version: 0 };
  }

  next(): RecordId {
    const { owner, epoch, version } = this.#id;
    const isUsedUp = version >= Number.MAX_SAFE_INTEGER;
    this.#id = isUsedUp
      ? { owner, epoch: epoch + 1, version: 1 }
      : { owner, epoch, version: version + 1 };
    return this.#id;
  }

  /** Takes note of an id that somebody holds. Whether it is above all that was given out. */
  passOver({ epoch, version }: RecordId): boolean {
    const held = { owner: this.#id.owner, epoch, version };
    if (!isNewer(held, this.#id)) return false;
    this.#id = held;
    return true;
  }
}
