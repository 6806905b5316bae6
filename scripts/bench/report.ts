import { availableParallelism, loadavg } from "node:os";

export type BenchOptions = {
  readonly rounds: number;
  /** Of one measurement. */
  readonly seconds: number;
  /** Names of those to run. */
  readonly loads: readonly string[];
  readonly signal: AbortSignal;
  readonly say: (line: string) => void;
};

export type Bench = {
  readonly name: string;
  readonly summary: string;
  readonly loads: readonly string[];
  readonly defaults: Pick<BenchOptions, "rounds" | "seconds">;
  readonly run: (options: BenchOptions) => Promise<readonly Case[]>;
};

/** One number of ours beside the same number of a peer's. */
export type Case = {
  readonly case: string;
  readonly unit: string;
  /** Medians over the rounds. */
  readonly ours: number;
  readonly peer: number;
  readonly peerName: string;
  /**
   * How well we do next to the peer: above 1 is better than it, also where less is better
   * (times). The median of the rounds' own ratios, since what disturbs the machine for a
   * while disturbs both halves of a round.
   */
  readonly ratio: number;
  /** The lowest and the highest ratio of a round. */
  readonly spread: readonly [number, number];
  /** The ratio to reach; null where the number is only for information. */
  readonly bar: number | null;
  readonly holds: boolean;
  readonly samples: { readonly ours: readonly number[]; readonly peer: readonly number[] };
};

type Measured = {
  readonly name: string;
  readonly unit: string;
  readonly better: "more" | "less";
  readonly ours: readonly number[];
  readonly peer: readonly number[];
  readonly peerName: string;
  readonly bar: number | null;
};

export function toCase({ name, unit, better, ours, peer, peerName, bar }: Measured): Case {
  const ratios = ours.map((own, round) => {
    const other = peer[round] ?? Number.NaN;
    return better === "more" ? own / other : other / own;
  });
  const ratio = median(ratios);
  return {
    case: name,
    unit,
    ours: rounded(median(ours)),
    peer: rounded(median(peer)),
    peerName,
    ratio: rounded(ratio),
    spread: [rounded(Math.min(...ratios)), rounded(Math.max(...ratios))],
    bar,
    // A ratio that is no number holds no bar.
    holds: bar === null || ratio >= bar,
    samples: { ours: ours.map(rounded), peer: peer.map(rounded) },
  };
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((left, right) => left - right);
  const upper = sorted[sorted.length >> 1] ?? Number.NaN;
  if (sorted.length % 2 === 1) return upper;
  return (upper + (sorted[(sorted.length >> 1) - 1] ?? Number.NaN)) / 2;
}

function rounded(value: number): number {
  return Number(value.toPrecision(4));
}

export function asText(bench: string, cases: readonly Case[]): string {
  const rows = cases.map(
    ({ case: name, unit, ours, peer, peerName, ratio, spread, bar, holds }) => [
      name,
      `${text(ours)} ${unit}`,
      `${peerName} ${text(peer)}`,
      ratio.toFixed(2),
      spread.map((edge) => edge.toFixed(2)).join("-"),
      bar === null ? "" : `${holds ? "holds" : "MISSED"} ${bar.toFixed(2)}`,
    ],
  );
  const table = [["case", "ours", "peer", "ratio", "spread", "bar"], ...rows];
  const widths = [0, 1, 2, 3, 4, 5].map((column) =>
    Math.max(...table.map((row) => row[column]?.length ?? 0)),
  );
  const lines = table.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd(),
  );
  const missed = cases.filter(({ holds }) => !holds).length;
  const barred = cases.filter(({ bar }) => bar !== null).length;
  const verdict = missed === 0 ? `all ${barred} bars hold` : `${missed} of ${barred} bars missed`;
  return [...lines, "", `${bench}: ${verdict}. A ratio above 1 is better than the peer.`].join(
    "\n",
  );
}

function text(value: number): string {
  return value >= 1_000 ? Math.round(value).toLocaleString("en-US") : String(value);
}

/** Other work on the machine spoils a benchmark: it is shown, and named when it is much. */
export function describeLoad(): string {
  const [lastMinute = 0] = loadavg();
  const cores = availableParallelism();
  const warning = lastMinute > cores / 2 ? ", TOO BUSY for numbers to be trusted" : "";
  return `${cores} cores, load average ${lastMinute.toFixed(2)}${warning}`;
}
