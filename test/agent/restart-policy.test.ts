import t from "tap";
import { nextHealth, startingHealth } from "../../src/agent/health.ts";
import {
  type ContainerEnd,
  decideRestart,
  newRestartHistory,
  type RestartHistory,
} from "../../src/agent/restart-policy.ts";
import type { HealthCheckSpec, TaskTemplate } from "../../src/spec/index.ts";

const any: TaskTemplate["restart"] = { condition: "any", delayMs: 0, windowMs: 0 };
const crash: ContainerEnd = { cause: "exited", exitCode: 1, message: "", workedForMs: 100 };

/** Decides about each end in turn; "800" is a pause, other words are final. */
function decisions(policy: TaskTemplate["restart"], ends: readonly ContainerEnd[]): unknown[] {
  let history: RestartHistory = newRestartHistory;
  return ends.map((end) => {
    const decision = decideRestart(policy, history, end);
    history = decision.history;
    return decision.kind === "restart" ? decision.delayMs : decision.kind;
  });
}

function times(count: number, end: ContainerEnd): readonly ContainerEnd[] {
  return Array.from({ length: count }, () => end);
}

const cases: readonly {
  readonly name: string;
  readonly policy: TaskTemplate["restart"];
  readonly ends: readonly ContainerEnd[];
  readonly expected: readonly unknown[];
}[] = [
  {
    name: "quick crashes back off and are given up",
    policy: any,
    ends: times(6, crash),
    expected: [0, 1_000, 2_000, 4_000, 8_000, "failed"],
  },
  {
    name: "crashes after some seconds back off to a minute and are never given up",
    policy: any,
    ends: times(9, { ...crash, workedForMs: 12_000 }),
    expected: [0, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000],
  },
  {
    name: "a calm run starts the back-off anew",
    policy: any,
    ends: [crash, crash, { ...crash, workedForMs: 30_000 }, crash],
    expected: [0, 1_000, 0, 1_000],
  },
  {
    name: "the policy's window says what is calm, and its delay is the least pause",
    policy: { ...any, windowMs: 5_000, delayMs: 500 },
    ends: [crash, crash, { ...crash, workedForMs: 5_000 }],
    expected: [500, 1_000, 500],
  },
  {
    name: "maxAttempts bounds the restarts",
    policy: { ...any, maxAttempts: 2 },
    ends: times(3, crash),
    expected: [0, 1_000, "failed"],
  },
  {
    name: "what cannot be started is not tried again in the same instant",
    policy: any,
    ends: times(3, { cause: "start_failed", message: "", workedForMs: 0 }),
    expected: [1_000, 2_000, 4_000],
  },
  {
    name: "kills from outside are free ten times in a row",
    policy: any,
    ends: times(12, { cause: "killed", message: "", workedForMs: 2_000 }),
    expected: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1_000],
  },
  {
    name: "[B3] a container that works is there again at once after each of any number of kills",
    policy: any,
    ends: times(30, { cause: "killed", message: "", workedForMs: 12_000 }),
    expected: Array.from({ length: 30 }, () => 0),
  },
  {
    name: "a run of ten seconds ends a row of kills",
    policy: any,
    ends: [
      ...times(9, { cause: "killed", message: "", workedForMs: 2_000 }),
      { cause: "killed", message: "", workedForMs: 10_000 },
      ...times(11, { cause: "killed", message: "", workedForMs: 2_000 }),
    ],
    expected: [...Array.from({ length: 20 }, () => 0), 1_000],
  },
  {
    name: "an end with success is final unless the condition is any",
    policy: { ...any, condition: "on-failure" },
    ends: [{ ...crash, exitCode: 0 }],
    expected: ["completed"],
  },
  {
    name: "condition none restarts nothing",
    policy: { ...any, condition: "none" },
    ends: [crash],
    expected: ["failed"],
  },
];

t.test("decideRestart", async (t) => {
  for (const { name, policy, ends, expected } of cases) {
    t.test(name, async (t) => {
      t.strictSame(decisions(policy, ends), expected);
    });
  }
});

t.test("nextHealth", async (t) => {
  const spec: HealthCheckSpec = {
    test: { kind: "tcp", port: 80 },
    intervalMs: 1_000,
    timeoutMs: 500,
    retries: 3,
    startPeriodMs: 5_000,
    startIntervalMs: 500,
  };
  const fail = { kind: "failed", message: "refused" } as const;
  const pass = { kind: "passed" } as const;

  t.test("bears failures until the start period and all retries are over", async (t) => {
    const at = (now: number) => nextHealth(spec, startingHealth, fail, { now, startedAtMs: 0 });
    t.equal(at(7_900).health, "starting");
    t.equal(at(8_000).health, "unhealthy");
    t.equal(at(8_000).wasHealthyForMs, 0);
  });

  t.test(
    "once healthy becomes unhealthy after `retries` failures in a row, not before",
    async (t) => {
      let health = nextHealth(spec, startingHealth, pass, { now: 100, startedAtMs: 0 });
      const seen: string[] = [];
      for (const [i, result] of [fail, fail, pass, fail, fail, fail, pass].entries()) {
        health = nextHealth(spec, health, result, { now: 1_000 * (i + 1), startedAtMs: 0 });
        seen.push(health.health);
      }
      t.strictSame(seen, [...Array(5).fill("healthy"), "unhealthy", "healthy"]);
    },
  );
});
