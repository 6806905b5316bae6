import {
  Cell,
  type Clock,
  codeOf,
  type Logger,
  messageOf,
  type NodeId,
  type Random,
  type ReadableCell,
  randomBelow,
} from "../kernel/index.ts";
import type { PeerNetwork } from "../network/index.ts";
import { FailureDetector } from "./failure-detector.ts";
import {
  type Claim,
  isPlausible,
  type MemberEntry,
  type MemberStatus,
  MemberTable,
  strongest,
} from "./member-table.ts";
import {
  decodeIndirect,
  decodeMessage,
  decodePing,
  decodeSync,
  encode,
  type GossipMessage,
  maxRecordBytes,
  type Sync,
} from "./message.ts";
import { OwnRecordId } from "./own-record-id.ts";
import type { GossipTiming } from "./presets.ts";
import { isNewer, type RecordId, RecordTable, type StateRecord } from "./record-table.ts";

const pingProtocol = "/skein/ping/1";
const indirectProtocol = "/skein/indirect-ping/1";
const syncProtocol = "/skein/sync/1";
const memberTopic = "skein/members/1";
const stateTopic = "skein/state/1";

/** A message with a larger record would be over what gossip carries; it is fetched instead. */
const maxPublishedRecordBytes = 15 * 1024;
/** A request holds 1 MiB; the rest of a large difference follows with the next exchange. */
const maxSyncBytes = 768 * 1024;
const syncTimeoutMs = 5_000;

export type GossipOptions = {
  readonly network: PeerNetwork;
  /** Who belongs to the cluster; others' claims and records are not kept. */
  readonly admitted: ReadableCell<ReadonlySet<NodeId>>;
  /** This node's incarnation on disk: a lower one than before would be ignored by all. */
  readonly incarnation: { load(): number; save(value: number): void };
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly timing: GossipTiming;
};

export type KnownMember = { readonly status: MemberStatus; readonly sinceMs: number };

/** Who is alive, and what each member says of itself. */
export interface Gossip extends AsyncDisposable {
  /** All members, this node included. */
  readonly members: ReadableCell<ReadonlyMap<NodeId, KnownMember>>;
  /** The newest record of each member, this node's own included. */
  readonly records: ReadableCell<ReadonlyMap<NodeId, StateRecord>>;
  /**
   * Replaces this node's own record; changes in quick succession travel as one. A body that is
   * too large is logged and not taken: the record before it stays.
   */
  publish(body: Uint8Array): void;
  /** Says goodbye: the others need not find out. */
  leave(): Promise<void>;
}

/** Starts failure detection and the exchange of records with the other members. */
export async function startGossip(options: GossipOptions): Promise<Gossip> {
  const { incarnation } = options;
  // Above everything that was used before, and on disk before it is used.
  const first = incarnation.load() + 1;
  incarnation.save(first);
  return new RunningGossip(options, first);
}

class RunningGossip implements Gossip {
  readonly #options: GossipOptions;
  readonly #table: MemberTable;
  readonly #recordTable = new RecordTable();
  readonly #members = new Cell<ReadonlyMap<NodeId, KnownMember>>(new Map());
  readonly #records = new Cell<ReadonlyMap<NodeId, StateRecord>>(new Map());
  readonly #ownRecordId: OwnRecordId;
  readonly #stopping = new AbortController();
  readonly #loops: readonly Promise<void>[];
  readonly #detector: FailureDetector;
  #isPublishDue = false;
  #isIsolated = false;
  #undo: readonly (() => void)[] = [];
  #linked: ReadonlySet<NodeId> = new Set();
  /** Exchanges under way, and whether another has been asked for since. */
  readonly #syncing = new Map<NodeId, { isWantedAgain: boolean }>();
  /** When each member's status began, as people read time; `atMs` is the table's own time. */
  #since: ReadonlyMap<NodeId, { readonly atMs: number; readonly wallMs: number }> = new Map();

  constructor(options: GossipOptions, incarnation: number) {
    const { network, clock, timing } = options;
    this.#options = options;
    this.#ownRecordId = new OwnRecordId(network.self, incarnation);
    this.#table = new MemberTable({
      self: network.self,
      incarnation,
      nowMs: clock.monotonic(),
      saveIncarnation: (value) => options.incarnation.save(value),
    });
    this.#detector = new FailureDetector({
      self: network.self,
      timing,
      clock,
      random: options.random,
      members: () => this.#table.entries(),
      ping: (node, signal) => this.#ping(node, signal),
      indirectPing: (helper, target, signal) => this.#indirectPing(helper, target, signal),
      onSilent: (node) => this.#tell(this.#table.suspect(node, network.self, clock.monotonic())),
      onIsolated: (isIsolated) => {
        this.#isIsolated = isIsolated;
        this.#update();
      },
      onTick: () => this.#expire(),
    });
    this.#serve();
    this.#admit();
    this.#undo = [
      options.admitted.subscribe(() => this.#admit()),
      network.connected.subscribe(() => this.#onConnected()),
    ];
    this.#onConnected();
    this.#tell({ nodeId: network.self, status: "alive", incarnation });
    this.#loops = [this.#detector.run(this.#stopping.signal), this.#syncLoop()];
  }

  get members(): ReadableCell<ReadonlyMap<NodeId, KnownMember>> {
    return this.#members;
  }

  get records(): ReadableCell<ReadonlyMap<NodeId, StateRecord>> {
    return this.#records;
  }

  publish(body: Uint8Array): void {
    if (body.length > maxRecordBytes) {
      const sizes = { bytes: body.length, maxBytes: maxRecordBytes };
      this.#options.logger.error(sizes, "record too large, the one before it stays");
      return;
    }
    this.#recordTable.put({ ...this.#ownRecordId.next(), body });
    this.#update();
    if (this.#isPublishDue) return;
    this.#isPublishDue = true;
    const send = () => {
      this.#isPublishDue = false;
      this.#sendOwnRecord();
    };
    const { clock, timing } = this.#options;
    clock.sleep(timing.coalesceMs, { signal: this.#stopping.signal }).then(send, () => undefined);
  }

  async leave(): Promise<void> {
    const claim = this.#table.leave(this.#options.clock.monotonic());
    this.#update();
    const message = encode({ kind: "claims", claims: [claim] });
    await this.#options.network.publish(memberTopic, message).catch(() => undefined);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const undo of this.#undo) undo();
    this.#stopping.abort(new Error("gossip stops"));
    await Promise.all(this.#loops);
  }

  #serve(): void {
    const { network } = this.#options;
    network.handle(pingProtocol, async (from, body) => {
      const { incarnation, about } = decodePing(body);
      this.#hear(about === undefined ? [] : [about], from);
      this.#heardFrom(from, incarnation);
      return encode({ incarnation: this.#table.incarnation });
    });
    network.handle(indirectProtocol, async (_, body, { signal }) => {
      const { target } = decodeIndirect(body);
      // Shorter than the asker's patience: a "no" in time is what confirms a failure.
      const { helperPingTimeoutMs } = this.#options.timing;
      const bounded = AbortSignal.any([signal, this.#timeout(helperPingTimeoutMs, signal)]);
      await this.#ping(target, bounded);
      return new Uint8Array();
    });
    network.handle(syncProtocol, async (from, body) => {
      const theirs = decodeSync(body);
      this.#takeIn(theirs, from);
      return encode(this.#syncFor(theirs.digest));
    });
    network.subscribe(memberTopic, (from, body) => this.#onMessage(from, body));
    network.subscribe(stateTopic, (from, body) => this.#onMessage(from, body));
  }

  #onMessage(from: NodeId, body: Uint8Array): void {
    const message = decodeMessage(body);
    if (message === undefined) return;
    switch (message.kind) {
      case "claims":
        this.#hear(message.claims, from);
        break;
      case "record":
        // Only the owner itself may publish its record.
        if (message.record.owner === from) this.#takeRecords([message.record], from);
        break;
      case "announce":
        this.#fetch(from, message.id);
        break;
    }
  }

  #fetch(from: NodeId, id: RecordId): void {
    if (id.owner !== from || !isNewer(id, this.#recordTable.records.get(from))) return;
    this.#syncInBackground(from);
  }

  /** @throws when the member does not answer in time. */
  async #ping(node: NodeId, signal: AbortSignal): Promise<void> {
    const { network, timing } = this.#options;
    const bounded = AbortSignal.any([signal, this.#timeout(timing.pingTimeoutMs, signal)]);
    const known = this.#table.get(node);
    const about = known?.status === "alive" ? undefined : known;
    const body = encode({
      incarnation: this.#table.incarnation,
      ...(about === undefined ? {} : { about: claimOf(about) }),
    });
    const reply = await network.request(node, pingProtocol, body, { signal: bounded });
    this.#heardFrom(node, decodePing(reply).incarnation);
  }

  /** Whether `helper` reached `target`; undefined when the helper itself did not answer. */
  async #indirectPing(
    helper: NodeId,
    target: NodeId,
    signal: AbortSignal,
  ): Promise<boolean | undefined> {
    const { network, timing } = this.#options;
    const bounded = AbortSignal.any([signal, this.#timeout(timing.indirectTimeoutMs, signal)]);
    try {
      await network.request(helper, indirectProtocol, encode({ target }), { signal: bounded });
      return true;
    } catch (error) {
      return codeOf(error) === "refused" ? false : undefined;
    }
  }

  /** Like AbortSignal.timeout, by the injected clock. */
  #timeout(ms: number, signal: AbortSignal): AbortSignal {
    const controller = new AbortController();
    const either = AbortSignal.any([signal, this.#stopping.signal]);
    const expire = () => controller.abort(new Error(`no answer within ${ms} ms`));
    this.#options.clock.sleep(ms, { signal: either }).then(expire, () => undefined);
    return controller.signal;
  }

  #heardFrom(node: NodeId, incarnation: number): void {
    if (!this.#options.admitted.get().has(node)) return;
    this.#detector.heardFrom(node);
    this.#table.heardFrom(node, incarnation, this.#options.clock.monotonic());
    this.#update();
  }

  #hear(claims: readonly Claim[], from: NodeId): void {
    const { clock, logger, network } = this.#options;
    const credible = claims.filter(({ nodeId, incarnation }) =>
      this.#isCredible({ about: nodeId, from, incarnation }),
    );
    for (const claim of strongest(credible)) {
      if (claim.status === "suspect" && claim.nodeId !== network.self) {
        this.#table.suspect(claim.nodeId, from, clock.monotonic(), claim.incarnation);
        continue;
      }
      const answer = this.#table.hear(claim, clock.monotonic());
      // News from a topic has reached the others the same way; only an objection is to be told.
      if (claim.nodeId === network.self && answer !== undefined) {
        logger.info({ by: from, incarnation: answer.incarnation }, "refuting a suspicion");
        this.#tell(answer);
      }
    }
    this.#update();
  }

  #isCredible(said: {
    readonly about: NodeId;
    readonly from: NodeId;
    readonly incarnation: number;
  }): boolean {
    if (!this.#options.admitted.get().has(said.about)) return false;
    return isPlausible(said, this.#table.get(said.about)?.incarnation ?? 0);
  }

  #expire(): void {
    const { clock, timing } = this.#options;
    const bounds = { minMs: timing.suspicionMinMs, maxMs: timing.suspicionMaxMs };
    for (const claim of this.#table.expire(clock.monotonic(), bounds)) this.#tell(claim);
  }

  #tell(claim: Claim | undefined): void {
    if (claim === undefined) return;
    this.#update();
    this.#send(memberTopic, { kind: "claims", claims: [claim] });
  }

  #sendOwnRecord(): void {
    const record = this.#recordTable.records.get(this.#options.network.self);
    if (record === undefined) return;
    const { body, ...id } = record;
    const isSmall = body.length <= maxPublishedRecordBytes;
    this.#send(stateTopic, isSmall ? { kind: "record", record } : { kind: "announce", id });
  }

  #send(topic: string, message: GossipMessage): void {
    const { network, logger } = this.#options;
    // What gets lost is caught up by the next exchange of digests.
    network.publish(topic, encode(message)).catch((error: unknown) => {
      logger.debug({ topic, error: messageOf(error) }, "not published");
    });
  }

  #admit(): void {
    const { admitted, clock, network } = this.#options;
    const members = admitted.get();
    this.#table.keepOnly(members);
    this.#recordTable.keepOnly(new Set([...members, network.self]));
    for (const node of members) {
      // Of a member that was never heard nothing is known: no work and no traffic until it is.
      if (this.#table.get(node) !== undefined) continue;
      this.#table.suspect(node, network.self, clock.monotonic());
    }
    this.#update();
  }

  #onConnected(): void {
    const linked = this.#options.network.connected.get();
    for (const node of linked) if (!this.#linked.has(node)) this.#syncInBackground(node);
    this.#linked = linked;
  }

  /** One exchange with each member at a time; however often it is asked for, one more follows. */
  #syncInBackground(node: NodeId): void {
    const underWay = this.#syncing.get(node);
    if (underWay !== undefined) {
      underWay.isWantedAgain = true;
      return;
    }
    const syncing = { isWantedAgain: false };
    this.#syncing.set(node, syncing);
    this.#sync(node)
      .catch((error: unknown) => {
        if (this.#stopping.signal.aborted) return;
        this.#options.logger.debug({ node, error: messageOf(error) }, "no exchange");
      })
      .finally(() => {
        this.#syncing.delete(node);
        const isDue = syncing.isWantedAgain && !this.#stopping.signal.aborted;
        if (isDue) this.#syncInBackground(node);
      })
      .catch(() => undefined);
  }

  /** Both sides end up with the newer of each record and claim. */
  async #sync(node: NodeId): Promise<void> {
    const { network } = this.#options;
    const { signal } = this.#stopping;
    const bounded = AbortSignal.any([signal, this.#timeout(syncTimeoutMs, signal)]);
    const ask = async (what: Sync) =>
      decodeSync(await network.request(node, syncProtocol, encode(what), { signal: bounded }));
    const theirs = await ask({ ...this.#syncFor([]), records: [] });
    this.#takeIn(theirs, node);
    const lacking = this.#syncFor(theirs.digest);
    if (lacking.records.length > 0) await ask(lacking);
  }

  #syncFor(digest: readonly RecordId[]): Sync {
    const records: StateRecord[] = [];
    let bytes = 0;
    for (const record of this.#recordTable.newerThan(digest)) {
      bytes += record.body.length;
      if (bytes > maxSyncBytes) break;
      records.push(record);
    }
    return {
      claims: this.#table.entries().map(claimOf),
      digest: this.#recordTable.digest(),
      records,
    };
  }

  #takeIn({ claims, digest, records }: Sync, from: NodeId): void {
    // Only a member's own suspicion counts as a confirmation; what it passes on does not.
    this.#hear(
      claims.filter(({ status, nodeId }) => status !== "suspect" || nodeId === this.#table.self),
      from,
    );
    this.#goAbove([...digest, ...records]);
    this.#takeRecords(records, from);
  }

  /** Whoever holds a record of this node that it did not write would ignore what it writes now. */
  #goAbove(held: readonly RecordId[]): void {
    const { self } = this.#options.network;
    let isOvertaken = false;
    for (const id of held) {
      if (id.owner !== self) continue;
      const said = { about: self, from: undefined, incarnation: id.epoch };
      if (!isPlausible(said, this.#table.incarnation)) continue;
      isOvertaken = this.#ownRecordId.passOver(id) || isOvertaken;
    }
    const own = this.#recordTable.records.get(self);
    if (isOvertaken && own !== undefined) this.publish(own.body);
  }

  #takeRecords(records: readonly StateRecord[], from: NodeId): void {
    const { self } = this.#options.network;
    for (const record of records) {
      // Nobody knows this node better than itself, not even its own past.
      if (record.owner === self) continue;
      const said = { about: record.owner, from, incarnation: record.epoch };
      if (this.#isCredible(said)) this.#recordTable.put(record);
    }
    this.#update();
  }

  async #syncLoop(): Promise<void> {
    const { clock, random, timing, network } = this.#options;
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      const jitter = 0.75 + random.next() / 2;
      await clock.sleep(timing.syncIntervalMs * jitter, { signal }).catch(() => undefined);
      const peers = [...network.connected.get()].sort();
      const peer = peers[randomBelow(random, Math.max(1, peers.length))];
      if (peer !== undefined && !signal.aborted) this.#syncInBackground(peer);
    }
  }

  #update(): void {
    const before = this.#members.get();
    const entries = this.#table.entries();
    const since = new Map(entries.map((entry) => [entry.nodeId, this.#wallTimeOf(entry)]));
    this.#since = since;
    const members = new Map(
      entries.map(({ nodeId, status, sinceMs: atMs }) => {
        // Nobody is blamed for it, but what cannot be reached is no place to send requests to.
        const isOutOfReach = this.#isIsolated && status === "alive" && nodeId !== this.#table.self;
        const sinceMs = since.get(nodeId)?.wallMs ?? atMs;
        return [nodeId, { status: isOutOfReach ? "suspect" : status, sinceMs }];
      }),
    );
    const isSame =
      members.size === before.size &&
      [...members].every(([node, { status, sinceMs }]) => {
        const known = before.get(node);
        return known?.status === status && known.sinceMs === sinceMs;
      });
    if (!isSame) {
      this.#onChanges(before, members);
      this.#members.set(members);
    }
    this.#records.set(this.#recordTable.records);
  }

  /** Fixed once for each change: the wall clock may jump later. */
  #wallTimeOf(entry: MemberEntry): { readonly atMs: number; readonly wallMs: number } {
    const known = this.#since.get(entry.nodeId);
    if (known?.atMs === entry.sinceMs) return known;
    const { clock } = this.#options;
    const wallMs = Math.round(clock.now() - (clock.monotonic() - entry.sinceMs));
    return { atMs: entry.sinceMs, wallMs };
  }

  #onChanges(
    before: ReadonlyMap<NodeId, KnownMember>,
    after: ReadonlyMap<NodeId, KnownMember>,
  ): void {
    for (const [member, { status }] of after) {
      const was = before.get(member)?.status;
      if (was === status) continue;
      this.#options.logger.info({ member, status, was }, "member changed");
      if (status === "failed") this.#options.network.drop(member);
    }
  }
}

function claimOf({ nodeId, status, incarnation }: Claim): Claim {
  return { nodeId, status, incarnation };
}
