import t from "tap";
import { formatProblem, parseManifest, type ServiceSpec } from "../../src/spec/index.ts";

function parse(service: string) {
  const text = `services:\n  web:\n    image: web\n    ${service}\n`;
  return parseManifest({ files: [{ name: "c.yaml", text }], environment: {} });
}

function specOf(service: string): ServiceSpec {
  const parsed = parse(service);
  if (parsed.kind === "invalid") throw new Error(parsed.problems.map(formatProblem).join("\n"));
  const [spec] = parsed.manifest.services;
  if (spec === undefined) throw new Error("no service");
  return spec;
}

const valid: readonly {
  readonly service: string;
  readonly mode: ServiceSpec["mode"];
  readonly schedule?: ServiceSpec["schedule"];
}[] = [
  {
    service: "deploy: {mode: replicated-job}",
    mode: { kind: "replicated-job", completions: 1, parallelism: 1, retries: 3 },
  },
  {
    service: "deploy: {mode: replicated-job, replicas: 5}",
    mode: { kind: "replicated-job", completions: 5, parallelism: 5, retries: 3 },
  },
  {
    service: "{deploy: {mode: replicated-job, replicas: 5}, x-job: {parallelism: 2}}",
    mode: { kind: "replicated-job", completions: 5, parallelism: 2, retries: 3 },
  },
  {
    service: "deploy: {mode: global-job, restart_policy: {max_attempts: 7}}",
    mode: { kind: "global-job", retries: 7 },
  },
  {
    service: '{restart: "no", deploy: {mode: replicated-job}}',
    mode: { kind: "replicated-job", completions: 1, parallelism: 1, retries: 0 },
  },
  {
    service: "{restart: on-failure:2, deploy: {mode: replicated-job}}",
    mode: { kind: "replicated-job", completions: 1, parallelism: 1, retries: 2 },
  },
  {
    service: 'x-schedule: "*/5 * * * *"',
    mode: { kind: "replicated-job", completions: 1, parallelism: 1, retries: 3 },
    schedule: { cron: "*/5 * * * *", timezone: "UTC", overlap: "forbid", isSuspended: false },
  },
  {
    service:
      "{deploy: {mode: global-job}, x-schedule: {cron: '@daily', timezone: Europe/Berlin, overlap: replace, suspend: true}}",
    mode: { kind: "global-job", retries: 3 },
    schedule: { cron: "@daily", timezone: "Europe/Berlin", overlap: "replace", isSuspended: true },
  },
];

t.test(
  "a job is compiled from the words of Compose, its retries from the restart policy",
  async (t) => {
    for (const { service, mode, schedule } of valid) {
      const spec = specOf(service.startsWith("{") ? `<<: ${service}` : service);
      t.strictSame(spec.mode, mode, service);
      t.strictSame(spec.schedule, schedule, service);
      t.equal(spec.template.restart.condition, "none", "its node does not start it again");
    }
  },
);

const wrong: readonly (readonly [string, RegExp])[] = [
  ["x-schedule: 0 3 * *", /c\.yaml:4:17: .*`x-schedule` must be a schedule.*five fields/s],
  ["x-schedule: {cron: '@daily', timezone: Mars}", /time zone such as `Europe\/Berlin`/],
  ["x-schedule: {timezone: UTC}", /`x-schedule\.cron` must be a schedule such as/],
  ["x-schedule: {cron: '@daily', overlap: maybe}", /`forbid`, `allow` or `replace`/],
  ["x-schedule: {cron: '@daily', suspended: true}", /unknown key `suspended`.*`suspend`/s],
  [
    "<<: {deploy: {mode: replicated}, x-schedule: '@daily'}",
    /a service with `x-schedule` is a job, and not `replicated`/,
  ],
  [
    "deploy: {mode: replicated-job, restart_policy: {condition: any}}",
    /a job that has succeeded is not started again/,
  ],
  ["<<: {restart: always, deploy: {mode: global-job}}", /a job that has succeeded/],
  ["x-job: {parallelism: 2}", /`x-job` is for jobs only/],
  ["deploy: {mode: global-job, replicas: 2}", /mode `global-job` runs once on every node/],
  ["deploy: {mode: replicated-job, replicas: 5000}", /from 1 to 1000 times, not 5000/],
];

t.test("what no job can be is refused with its place", async (t) => {
  for (const [service, message] of wrong) {
    const parsed = parse(service);
    const text = parsed.kind === "invalid" ? parsed.problems.map(formatProblem).join("\n") : "";
    t.match(text, message, service);
  }
});
