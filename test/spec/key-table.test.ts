import t from "tap";
import { parse } from "yaml";
import { formatProblem, type ParsedManifest, parseManifest } from "../../src/spec/index.ts";
import type { SectionName } from "../../src/spec/key-rule.ts";
import { keyTable } from "../../src/spec/key-table.ts";

type Values = Readonly<Record<string, unknown>>;

function service(values: Values): Values {
  const web = { image: "web:1", ...values };
  return { services: { api: { image: "api:1" }, web }, volumes: { data: {} } };
}

/** Around the keys of each section: the least that makes a valid manifest. */
const manifests: Readonly<Record<SectionName, (values: Values) => Values>> = {
  top: (values) => ({ services: { api: { image: "api:1" } }, ...values }),
  include: (values) => ({ include: [{ path: "./base.yaml", ...values }], ...service({}) }),
  service: (values) =>
    service({
      ...("memswap_limit" in values && { mem_limit: "9m" }),
      ...("volumes_from" in values && { network_mode: "service:api" }),
      ...("x-job" in values && { deploy: { mode: "replicated-job", replicas: 5 } }),
      ...values,
    }),
  depends_on: (values) => ({
    services: {
      api: { image: "api:1", healthcheck: { test: "true" } },
      web: { image: "web:1", depends_on: { api: values } },
    },
  }),
  extends: (values) => ({
    services: {
      base: { image: "base:1", command: "base" },
      other: { image: "other:1", command: "other" },
      web: { image: "web:1", extends: { service: "other", ...values } },
    },
  }),
  env_file: (values) => service({ env_file: [{ path: "./base.env", ...values }] }),
  port: (values) => service({ ports: [{ target: 80, published: 8080, ...values }] }),
  mount: (values) => {
    const options = ["volume", "tmpfs"].find((key) => key in values);
    const type = values["type"] ?? options ?? "bind";
    const base = { type, target: "/data", ...(type === "bind" && { source: "/srv" }) };
    return service({ volumes: [{ ...base, ...values }] });
  },
  bind: (values) =>
    service({ volumes: [{ type: "bind", source: "/srv", target: "/data", bind: values }] }),
  mount_volume: (values) =>
    service({ volumes: [{ type: "volume", source: "data", target: "/data", volume: values }] }),
  mount_tmpfs: (values) =>
    service({ volumes: [{ type: "tmpfs", target: "/data", tmpfs: values }] }),
  device: (values) => service({ devices: [{ source: "/dev/null", ...values }] }),
  ulimit: (values) => service({ ulimits: { nofile: { soft: 1, hard: 2048, ...values } } }),
  logging: (values) => service({ logging: values }),
  blkio_config: (values) => service({ blkio_config: values }),
  blkio_weight: (values) =>
    service({ blkio_config: { weight_device: [{ path: "/dev/sda", weight: 10, ...values }] } }),
  blkio_rate: (values) =>
    service({ blkio_config: { device_read_bps: [{ path: "/dev/sda", rate: 10, ...values }] } }),
  ingress: (values) =>
    service({ expose: ["80"], "x-ingress": [{ host: "a.example.com", ...values }] }),
  healthcheck: (values) => service({ healthcheck: { test: "true", ...values } }),
  "x-healthcheck": (values) =>
    service({ "x-healthcheck": { ...("tcp" in values ? {} : { http: ":1" }), ...values } }),
  deploy: (values) => service({ deploy: values }),
  update_config: (values) => service({ deploy: { update_config: values } }),
  rollback_config: (values) => service({ deploy: { rollback_config: values } }),
  restart_policy: (values) => service({ deploy: { restart_policy: values } }),
  resources: (values) => service({ deploy: { resources: values } }),
  limits: (values) => service({ deploy: { resources: { limits: values } } }),
  reservations: (values) => service({ deploy: { resources: { reservations: values } } }),
  placement: (values) => service({ deploy: { placement: values } }),
  preference: (values) =>
    service({
      deploy: { placement: { preferences: [{ spread: "node.labels.zone", ...values }] } },
    }),
  "x-placement": (values) => service({ "x-placement": values }),
  "x-update": (values) =>
    service({
      "x-update": { strategy: "keep" in values ? "blue-green" : "rolling", ...inCanary(values) },
    }),
  "x-failover": (values) =>
    service({ "x-failover": { ...("fence" in values && { after: "1m" }), ...values } }),
  "x-schedule": (values) => service({ "x-schedule": { cron: "0 3 * * *", ...values } }),
  "x-job": (values) =>
    service({ deploy: { mode: "replicated-job", replicas: 5 }, "x-job": values }),
  volume: (values) => ({
    services: { web: { image: "web:1", volumes: ["data:/data"] } },
    volumes: { data: values },
  }),
  config: (values) => ({ ...service({}), configs: { motd: source(values) } }),
  secret: (values) => ({ ...service({}), secrets: { motd: source(values) } }),
};

/** Some keys mean something with one strategy only. */
function inCanary(values: Values): Values {
  const isOne = ["canary", "bake", "pause"].some((key) => key in values);
  return isOne ? { strategy: "canary", ...values } : values;
}

/** Each has one source. */
function source(values: Values): Values {
  const isSource = ["file", "environment", "content", "external"].some((key) => key in values);
  return isSource ? values : { file: "./first", ...values };
}

/** Their only value is the default, so that naming them changes nothing. */
const onlyDefaults = [
  "deploy.endpoint_mode",
  "volume.driver",
  "top.volumes",
  "service.pull_policy",
];

const envFiles: Readonly<Record<string, string>> = {
  "./base.env": "A='1'",
  "./other.env": "A=2",
  "./web.env": "A=3",
  "./web.labels": "A=3",
  "./base.yaml":
    "services: {base: {image: 'base:2', command: there}, other: {image: 'other:2', command: there}, inner: {image: 'inner:${A:-0}', env_file: [{path: a.env, required: false}]}}",
  "./other.yaml": "services: {inner: {image: 'inner:3'}}",
  "elsewhere/a.env": "A=5",
};

/** What they are in is refused as a whole. */
const isRefused = (section: SectionName) => section === "config" || section === "secret";

function parsed(
  section: SectionName,
  values: Values,
  allowIgnored = isRefused(section),
): ParsedManifest {
  // JSON is YAML, so no other writer is needed.
  const text = JSON.stringify(manifests[section](values));
  return parseManifest({
    files: [{ name: "c.yaml", text }],
    environment: {},
    allowIgnored,
    // With `required: false` a missing file is passed over, which is what has to be seen.
    readFile: (path) =>
      section === "env_file" && "required" in values ? undefined : envFiles[path],
  });
}

const canonical = (manifest: ParsedManifest) => JSON.stringify(manifest);

t.test("The key table", async (t) => {
  const rules = Object.keys(manifests).flatMap((name) => {
    const section = Object.keys(keyTable).find((known): known is SectionName => known === name);
    if (section === undefined) throw new Error(`The table has no section ${name}.`);
    return Object.entries(keyTable[section]).map(([key, rule]) => ({ section, key, rule }));
  });
  t.equal(Object.keys(keyTable).length, Object.keys(manifests).length);

  for (const { section, key, rule } of rules) {
    if (rule.status === "supported") {
      t.test(`${section}.${key} does something`, async (t) => {
        const withKey = parsed(section, { [key]: parse(rule.example) });
        const problems = withKey.kind === "invalid" ? withKey.problems.map(formatProblem) : [];
        t.strictSame(problems, []);
        const isDefault = onlyDefaults.includes(`${section}.${key}`);
        t.equal(canonical(withKey) === canonical(parsed(section, {})), isDefault);
      });
    } else {
      t.test(`${section}.${key} is not silently ignored`, async (t) => {
        const value = rule.type.kind === "named" ? {} : "x";
        const plain = parsed(section, { [key]: value });
        if (rule.status === "not-yet") {
          if (isRefused(section)) return;
          t.match(plain, { kind: "invalid", problems: [{ message: /not supported yet/ }] });
        }
        const lenient = parsed(section, { [key]: value }, true);
        t.match(lenient, { kind: "valid", ignored: [{ message: new RegExp(`${key}\``) }] });
        const other = isRefused(section) ? 1 : 0;
        t.equal(lenient.kind === "valid" && lenient.ignored.length, 1 + other);
      });
    }
  }
});
