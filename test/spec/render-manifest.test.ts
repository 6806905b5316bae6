import t from "tap";
import { parse, stringify } from "yaml";
import { parseManifest, renderManifestText } from "../../src/spec/index.ts";
import { keyTable } from "../../src/spec/key-table.ts";
import { valid } from "./parse.ts";

function rendered(text: string) {
  const { namespace, services, extensions } = valid(text);
  const file = renderManifestText({ namespace, services, extensions });
  return { before: services, after: valid(file), namespace, file };
}

t.test("A rendered manifest means the same", async (t) => {
  for (const [key, rule] of Object.entries(keyTable.service)) {
    const isFile = ["env_file", "label_file", "extends", "profiles"].includes(key);
    if (rule.status !== "supported" || isFile) continue;
    t.test(`with \`${key}\``, async (t) => {
      const web = {
        image: "web:1",
        ...(key === "x-job" && { deploy: { mode: "replicated-job", replicas: 20 } }),
        ...(key === "volumes_from" && { network_mode: "service:api" }),
        ...(key === "memswap_limit" && { mem_limit: "9m" }),
        ...(key === "x-job" && { deploy: { mode: "replicated-job", replicas: 5 } }),
        ...Object.fromEntries([[key, parse(rule.example)]]),
      };
      const { before, after } = rendered(
        stringify({ name: "shop", services: { web, api: { image: "api:1" } } }),
      );
      t.strictSame(after.services, before);
      t.equal(after.namespace, "shop");
    });
  }

  const cases: readonly { readonly name: string; readonly lines: string }[] = [
    { name: "dollar signs", lines: "environment: {A: '$$X $$$$ ${B:-c}'}\ncommand: echo $$HOME" },
    {
      name: "texts that look like something else",
      lines:
        'environment: {A: "yes", B: "1.10", C: "0o17", D: "1:30", E: "null", F: "", G: "2026-01-01", on: "off", H: " x ", I: "a\\nb", J: "=", K: "~"}',
    },
    { name: "an empty command", lines: "command: []\nentrypoint: []" },
    {
      name: "every kind of port",
      lines:
        'ports: ["80", "8080:80", "53:53/udp", {target: 90, published: 9090, mode: host, app_protocol: http}]\nexpose: ["80", "3000"]',
    },
    {
      name: "every kind of mount",
      lines:
        "volumes: [data:/a, other:/b:ro, /c, {type: bind, source: /srv, target: /d, bind: {propagation: shared}}, {type: volume, source: data, target: /e, volume: {nocopy: true}}]\ntmpfs: [/f, '/g:size=1m,mode=0750,ro']",
    },
    {
      name: "every part of a health check",
      lines:
        "healthcheck: {test: curl -f x, interval: 1s, timeout: 500ms, retries: 9, start_period: 1m, start_interval: 2s}",
    },
    { name: "an HTTP check", lines: 'x-healthcheck: {http: ":80/h?a=$$b", start_interval: 1s}' },
    ...["any", "none", "on-failure"].flatMap((condition) =>
      ["", ", delay: 1s", ", max_attempts: 3", ", window: 1m"].map((more) => ({
        name: `restart ${condition}${more}`,
        lines: `deploy: {restart_policy: {condition: ${condition}${more}}}`,
      })),
    ),
    ...["none}", "on-failure, max_attempts: 7}", "on-failure, delay: 3s}"].map((policy) => ({
      name: `a job with ${policy}`,
      lines: `deploy: {mode: replicated-job, replicas: 4, restart_policy: {condition: ${policy}}\nx-job: {parallelism: 2}`,
    })),
    {
      name: "a schedule in full",
      lines:
        "deploy: {mode: global-job}\nx-schedule: {cron: '*/5 * * * *', timezone: Europe/Berlin, overlap: allow, suspend: true}",
    },
    {
      name: "preferences, packed",
      lines:
        "deploy: {placement: {preferences: [{spread: node.labels.zone}, {spread: node.id}]}}\nx-placement: {strategy: pack}",
    },
    {
      name: "deploy in full",
      lines:
        'deploy: {replicas: 4, labels: {a: $$b}, update_config: {parallelism: 0, delay: 1s, order: stop-first, monitor: 0s, failure_action: continue, max_failure_ratio: 0.25}, rollback_config: {parallelism: 2, delay: 3s, order: start-first, monitor: 1s, failure_action: pause, max_failure_ratio: 0.5}, resources: {limits: {cpus: "0.125", memory: 6291457b, pids: 9}, reservations: {cpus: "0.1", memory: 1k}}, placement: {constraints: ["node.labels.a == b", "node.hostname != c"], max_replicas_per_node: 2}}',
    },
    {
      name: "keys of others with nothing in them",
      lines: "x-app-protocol: []\nx-note: {}\nx-none:",
    },
    { name: "a fence", lines: "x-failover: {after: 90s, fence: true}" },
    { name: "an original to keep", lines: "x-failover: {reconnect: keep-original}" },
    {
      name: "unhealthy containers that are kept",
      lines: "healthcheck: {test: curl -f x, x-keep-unhealthy: true}",
    },
    {
      name: "containers kept that a probe finds unhealthy",
      lines: 'x-healthcheck: {tcp: ":80", keep-unhealthy: true}',
    },
    { name: "blue-green", lines: "x-update: {strategy: blue-green, keep: 90s}" },
    {
      name: "a canary in full",
      lines: "x-update: {strategy: canary, canary: 12.5%, bake: 0s, pause: true}",
    },
    { name: "a canary of some", lines: "x-update: {strategy: canary, canary: 3}" },
    { name: "platform and machines", lines: "platform: linux/arm64/v8\nx-machines: [b, a]" },
    { name: "other keys of its own", lines: "x-mine: {a: [1, true, null, $$x]}\nx-more: text" },
  ];
  for (const { name, lines } of cases) {
    t.test(`with ${name}`, async (t) => {
      const indented = lines.split("\n").map((line) => `    ${line}`);
      const volumes = "volumes: {data: {}, other: {name: shared-by-all}}\nx-top: {a: 1}";
      const head = ["name: shop", "services:", "  web:", "    image: web:1"];
      const { before, after } = rendered([...head, ...indented, volumes].join("\n"));
      t.strictSame(after.services, before);
      t.strictSame(after.extensions, { "x-top": { a: 1 } });
    });
  }

  t.test("with global services", async (t) => {
    const { before, after } = rendered("services: {a: {image: a, deploy: {mode: global}}}");
    t.strictSame(after.services, before);
  });
});

t.test("A rendered manifest leaves defaults out", async (t) => {
  const { file } = rendered("name: shop\nservices: {web: {image: 'web:1'}}");
  t.equal(file, "x-namespace: shop\nservices:\n  web:\n    image: web:1\n");
});

t.test("Volumes keep their names, whatever these are", async (t) => {
  const text =
    "name: shop\nservices: {a: {image: a, volumes: [x:/x, y:/y, z:/z]}}\nvolumes: {x: {}, y: {name: x}, z: {name: 'odd/$$name'}}";
  const { before, after } = rendered(text);
  t.strictSame(after.services, before);
  t.strictSame(
    before[0]?.template.mounts.map(({ source }) => source),
    ["shop_x", "x", "odd/$name"],
  );
});

t.test("The rendered file is the same whatever the order of the keys was", async (t) => {
  const render = (text: string) => {
    const parsed = parseManifest({ files: [{ name: "c.yaml", text }], environment: {} });
    return parsed.kind === "valid" ? renderManifestText(parsed.manifest) : parsed.problems;
  };
  t.strictSame(
    render("services: {b: {image: b, init: true}, a: {environment: {Z: 1, A: 2}, image: a}}"),
    render("services: {a: {image: a, environment: {A: 2, Z: 1}}, b: {init: true, image: b}}"),
  );
});
