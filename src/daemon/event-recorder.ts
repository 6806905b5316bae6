import type { AppliedEntry, ClusterState, LogStatus, TaskStatus } from "../cluster/index.ts";
import {
  aboutTask,
  agreedEvents,
  defaultJournalLimits,
  type EventDraft,
  logStatusEvents,
  type MemberBelief,
  MemberWatch,
  nodeNameIn,
  nodeObject,
  PendingWatch,
  quorumEvent,
  taskStatusEvents,
} from "../events/index.ts";
import type { EventJournal } from "../events/io/event-journal.ts";
import type { Clock, NodeId, ReadableCell } from "../kernel/index.ts";
import type { Explanations } from "../scheduler/index.ts";

type RecorderOptions = {
  readonly self: NodeId;
  /** This node's own name, for as long as what was agreed of it has not arrived. */
  readonly name: string;
  readonly version: string;
  readonly journal: EventJournal;
  readonly state: ReadableCell<ClusterState>;
  readonly clock: Clock;
};

/** What of this node is watched for what it sees. */
type Watched = {
  readonly statuses: ReadableCell<readonly TaskStatus[]>;
  readonly members: ReadableCell<ReadonlyMap<NodeId, MemberBelief>>;
  readonly log: ReadableCell<LogStatus>;
  readonly explanations: ReadableCell<Explanations>;
};

/** A quorum that is away for a moment, while another leader is elected, is not lost. */
const quorumPatienceMs = 3_000;
/** A daemon that starts has none until it has found the others. */
const startPatienceMs = 15_000;

/** Writes down what is agreed, as it is applied here, and what this node sees. */
export class EventRecorder {
  readonly journal: EventJournal;
  readonly #options: RecorderOptions;

  constructor(options: RecorderOptions) {
    this.#options = options;
    this.journal = options.journal;
  }

  /** For what shows neither in the agreed state nor in what {@link watch} looks at. */
  note(...drafts: readonly EventDraft[]): void {
    this.journal.observe(drafts, { index: this.#options.state.get().index });
  }

  applied({ before, after, command, atMs }: AppliedEntry): void {
    // After a restart the log is gone through again from the last snapshot on.
    if (after.index <= this.journal.lastIndex) return;
    const now = this.#options.clock.now();
    const timeMs = atMs ?? ("nowMs" in command ? command.nowMs : now);
    // A new node goes through the log from long ago: what would go again at once is not kept.
    if (timeMs < now - defaultJournalLimits.keepMs) return;
    this.journal.record(agreedEvents({ before, after, command }, { timeMs }));
  }

  restored(_before: ClusterState, after: ClusterState): void {
    this.journal.leap(after.index);
  }

  snapshotTaken(index: number): void {
    this.journal.mark(index);
  }

  /** Tells of everything that changes from now on. Returns the undo. */
  watch({ statuses, members, log, explanations }: Watched): () => void {
    const stops = [
      this.#watchTasks(statuses),
      this.#watchMembers(members, log),
      this.#watchLog(log),
      this.#watchQuorum(log),
      this.#watchPending(explanations),
    ];
    const { self, version } = this.#options;
    const state = this.#known();
    const node = nodeNameIn(state, self);
    const message = `Skein ${version} has started on ${node}.`;
    this.note({ reason: "DaemonStarted", object: nodeObject(state, self), node, message });
    return () => {
      for (const stop of stops) stop();
    };
  }

  /** What was agreed, and this node's own name in any case. */
  #known(): ClusterState {
    const { self, name, state } = this.#options;
    const agreed = state.get();
    if (agreed.nodes.has(self)) return agreed;
    const own = { id: self, name, address: "", labels: {}, admittedAtMs: 0 };
    const nodes = new Map(agreed.nodes).set(self, { ...own, eligibility: "active" });
    return { ...agreed, nodes };
  }

  #watchTasks(statuses: ReadableCell<readonly TaskStatus[]>): () => void {
    const { self, clock } = this.#options;
    const startedAtMs = clock.now();
    let before: readonly TaskStatus[] = [];
    const look = () => {
      const after = statuses.get();
      const state = this.#known();
      const node = nodeNameIn(state, self);
      const about = (id: TaskStatus["taskId"]) => ({ ...aboutTask(state, id), node });
      this.note(...taskStatusEvents(before, after, about, { startedAtMs }));
      before = after;
    };
    look();
    return statuses.subscribe(look);
  }

  #watchMembers(members: Watched["members"], log: ReadableCell<LogStatus>): () => void {
    const { self } = this.#options;
    const watch = new MemberWatch(self, members.get());
    return members.subscribe(() => {
      const drafts = watch.changes(members.get(), this.#known());
      const { voters, hasQuorum } = log.get();
      // A few tell what all see; those that hear of no voter tell for themselves.
      const isTeller = voters.includes(self) || !hasQuorum;
      this.note(...drafts.filter(({ key }) => isTeller || key === undefined));
    });
  }

  #watchLog(log: ReadableCell<LogStatus>): () => void {
    const { self } = this.#options;
    let before: LogStatus | undefined;
    const look = () => {
      const after = log.get();
      // Between two leaders nobody leads: that alone is not worth an event.
      if (after.leader === undefined) return;
      const { voters } = after;
      // Who led already when this daemon came, the others have told.
      const isNews = before !== undefined || after.leader === self;
      const known = before ?? { leader: undefined, term: 0, voters };
      if (isNews) this.note(...logStatusEvents(known, after, { self, state: this.#known() }));
      before = after;
    };
    look();
    return log.subscribe(look);
  }

  #watchQuorum(log: ReadableCell<LogStatus>): () => void {
    const { self, clock } = this.#options;
    let told: boolean | undefined;
    let waiting: AbortController | undefined;
    const tell = (hasQuorum: boolean) => {
      if (told !== undefined || !hasQuorum) {
        this.note(quorumEvent(hasQuorum, { self, state: this.#known() }));
      }
      told = hasQuorum;
    };
    const look = () => {
      const { hasQuorum } = log.get();
      if (hasQuorum) {
        waiting?.abort();
        waiting = undefined;
        if (told !== true) tell(true);
      } else if (told !== false && waiting === undefined) {
        waiting = new AbortController();
        const patienceMs = told === undefined ? startPatienceMs : quorumPatienceMs;
        clock.sleep(patienceMs, { signal: waiting.signal }).then(
          () => tell(false),
          () => undefined,
        );
      }
    };
    look();
    const stop = log.subscribe(look);
    return () => {
      stop();
      waiting?.abort();
    };
  }

  #watchPending(explanations: ReadableCell<Explanations>): () => void {
    const watch = new PendingWatch();
    return explanations.subscribe(() => {
      this.note(...watch.changes([...explanations.get().values()].flat()));
    });
  }
}
