export type EventType = "Normal" | "Warning";

/**
 * Every reason that an event may have: what it says, and whether somebody should look. This is
 * the place to add one; `docs/reference/events.md` is made from it.
 *
 * What was agreed is told by the functions in `agreed-*.ts` from the state before and after one
 * entry of the log, what a node saw by those in `observed-*.ts` from what it knew before and
 * knows now. For what shows in neither there is `note` of the daemon's event recorder.
 */
export const eventReasons = {
  ServiceCreated: normal("A service was submitted for the first time."),
  ServiceUpdated: normal("A service has got a new revision, which rolls out."),
  ServiceChanged: normal("A service was changed without a new revision: nothing restarts."),
  ServiceScaled: normal("Another number of replicas is wanted."),
  ServiceRestarted: normal("Somebody asked for new containers of a service."),
  ServiceStopped: normal("Somebody stopped a service: it runs nowhere."),
  ServiceStarted: normal("A service that was stopped is to run again."),
  ServiceRemoved: normal("A service was removed."),
  RolledOut: normal("All tasks that should run are of the newest revision."),
  RolloutPaused: warning("New tasks failed; the roll-out goes no further."),
  RolloutHalted: normal("Somebody halted a roll-out."),
  RolloutResumed: normal("A roll-out that was halted or paused goes on."),
  CanaryProven: normal("The canary is over; the other tasks follow."),
  CanaryWaits: normal("The canary is over; somebody has to let the roll-out go on."),
  TrafficMoved: normal("Tasks of other revisions have the traffic from now on."),
  RolledBack: warning("New tasks failed; the revision before was brought back."),
  RollbackRequested: normal("Somebody brought an earlier revision back."),

  Placed: normal("A task was created on a node, with the arithmetic of the choice."),
  Moved: normal("A task was created in place of one on another node."),
  Stopping: normal("It was decided that a task should no longer run."),
  Pending: warning("A task cannot be placed, with what each node says."),
  BackingOff: warning("A task failed on its nodes and is placed again after a pause."),

  Started: normal("The container of a task runs."),
  StartFailed: warning("A container could not be started; it is tried again."),
  Healthy: normal("The health check of a task passes."),
  Unhealthy: warning("The health check of a task fails, with what the last probe said."),
  Restarted: warning("A container ended or was unhealthy and is started again on its node."),
  Completed: normal("A task has done its work."),
  Failed: warning("A task has failed for good on its node."),
  Stopped: normal("The container of a task that should no longer run has ended."),

  RunStarted: normal("A run of a job has begun."),
  RunSucceeded: normal("A run of a job has succeeded."),
  RunFailed: warning("A run of a job has failed."),
  RunSkipped: warning("A run was due and did not begin, as the one before still went on."),
  RunReplaced: warning("A run was stopped because a newer one took its place."),
  ScheduleSuspended: normal("A schedule starts nothing for now."),
  ScheduleResumed: normal("A schedule goes on."),

  ClusterCreated: normal("A cluster was made, with its first node."),
  NodeJoined: normal("A machine was admitted."),
  NodeChanged: normal("A machine came back with another address or name."),
  NodeLabelled: normal("The labels of a machine were changed."),
  NodeDraining: normal("A machine gets no work any more; what it has moves elsewhere."),
  NodeDrained: normal("No task should run on a draining machine any more."),
  NodeResumed: normal("A drained machine gets work again."),
  NodeRemoved: normal("A machine is no member any more."),
  NodeSuspect: warning("A machine does not answer; it gets no traffic."),
  NodeFailed: warning("A machine was given up; its tasks are started elsewhere."),
  NodeLeft: normal("The daemon of a machine was stopped."),
  NodeAlive: normal("A machine answers again."),
  NodeIsolated: warning("No other machine answers this one."),
  NodeConnected: normal("Other machines answer this one again."),
  DaemonStarted: normal("The daemon of a machine has started."),

  LeaderChanged: normal("Another node leads."),
  VotersChanged: normal("Other nodes vote."),
  VoterLimitChanged: normal("Another number of nodes may vote."),
  QuorumLost: warning("A node hears of no majority of the voters: changes have to wait."),
  QuorumRegained: normal("A node hears of a majority of the voters again."),
  TokenCreated: normal("A token was made."),
  TokenRevoked: normal("A token was revoked."),
  IntentQueued: warning("A change was asked for without a quorum; it waits on one node."),
  IntentAgreed: normal("A queued change was agreed."),
  IntentRefused: warning("A queued change did not fit any more when its turn came."),
  IntentCancelled: normal("Somebody took a queued change back."),
  EventsLost: warning("More happened at once than a node could write down."),
} as const satisfies Readonly<Record<string, ReasonMeaning>>;

export type EventReason = keyof typeof eventReasons;

type ReasonMeaning = { readonly type: EventType; readonly says: string };

function normal(says: string): ReasonMeaning {
  return { type: "Normal", says };
}

function warning(says: string): ReasonMeaning {
  return { type: "Warning", says };
}
