import { Cell, messageOf, type NodeId, type ReadableCell } from "../kernel/index.ts";
import { FailureDetector } from "./failure-detector.ts";
import type { Gossip, GossipOptions } from "./gossip.ts";
import { type Claim, claimOf, isPlausible, MemberTable, strongest } from "./member-table.ts";
import { type KnownMember, MemberView } from "./member-view.ts";
import { decodeMessage, encode, type GossipMessage, maxRecordBytes, type Sync } from "./message.ts";
import { OwnRecordId } from "./own-record-id.ts";
import { Prober } from "./prober.ts";
import { RecordExchange } from "./record-exchange.ts";
import {
  isNewer,
  newestOf,
  type RecordId,
  RecordTable,
  type StateRecord,
  signedBytes,
} from "./record-table.ts";

const memberTopic = "skein/members/1";
const stateTopic = "skein/state/1";

/** A message with a larger record would be over what gossip carries; it is fetched instead. */
const maxPublishedRecordBytes = 15 * 1024;
/** Newcomers that are asked for what they are, at once; of more at a time others tell. */
const maxGreeted = 8;
/** A request holds 1 MiB; the rest of a large difference follows with the next exchange. */
const maxSyncBytes = 768 * 1024;

const twinProblem = "something was said in this node's name that it does not know of";
const twinRemedy =
  "If its data directory was copied, stop one of the two daemons: a node that votes twice can end in two truths.";

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
  /** Members who handed on what its owner did not write. Said once of each. */
  readonly #forgers = new Set<NodeId>();
  /** Members that failed, and are asked once more before what is open to them is closed. */
  readonly #lastTried = new Set<NodeId>();
  #hasTwin = false;
  readonly #stopping = new AbortController();
  readonly #loops: readonly Promise<void>[];
  readonly #detector: FailureDetector;
  #isPublishDue = false;
  #sentAtMs = Number.NEGATIVE_INFINITY;
  #isIsolated = false;
  #isStarted = false;
  #shown: { readonly revision: number; readonly isIsolated: boolean } | undefined;
  #undo: readonly (() => void)[] = [];
  readonly #view: MemberView;
  readonly #prober: Prober;
  readonly #exchange: RecordExchange;

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
    this.#view = new MemberView(network.self, clock);
    const { signal } = this.#stopping;
    this.#prober = new Prober({
      network,
      clock,
      timing,
      incarnation: () => this.#table.incarnation,
      known: (node) => this.#table.get(node),
      onAsked: (about, from) => {
        if (this.#isAdmitted(from)) this.#hear([about], from);
      },
      onHeard: (node, of) => this.#heardFrom(node, of),
      onBroken: (node) => this.#detector.brokeOff(node),
      signal,
    });
    this.#exchange = new RecordExchange({
      ...options,
      offer: (digest) => this.#syncFor(digest),
      takeIn: (theirs, from) => this.#takeIn(theirs, from),
      signal,
    });
    this.#detector = new FailureDetector({
      self: network.self,
      timing,
      clock,
      random: options.random,
      members: () => this.#table.entries(),
      ping: (node, until) => this.#prober.ping(node, until),
      indirectPing: (helper, target, until) => this.#prober.indirectPing(helper, target, until),
      onSilent: (node, isGone) => {
        this.#tell(this.#table.suspect(node, network.self, clock.monotonic(), { isGone }));
      },
      onIsolated: (isIsolated) => {
        this.#isIsolated = isIsolated;
        this.#update();
      },
      onReleased: (node) => this.#prober.release(node),
      onTick: (options) => this.#expire(options),
    });
    network.subscribe(memberTopic, (from, body) => this.#onMessage(from, body));
    network.subscribe(stateTopic, (from, body) => this.#onMessage(from, body));
    this.#admit();
    this.#isStarted = true;
    this.#undo = [
      options.admitted.subscribe(() => this.#admit()),
      network.connected.subscribe(() => this.#exchange.meet(network.connected.get())),
    ];
    this.#exchange.meet(network.connected.get());
    this.#tell({ nodeId: network.self, status: "alive", incarnation });
    this.#loops = [this.#detector.run(signal), this.#exchange.run()];
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
    const unsigned = { ...this.#ownRecordId.next(), body };
    const signature = this.#options.signer.sign(signedBytes(unsigned));
    this.#recordTable.put({ ...unsigned, signature });
    this.#update();
    if (this.#isPublishDue) return;
    this.#isPublishDue = true;
    const { clock, timing } = this.#options;
    const send = () => {
      this.#isPublishDue = false;
      this.#sentAtMs = clock.monotonic();
      this.#sendOwnRecord();
    };
    // The first change goes at once; those that follow it closely go together.
    const waitMs = this.#sentAtMs + timing.coalesceMs - clock.monotonic();
    if (waitMs <= 0) send();
    else clock.sleep(waitMs, { signal: this.#stopping.signal }).then(send, () => undefined);
  }

  warnings(): readonly string[] {
    return this.#hasTwin ? [`${twinProblem}. ${twinRemedy}`] : [];
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

  #onMessage(from: NodeId, body: Uint8Array): void {
    const message = decodeMessage(body);
    if (message === undefined || !this.#isAdmitted(from)) return;
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
    this.#exchange.begin(from);
  }

  #heardFrom(node: NodeId, incarnation: number): void {
    if (!this.#isAdmitted(node)) return;
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
        const { incarnation } = claim;
        this.#table.suspect(claim.nodeId, from, clock.monotonic(), { incarnation });
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
    if (!this.#isAdmitted(said.about)) return false;
    return isPlausible(said, this.#table.get(said.about)?.incarnation ?? 0);
  }

  #expire({ isGoneOnly }: { readonly isGoneOnly: boolean }): void {
    const { clock, timing } = this.#options;
    const bounds = {
      minMs: timing.suspicionMinMs,
      maxMs: timing.suspicionMaxMs,
      goneMs: timing.suspicionGoneMs,
      isGoneOnly,
    };
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
    const { owner, epoch, version, body } = record;
    const isSmall = body.length <= maxPublishedRecordBytes;
    const id = { owner, epoch, version };
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
    this.#table.acquit(clock.monotonic());
    this.#recordTable.keepOnly(new Set([...members, network.self]));
    const newcomers = [...members].filter((node) => this.#table.get(node) === undefined);
    for (const node of newcomers) {
      // Of a member that was never heard nothing is known: no work and no traffic until it is.
      this.#table.suspect(node, network.self, clock.monotonic());
    }
    this.#update();
    if (!this.#isStarted) return;
    // What a newcomer said of itself came before it was known here that it may.
    for (const node of newcomers.slice(0, maxGreeted)) this.#exchange.begin(node);
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

  #isAdmitted(node: NodeId): boolean {
    return this.#options.admitted.get().has(node);
  }

  #takeIn({ claims, digest, records }: Sync, from: NodeId): void {
    // A removed member that goes on, or one that is not known here yet: its word counts for nothing.
    if (!this.#isAdmitted(from)) return;
    // Only a member's own suspicion counts as a confirmation; what it passes on does not.
    this.#hear(
      claims.filter(({ status, nodeId }) => status !== "suspect" || nodeId === this.#table.self),
      from,
    );
    this.#lookForTwin(records);
    this.#goAbove([...digest, ...records]);
    this.#takeRecords(records, from);
  }

  /** Only this node's key signs its records, so that a newer one than its own tells of a copy. */
  #lookForTwin(records: readonly StateRecord[]): void {
    const { network, signer, logger } = this.#options;
    const { self } = network;
    const own = this.#recordTable.records.get(self);
    if (this.#hasTwin || own === undefined) return;
    const [record] = newestOf(records.filter(({ owner }) => owner === self));
    if (record === undefined || !isNewer(record, own)) return;
    if (!signer.verify(self, signedBytes(record), record.signature)) return;
    this.#hasTwin = true;
    logger.error({ remedy: twinRemedy }, twinProblem);
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
    const { network, signer, logger } = this.#options;
    // One of each owner, so that a long list of forgeries costs no more than a short one.
    for (const record of newestOf(records)) {
      const { owner, epoch } = record;
      // Nobody knows this node better than itself, not even its own past.
      if (owner === network.self) continue;
      if (!this.#isCredible({ about: owner, from, incarnation: epoch })) continue;
      if (!isNewer(record, this.#recordTable.records.get(owner))) continue;
      if (signer.verify(owner, signedBytes(record), record.signature)) {
        this.#recordTable.put(record);
      } else if (!this.#forgers.has(from)) {
        this.#forgers.add(from);
        logger.warn({ from, owner }, "record refused: its owner has not signed it");
      }
    }
    this.#update();
  }

  /** Shows what has changed. Most of what is heard changes nothing, and must cost nothing. */
  #update(): void {
    const { revision } = this.#table;
    const isIsolated = this.#isIsolated;
    if (this.#shown?.revision !== revision || this.#shown.isIsolated !== isIsolated) {
      this.#shown = { revision, isIsolated };
      const changes = this.#view.show(this.#table.entries(), isIsolated);
      for (const change of changes) {
        this.#options.logger.info(change, "member changed");
        if (change.status === "failed") this.#dropIfSilent(change.member);
      }
      this.#members.set(this.#view.members);
    }
    this.#records.set(this.#recordTable.records);
  }

  /**
   * A connection to a member that failed is in the way when it returns. But others may be wrong,
   * or lie, about one that answers: what is open to it stays.
   */
  #dropIfSilent(member: NodeId): void {
    const { network, timing } = this.#options;
    if (this.#lastTried.has(member) || !network.connected.get().has(member)) return;
    this.#lastTried.add(member);
    const { signal } = this.#stopping;
    this.#prober
      .askOnce(member, { atMostMs: timing.pingTimeoutMs, signal })
      .catch(() => {
        const isFailed = this.#table.get(member)?.status === "failed";
        if (isFailed && !signal.aborted) network.drop(member);
      })
      .finally(() => this.#lastTried.delete(member));
  }
}
