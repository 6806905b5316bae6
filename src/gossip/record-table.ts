import type { NodeId } from "../kernel/index.ts";

/** What a member says of itself, opaque to gossip. Newer `(epoch, version)` wins, never a clock. */
export type StateRecord = {
  readonly owner: NodeId;
  /** The owner's incarnation at its start. */
  readonly epoch: number;
  readonly version: number;
  readonly body: Uint8Array;
  /** The owner's, of all of the above: whoever hands it on can change none of it. */
  readonly signature: Uint8Array;
};

export type RecordId = Omit<StateRecord, "body" | "signature">;

/** What the owner of a record signs. The first line keeps it apart from all else that it signs. */
export function signedBytes({ owner, epoch, version, body }: Omit<StateRecord, "signature">) {
  return Buffer.concat([Buffer.from(`skein-record 1\n${owner}\n${epoch}\n${version}\n`), body]);
}

export function isNewer(a: RecordId, b: RecordId | undefined): boolean {
  if (b === undefined) return true;
  return a.epoch === b.epoch ? a.version > b.version : a.epoch > b.epoch;
}

/** The newest of each owner's. */
export function newestOf(records: readonly StateRecord[]): readonly StateRecord[] {
  const newest = new Map<NodeId, StateRecord>();
  for (const record of records) {
    if (isNewer(record, newest.get(record.owner))) newest.set(record.owner, record);
  }
  return [...newest.values()];
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
