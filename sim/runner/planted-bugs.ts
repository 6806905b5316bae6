import type { SourceEdit } from "../planted-source.ts";

/** A mistake, put in on purpose: a simulator that misses it proves nothing. */
export type PlantedRunnerBug = SourceEdit & {
  readonly name: string;
  /** What it breaks. */
  readonly section: string;
  /** The runs within which it must be found. */
  readonly seeds: number;
};

export const plantedRunnerBugs: readonly PlantedRunnerBug[] = [];
