import type { NodeId } from "../kernel/index.ts";

/** What a member says of itself, opaque to gossip. Newer `(epoch, version)` wins, never a clock. */
export type StateRecord = {
  readonly owner: NodeId;
  /** The owner's incarnation at its start. */
  readonly epoch: number;
  readonly version: number;
  readonly body: Uint8Array;
};

export type RecordId = Omit<StateRecord, "body">;

export function isNewer(a: RecordId, b: RecordId | undefined): boolean {
  if (b === undefined) return true;
  return a.epoch === b.epoch ? a.version > b.version : a.epoch > b.epoch;
}

/** The newest record of each owner. */
export class RecordTable {
  #records: ReadonlyMap<NodeId, StateRecord> = new Map();
  #owners: ReadonlySet<NodeId> | undefined;

  get records(): ReadonlyMap<NodeId, StateRecord> {
    return this.#records;
  }

  /** Whether the record was news. */
  put(record: StateRecord): boolean {
    if (this.#owners?.has(record.owner) === false) return false;
    if (!isNewer(record, this.#records.get(record.owner))) return false;
    this.#records = new Map(this.#records).set(record.owner, record);
    return true;
  }

  /** Drops the records of all others, and takes in none of theirs from now on. */
  keepOnly(owners: ReadonlySet<NodeId>): boolean {
    this.#owners = owners;
    const kept = new Map([...this.#records].filter(([owner]) => owners.has(owner)));
    if (kept.size === this.#records.size) return false;
    this.#records = kept;
    return true;
  }

  digest(): readonly RecordId[] {
    return [...this.#records.values()].map(({ owner, epoch, version }) => ({
      owner,
      epoch,
      version,
    }));
  }

  /** What somebody with this digest lacks. */
  newerThan(digest: readonly RecordId[]): readonly StateRecord[] {
    const known = new Map(digest.map((id) => [id.owner, id]));
    return [...this.#records.values()].filter((record) => isNewer(record, known.get(record.owner)));
  }
}
