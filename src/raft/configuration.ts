import type { NodeId } from "../kernel/index.ts";
import { nodeId } from "../kernel/index.ts";
import { PeerCodec } from "../network/index.ts";
import type { Configuration, Entry } from "./log-storage.ts";
import { RaftError } from "./raft-error.ts";

/** More members than this in one configuration are refused. */
export const maxMembers = 1_000;
const maxNodeIdLength = 128;

/** Who should take part after a change. */
export type TargetConfiguration = {
  readonly voters: readonly NodeId[];
  readonly learners: readonly NodeId[];
};

export const emptyConfiguration: Configuration = {
  voters: [],
  votersOutgoing: [],
  learners: [],
  learnersNext: [],
};

export function isJoint(configuration: Configuration): boolean {
  return configuration.votersOutgoing.length > 0;
}

/** Whether a node's vote counts in either half. */
export function isVoter(configuration: Configuration, node: NodeId): boolean {
  return configuration.voters.includes(node) || configuration.votersOutgoing.includes(node);
}

/** Everybody whose vote counts in either half, sorted. */
export function allVoters(configuration: Configuration): readonly NodeId[] {
  return sortedUnion(configuration.voters, configuration.votersOutgoing);
}

/** They are asked for with every message, and a configuration never changes. */
const membersOf = new WeakMap<Configuration, readonly NodeId[]>();

/** Everybody who receives the log, sorted. */
export function allMembers(configuration: Configuration): readonly NodeId[] {
  const known = membersOf.get(configuration);
  if (known !== undefined) return known;
  const { voters, votersOutgoing, learners, learnersNext } = configuration;
  const members = sortedUnion(voters, votersOutgoing, learners, learnersNext);
  membersOf.set(configuration, members);
  return members;
}

/** The configuration without a second half that has these members. */
export function simpleConfiguration({ voters, learners }: TargetConfiguration): Configuration {
  return {
    voters: sortedUnion(voters),
    votersOutgoing: [],
    learners: sortedUnion(learners),
    learnersNext: [],
  };
}

/**
 * The next configuration on the way to `target`: a joint one when voters change (dissertation
 * §4.3), the target itself when only learners do, because they count in no majority.
 */
export function stepTowards(current: Configuration, target: TargetConfiguration): Configuration {
  const wanted = simpleConfiguration(target);
  if (isSameSet(current.voters, wanted.voters)) return wanted;
  return {
    voters: wanted.voters,
    votersOutgoing: current.voters,
    // A voter may not be a learner at the same time; it becomes one when its half ends.
    learners: wanted.learners.filter((node) => !current.voters.includes(node)),
    learnersNext: wanted.learners.filter((node) => current.voters.includes(node)),
  };
}

/** What follows a joint configuration: its incoming half alone. */
export function leaveJoint(joint: Configuration): Configuration {
  return simpleConfiguration({
    voters: joint.voters,
    learners: [...joint.learners, ...joint.learnersNext],
  });
}

/** Why a target cannot be used, as a sentence; undefined when it can. */
export function problemOf({ voters, learners }: TargetConfiguration): string | undefined {
  if (voters.length === 0) return "A configuration needs at least one voter.";
  if (voters.length + learners.length > maxMembers) {
    return `A configuration has at most ${maxMembers} members, not ${voters.length + learners.length}.`;
  }
  const all = [...voters, ...learners];
  const twice = all.find((node, position) => all.indexOf(node) !== position);
  return twice === undefined ? undefined : `Node ${twice} is named twice in the configuration.`;
}

export function isSameSet(left: readonly NodeId[], right: readonly NodeId[]): boolean {
  return left.length === right.length && left.every((node) => right.includes(node));
}

function sortedUnion(...sets: readonly (readonly NodeId[])[]): readonly NodeId[] {
  return [...new Set(sets.flat())].sort();
}

/** Four lists of members. */
const packr = new PeerCodec({ maxValues: 4 * maxMembers + 8 });

/** The `data` of a `configuration` entry. */
export function encodeConfiguration(configuration: Configuration): Uint8Array {
  const { voters, votersOutgoing, learners, learnersNext } = configuration;
  return new Uint8Array(packr.pack([voters, votersOutgoing, learners, learnersNext]));
}

/** @throws RaftError `malformed_message` when the bytes are no configuration. */
export function decodeConfiguration(data: Uint8Array): Configuration {
  let parts: unknown;
  try {
    parts = packr.unpack(data);
  } catch (cause) {
    throw new RaftError("malformed_message", "A configuration entry is unreadable.", { cause });
  }
  return parseConfiguration(parts);
}

/** Checks the shape that {@link encodeConfiguration} packs. */
export function parseConfiguration(parts: unknown): Configuration {
  if (!Array.isArray(parts) || parts.length !== 4) {
    throw new RaftError("malformed_message", "A configuration must have four lists of members.");
  }
  return {
    voters: parseMembers(parts[0]),
    votersOutgoing: parseMembers(parts[1]),
    learners: parseMembers(parts[2]),
    learnersNext: parseMembers(parts[3]),
  };
}

function parseMembers(value: unknown): readonly NodeId[] {
  if (!Array.isArray(value) || value.length > maxMembers) {
    throw new RaftError("malformed_message", `A list of members has at most ${maxMembers} names.`);
  }
  return value.map((name: unknown) => {
    if (typeof name !== "string" || name.length === 0 || name.length > maxNodeIdLength) {
      throw new RaftError("malformed_message", "A member's name is empty, too long or no text.");
    }
    return nodeId(name);
  });
}

/**
 * The configurations in the log, oldest first. The last one is in force, committed or not:
 * entries take effect when they are appended (dissertation §4.1), and a truncated one is
 * taken back. The first is the base: the snapshot's, or the empty one at index 0.
 */
export class ConfigurationHistory {
  #versions: { readonly index: number; readonly configuration: Configuration }[];

  constructor(base: { readonly index: number; readonly configuration: Configuration }) {
    this.#versions = [base];
  }

  get current(): Configuration {
    return this.#versions.at(-1)?.configuration ?? emptyConfiguration;
  }

  get currentIndex(): number {
    return this.#versions.at(-1)?.index ?? 0;
  }

  /** The one in force at an index; what a snapshot at that index records. */
  at(index: number): Configuration {
    const version = this.#versions.findLast((candidate) => candidate.index <= index);
    return version?.configuration ?? emptyConfiguration;
  }

  /** Call with all entries that enter the log: they supersede what was at and after the first. */
  append(entries: readonly Entry[]): void {
    const first = entries[0];
    if (first === undefined) return;
    while (this.#versions.length > 1 && this.currentIndex >= first.index) this.#versions.pop();
    for (const { kind, index, data } of entries) {
      if (kind !== "configuration") continue;
      this.#versions.push({ index, configuration: decodeConfiguration(data) });
    }
  }

  reset(base: { readonly index: number; readonly configuration: Configuration }): void {
    this.#versions = [base];
  }

  /** Forgets what no snapshot and no truncation at or after `index` can need. */
  prune(index: number): void {
    while ((this.#versions[1]?.index ?? Number.POSITIVE_INFINITY) <= index) this.#versions.shift();
  }
}
