import t from "tap";
import { parse } from "yaml";
import { formatProblem, type ParsedManifest, parseManifest } from "../../src/spec/index.ts";
import type { SectionName } from "../../src/spec/key-rule.ts";
import { keyTable } from "../../src/spec/key-table.ts";

type Values = Readonly<Record<string, unknown>>;

function service(values: Values): Values {
  return { services: { web: { image: "web:1", ...values } }, volumes: { data: {} } };
}

/** Around the keys of each section: the least that makes a valid manifest. */
const manifests: Readonly<Record<SectionName, (values: Values) => Values>> = {
  top: (values) => ({ services: { api: { image: "api:1" } }, ...values }),
  service: (values) => service(values),
  env_file: (values) => service({ env_file: [{ path: "./base.env", ...values }] }),
  port: (values) => service({ ports: [{ target: 80, published: 8080, ...values }] }),
  mount: (values) => {
    const isMemory = values["type"] === "tmpfs";
    const base = { type: "bind", target: "/data", ...(!isMemory && { source: "/srv" }) };
    return service({ volumes: [{ ...base, ...values }] });
  },
  ingress: (values) =>
    service({ expose: ["80"], "x-ingress": [{ host: "a.example.com", ...values }] }),
  healthcheck: (values) => service({ healthcheck: { test: "true", ...values } }),
  "x-healthcheck": (values) =>
    service({ "x-healthcheck": { ...("tcp" in values ? {} : { http: ":1" }), ...values } }),
  deploy: (values) => service({ deploy: values }),
  update_config: (values) => service({ deploy: { update_config: values } }),
  restart_policy: (values) => service({ deploy: { restart_policy: values } }),
  resources: (values) => service({ deploy: { resources: values } }),
  limits: (values) => service({ deploy: { resources: { limits: values } } }),
  reservations: (values) => service({ deploy: { resources: { reservations: values } } }),
  placement: (values) => service({ deploy: { placement: values } }),
  volume: (values) => ({
    services: { web: { image: "web:1", volumes: ["data:/data"] } },
    volumes: { data: values },
  }),
};

/** Their only value is the default, so that naming them changes nothing. */
const onlyDefaults = ["deploy.endpoint_mode", "volume.driver", "top.volumes"];

const envFiles: Readonly<Record<string, string>> = {
  "./base.env": "A=1",
  "./other.env": "A=2",
  "./web.env": "A=3",
};

function parsed(section: SectionName, values: Values, allowIgnored = false): ParsedManifest {
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
        const plain = parsed(section, { [key]: "x" });
        if (rule.status === "not-yet") {
          t.match(plain, { kind: "invalid", problems: [{ message: /not supported yet/ }] });
        }
        const lenient = parsed(section, { [key]: "x" }, true);
        t.match(lenient, { kind: "valid", ignored: [{ message: new RegExp(`${key}\``) }] });
        t.equal(lenient.kind === "valid" && lenient.ignored.length, 1);
      });
    }
  }
});
