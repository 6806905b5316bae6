import type { NodeId } from "../../src/kernel/index.ts";
import type { TargetConfiguration } from "../../src/raft/configuration.ts";
import { planVoters, type VoterCandidate } from "../../src/raft/plan-voters.ts";
import type { Context } from "./context.ts";
import type { Machine } from "./machine.ts";
import type { Network } from "./network.ts";

/** How far behind a learner may be and still become a voter. */
const maxLagEntries = 5;
/** A voter that is gone for so many election timeouts loses its seat. */
const failedElections = 8;

/** Changes of the members: anything at all, or what the daemon's own plan says. */
export class Membership {
  readonly #context: Context;
  readonly #network: Network;
  readonly #machines: readonly Machine[];
  /** Nodes that are drained: they should not vote. */
  readonly #ineligible = new Set<NodeId>();
  readonly #zones: readonly string[];

  constructor(context: Context, network: Network, machines: readonly Machine[]) {
    this.#context = context;
    this.#network = network;
    this.#machines = machines;
    this.#zones = machines.map(() => `zone ${context.below(3)}`);
    if (context.swarm.membership !== "fixed") this.#repeat();
  }

  /** Whether the voters are as planned, with everybody's present state known. */
  isAsPlanned(leader: Machine): boolean {
    if (this.#context.swarm.membership !== "planned" || leader.process === undefined) return true;
    return this.#plan(leader, { isUpToDate: true }) === undefined;
  }

  #repeat(): void {
    const { configurationRate, membership } = this.#context.swarm;
    const { isFaulty } = this.#context;
    const mean = membership === "planned" && !isFaulty ? 10 : 1 / configurationRate;
    const delay = -Math.log(1 - this.#context.random.next()) * mean;
    this.#context.queue.after(delay, () => {
      if (membership === "planned") this.#look();
      else if (this.#context.isFaulty) this.#changeAnything();
      this.#repeat();
    });
  }

  #look(): void {
    const { isFaulty } = this.#context;
    const drained = this.#context.pick(this.#machines);
    if (isFaulty && drained !== undefined && this.#context.chance(0.1)) {
      if (!this.#ineligible.delete(drained.id)) this.#ineligible.add(drained.id);
    }
    if (!isFaulty) this.#ineligible.clear();
    for (const leader of this.#machines.filter(({ isLeader }) => isLeader)) {
      this.#propose(leader, this.#plan(leader, { isUpToDate: !isFaulty }));
    }
  }

  #changeAnything(): void {
    const leader = this.#context.pick(this.#machines.filter(({ isLeader }) => isLeader));
    if (leader === undefined) return;
    const shuffled = this.#machines
      .map(({ id }) => ({ id, key: this.#context.random.next() }))
      .sort((left, right) => left.key - right.key)
      .map(({ id }) => id);
    const voterCount = 1 + this.#context.below(shuffled.length);
    const learnerCount = this.#context.below(shuffled.length - voterCount + 1);
    this.#propose(leader, {
      voters: shuffled.slice(0, voterCount),
      learners: shuffled.slice(voterCount, voterCount + learnerCount),
    });
  }

  #propose(leader: Machine, target: TargetConfiguration | undefined): void {
    const { process } = leader;
    if (process === undefined || target === undefined) return;
    const { kind } = process.raft.proposeConfiguration(target);
    this.#context.trace.line(
      () =>
        `members: ${leader.id} wants voters ${target.voters.join(",")} ` +
        `learners ${target.learners.join(",")}: ${kind}`,
    );
    process.drain();
  }

  /** As the daemon plans, from what the leader sees; during faults some of that is wrong. */
  #plan(leader: Machine, { isUpToDate }: { readonly isUpToDate: boolean }) {
    const { process } = leader;
    if (process === undefined) return undefined;
    const { swarm, queue } = this.#context;
    const progress = new Map((process.raft.progress() ?? []).map((each) => [each.node, each]));
    const lastIndex = progress.get(leader.id)?.matchIndex ?? 0;
    const members = this.#machines.map((machine, position): VoterCandidate => {
      const { id } = machine;
      const own = progress.get(id);
      const isCaughtUp = own !== undefined && lastIndex - own.matchIndex <= maxLagEntries;
      const isReachable = machine.isUp && !this.#network.isCut(machine, leader);
      const isAlive = isUpToDate || !this.#context.chance(0.1) ? isReachable : !isReachable;
      const failedAfter = failedElections * swarm.timing.electionTicks;
      const zone = this.#zones[position];
      return {
        nodeId: id,
        isHealthy: id === leader.id || isAlive,
        isReady: id === leader.id || (isCaughtUp && own.isActive && isAlive),
        isEligible: !this.#ineligible.has(id),
        isFailed: !machine.isUp && queue.now - machine.downSince > failedAfter,
        ...(zone === undefined ? {} : { zone }),
      };
    });
    const { configuration, isConfigurationSettled } = process.raft;
    if (!isConfigurationSettled) return undefined;
    return planVoters({ members, current: configuration, maxVoters: swarm.maxVoters });
  }
}
