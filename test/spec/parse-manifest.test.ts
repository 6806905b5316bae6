import t from "tap";
import { serviceSpecSchema } from "../../src/spec/index.ts";
import { problemsOf, valid, web, webFile } from "./parse.ts";

t.test("A small service", async (t) => {
  t.test("gets every default", async (t) => {
    const { namespace, services, ignored } = valid("services: {web: {image: web}}");
    t.strictSame({ namespace, ignored }, { namespace: "default", ignored: [] });
    t.strictSame(services, [
      {
        namespace: "default",
        name: "web",
        labels: {},
        mode: { kind: "replicated", replicas: 1 },
        template: {
          image: "web",
          environment: {},
          labels: {},
          exposedPorts: [],
          hostPorts: [],
          mounts: [],
          init: false,
          readOnlyRoot: false,
          capAdd: [],
          capDrop: [],
          limits: {},
          reservations: {},
          restart: { condition: "any", delayMs: 0, windowMs: 0 },
          stopGracePeriodMs: 10_000,
        },
        ports: [],
        ingress: [],
        update: {
          parallelism: 1,
          delayMs: 0,
          order: "start-first",
          monitorMs: 5_000,
          failureAction: "rollback",
          maxFailureRatio: 0,
        },
        placement: { constraints: [] },
      },
    ]);
  });

  t.test("fits the schema of the cluster, whatever it says", async (t) => {
    const text = `
name: shop
services:
  web:
    image: registry.example.com:5000/team/web:1.4@sha256:${"a".repeat(64)}
    entrypoint: /bin/tini --
    command: ["serve", "--port", "80"]
    environment: {A: 1}
    working_dir: /srv
    user: 1000
    hostname: web
    labels: [a=b, c]
    ports: ["8080:80", "81", {target: 82, published: 8082, mode: host}]
    expose: [90-91]
    volumes: [data:/data, /etc/ssl:/ssl:ro, /cache]
    tmpfs: [/run]
    init: true
    read_only: true
    cap_add: [cap_net_admin]
    cap_drop: [ALL]
    healthcheck: {test: ["CMD", "true"], interval: 5s}
    x-ingress: ["*.example.com/api:80"]
    stop_signal: int
    stop_grace_period: 1m
    deploy:
      mode: global
      labels: {tier: front}
      update_config: {parallelism: 2, delay: 5s, order: start-first, monitor: 1s, failure_action: rollback, max_failure_ratio: 0.2}
      restart_policy: {condition: on-failure, delay: 2s, max_attempts: 3, window: 1m}
      resources: {limits: {cpus: "1.5", memory: 256M}, reservations: {cpus: "0.25", memory: 128M}}
      placement: {constraints: ["node.labels.disk==ssd", "node.platform.arch != arm64"], max_replicas_per_node: 1}
volumes:
  data:
`;
    const [service] = valid(text).services;
    t.strictSame(serviceSpecSchema.parse(service), service);
    t.match(service, {
      namespace: "shop",
      labels: { tier: "front" },
      mode: { kind: "global" },
      template: {
        entrypoint: ["/bin/tini", "--"],
        command: ["serve", "--port", "80"],
        user: "1000",
        labels: { a: "b", c: "" },
        exposedPorts: [80, 81, 82, 90, 91],
        hostPorts: [{ target: 81 }, { target: 82, published: 8082 }],
        mounts: [
          { kind: "volume", target: "/cache" },
          { kind: "volume", source: "shop_data", target: "/data", readOnly: false },
          { kind: "tmpfs", target: "/run" },
          { kind: "bind", source: "/etc/ssl", target: "/ssl", readOnly: true },
        ],
        capAdd: ["NET_ADMIN"],
        limits: { cpuMillis: 1_500, memoryBytes: 256 * 2 ** 20 },
        reservations: { cpuMillis: 250, memoryBytes: 128 * 2 ** 20 },
        restart: { condition: "on-failure", delayMs: 2_000, maxAttempts: 3, windowMs: 60_000 },
        stopSignal: "SIGINT",
        stopGracePeriodMs: 60_000,
      },
      ports: [{ target: 80, published: 8080, protocol: "tcp", mode: "ingress" }],
      ingress: [{ host: "*.example.com", path: "/api", port: 80 }],
      placement: {
        constraints: [
          { key: "node.labels.disk", operator: "==", value: "ssd" },
          { key: "node.platform.arch", operator: "!=", value: "arm64" },
        ],
        maxReplicasPerNode: 1,
      },
    });
  });
});

t.test("Ports", async (t) => {
  const base = { protocol: "tcp", appProtocol: "auto" };
  const cases: readonly (readonly [lines: string, ingress: unknown, host: unknown])[] = [
    ['["8080:80"]', [{ ...base, target: 80, published: 8080, mode: "ingress" }], []],
    ["[8080:80]", [{ ...base, target: 80, published: 8080, mode: "ingress" }], []],
    ["[80]", [], [{ ...base, target: 80, mode: "host" }]],
    ['["0:80"]', [], [{ ...base, target: 80, mode: "host" }]],
    ['["80/udp"]', [], [{ ...base, target: 80, protocol: "udp", mode: "host" }]],
    [
      '["8000-8001:80-81"]',
      [
        { ...base, target: 80, published: 8000, mode: "ingress" },
        { ...base, target: 81, published: 8001, mode: "ingress" },
      ],
      [],
    ],
    ["[{target: 80}]", [], [{ ...base, target: 80, mode: "host" }]],
    [
      "[{target: 80, published: 8080, mode: host}]",
      [],
      [{ ...base, target: 80, published: 8080, mode: "host" }],
    ],
    [
      '[{target: 80, published: "8080", app_protocol: http, protocol: tcp}]',
      [{ ...base, target: 80, published: 8080, mode: "ingress", appProtocol: "http" }],
      [],
    ],
  ];
  for (const [lines, ingress, host] of cases) {
    t.test(lines, async (t) => {
      const service = web(`ports: ${lines}`);
      t.strictSame({ ingress: service.ports, host: service.template.hostPorts }, { ingress, host });
    });
  }

  t.test("two services may bind one port in mode `host`, on different nodes", async (t) => {
    const port = "{image: a, ports: [{target: 80, published: 8080, mode: host}]}";
    t.strictSame(problemsOf(`services: {a: ${port}, b: ${port}}`), []);
  });
});

t.test("Ingress rules", async (t) => {
  const cases: readonly (readonly [lines: string, expected: unknown])[] = [
    ['["a.example.com:80"]', [{ host: "a.example.com", path: "/", port: 80 }]],
    ['["A.Example.com/Api:80"]', [{ host: "a.example.com", path: "/Api", port: 80 }]],
    ["a.localhost/x", [{ host: "a.localhost", path: "/x", port: 9000 }]],
    ["[{host: a, path: /x}]", [{ host: "a", path: "/x", port: 9000 }]],
    ["[{host: a, port: 80}]", [{ host: "a", path: "/", port: 80 }]],
  ];
  for (const [lines, expected] of cases) {
    t.test(lines, async (t) => {
      const service = web(`expose: [9000]\nx-ingress: ${lines}`);
      t.strictSame(service.ingress, expected);
      t.ok(service.template.exposedPorts.includes(service.ingress[0]?.port ?? 0));
    });
  }

  t.test("in uncloud's words", async (t) => {
    const { ingress } = web('x-ports: ["a.example.com:80/http"]');
    t.strictSame(ingress, [{ host: "a.example.com", path: "/", port: 80 }]);
  });
});

t.test("Health checks", async (t) => {
  const shell = (line: string) => ({ kind: "command", argv: ["/bin/sh", "-c", line] });
  const cases: readonly (readonly [lines: string, test: unknown])[] = [
    ["healthcheck: {test: curl -f localhost}", shell("curl -f localhost")],
    ['healthcheck: {test: ["CMD-SHELL", "a || b"]}', shell("a || b")],
    ['healthcheck: {test: ["CMD", "a", "b"]}', { kind: "command", argv: ["a", "b"] }],
    ["healthcheck: {test: [NONE]}", undefined],
    ["healthcheck: {disable: true}", undefined],
    ['x-healthcheck: {http: ":80/a?b"}', { kind: "http", port: 80, path: "/a?b" }],
    ["x-healthcheck: {http: 80}", { kind: "http", port: 80, path: "/" }],
    ['x-healthcheck: {tcp: ":5432"}', { kind: "tcp", port: 5_432 }],
    ["x-healthcheck: {tcp: 5432}", { kind: "tcp", port: 5_432 }],
  ];
  for (const [lines, test] of cases) {
    t.test(lines, async (t) => {
      t.strictSame(web(lines).template.healthCheck?.test, test);
    });
  }

  t.test("have Docker's timing unless they say otherwise", async (t) => {
    t.match(web("healthcheck: {test: a}").template.healthCheck, {
      intervalMs: 30_000,
      timeoutMs: 30_000,
      retries: 3,
      startPeriodMs: 0,
      startIntervalMs: 5_000,
    });
  });

  t.test("by the daemon expose their port, so that it can be reached", async (t) => {
    t.strictSame(web('x-healthcheck: {tcp: ":5432"}').template.exposedPorts, [5_432]);
  });
});

t.test("Restart policies", async (t) => {
  const base = { delayMs: 0, windowMs: 0 };
  const cases: readonly (readonly [lines: string, expected: unknown])[] = [
    ["restart: no", { ...base, condition: "none" }],
    ["restart: always", { ...base, condition: "any" }],
    ["restart: unless-stopped", { ...base, condition: "any" }],
    ["restart: on-failure", { ...base, condition: "on-failure" }],
    ["restart: on-failure:3", { ...base, condition: "on-failure", maxAttempts: 3 }],
    [
      "restart: no\ndeploy: {restart_policy: {delay: 1s}}",
      { condition: "any", delayMs: 1_000, windowMs: 0 },
    ],
  ];
  for (const [lines, expected] of cases) {
    t.test(lines.replace("\n", ", "), async (t) => {
      t.strictSame(web(lines).template.restart, expected);
    });
  }
});

t.test(
  "Updates start the new task first, unless two tasks cannot share what they hold",
  async (t) => {
    const cases: readonly (readonly [lines: string, order: string])[] = [
      ["volumes: [/srv:/data]", "start-first"],
      ["volumes: [/data]", "start-first"],
      ["ports: [80]", "start-first"],
      ["volumes: [data:/data]", "stop-first"],
      ["ports: [{target: 80, published: 80, mode: host}]", "stop-first"],
      ["volumes: [data:/data]\ndeploy: {update_config: {order: start-first}}", "start-first"],
    ];
    for (const [lines, order] of cases) {
      const text = `${webFile(lines)}volumes: {data: {}}`;
      t.equal(valid(text).services[0]?.update.order, order, lines);
    }
  },
);

t.test("Volumes are named after the namespace, unless they have a name of their own", async (t) => {
  const text = (volume: string) => `${webFile("volumes: [data:/data]")}volumes: {data: ${volume}}`;
  const cases: readonly (readonly [volume: string, source: string])[] = [
    ["", "shop_data"],
    ["{driver: local}", "shop_data"],
    ["{name: other}", "other"],
    ["{external: true}", "data"],
    ["{external: true, name: other}", "other"],
  ];
  for (const [volume, source] of cases) {
    const [service] = valid(text(volume), { projectName: "shop" }).services;
    t.equal(service?.template.mounts[0]?.source, source, volume);
  }
});

t.test("The namespace", async (t) => {
  const named = "name: file\nservices: {a: {image: a}}";
  const unnamed = "services: {a: {image: a}}";
  t.equal(valid(named, { projectName: "Flag!", directory: "d" }).namespace, "flag");
  t.equal(valid(named, { directory: "d" }).namespace, "file");
  t.equal(valid(unnamed, { directory: "_My App.2" }).namespace, "myapp2");
  t.equal(valid(unnamed, { directory: "!" }).namespace, "default");
  t.equal(valid(unnamed, { directory: "a" }).services[0]?.namespace, "a");
});

t.test("The namespace is a variable for the manifest", async (t) => {
  const service = "services: {web: {image: 'a:1', hostname: $COMPOSE_PROJECT_NAME}}";
  const hostname = (text: string, options = {}) =>
    valid(text, options).services[0]?.template.hostname;
  t.equal(hostname(`name: shop # ours\n${service}`), "shop");
  t.equal(hostname(`name: "\${A}-x"\n${service}`, { environment: { A: "b" } }), "b-x");
  t.equal(hostname(`name: shop\n${service}`, { projectName: "other" }), "other");
  t.equal(hostname(service, { directory: "Here" }), "here");
});

t.test("YAML", async (t) => {
  t.test("anchors, aliases and merge keys are followed", async (t) => {
    const text = `
x-base: &base
  image: base:1
  init: true
  environment: &env {A: "1", B: "1"}
x-more: &more {read_only: true, init: false}
services:
  a: {<<: [*base, *more], image: own:1}
  b:
    <<: *base
    environment: {<<: *env, B: "2"}
`;
    const [a, b] = valid(text).services;
    t.match(a?.template, { image: "own:1", init: true, readOnlyRoot: true });
    t.strictSame(a?.template.environment, { A: "1", B: "1" });
    t.match(b?.template, { image: "base:1", environment: { A: "1", B: "2" } });
  });

  t.test("the order of services does not matter", async (t) => {
    const { services } = valid("services: {b: {image: b}, a: {image: a}}");
    t.strictSame(
      services.map(({ name }) => name),
      ["a", "b"],
    );
  });

  t.test("numbers may come from variables", async (t) => {
    const service = web("deploy: {replicas: $N}\ninit: $INIT", {
      environment: { N: "4", INIT: "true" },
    });
    t.strictSame(service.mode, { kind: "replicated", replicas: 4 });
    t.equal(service.template.init, true);
  });
});

t.test("What is ignored is listed", async (t) => {
  const lines =
    "attach: true\nx-ingres: [a]\nx-anything: 1\ndeploy: {x-y: 1, resources: {reservations: {devices: []}}}";
  const text = `version: "3"\n${webFile(lines)}`;
  t.strictSame(valid(text, { allowIgnored: true }).ignored, [
    "c.yaml:1:1: `version` has no effect",
    "c.yaml:5:5: `attach` is not supported yet, and is ignored",
    "c.yaml:6:5: `x-ingres` has no effect; did you mean `x-ingress`?",
    "c.yaml:8:49: `deploy.resources.reservations.devices` is not supported yet, and is ignored",
  ]);
  t.equal(problemsOf(text).length, 2);
  t.equal(
    problemsOf(webFile("zzz: 1"), { allowIgnored: true }).length,
    1,
    "unknown keys stay errors",
  );
});

t.test("Several files", async (t) => {
  const base = `
name: base
services:
  web:
    image: web:1
    command: [a, b]
    environment: [A=1, B=1]
    labels: {l: base}
    expose: [80]
    ports: ["8080:80"]
    volumes: [data:/data, /etc/a:/a]
    healthcheck: {test: base, interval: 5s}
    deploy: {replicas: 2, placement: {constraints: [node.id == a]}}
  db: {image: db:1}
volumes: {data: }
`;
  const over = `
services:
  web:
    image: web:2
    command: c
    environment: {B: "2", C: "2"}
    expose: [81]
    ports: [{target: 80, published: 8080, app_protocol: http}, "9090:90"]
    volumes: [/srv:/data]
    healthcheck: {test: over}
    deploy: {replicas: 3, placement: {constraints: [node.id != b]}}
  db:
  cache: {image: cache:1}
`;
  const files = [
    { name: "base.yaml", text: base },
    { name: "over.yaml", text: over },
  ];

  t.test("merge by the rules of Compose", async (t) => {
    const { namespace, services } = valid("", { files });
    t.equal(namespace, "base");
    t.strictSame(
      services.map(({ name }) => name),
      ["cache", "db", "web"],
    );
    const service = services[2];
    t.match(service?.template, {
      image: "web:2",
      command: ["c"],
      environment: { A: "1", B: "2", C: "2" },
      labels: { l: "base" },
      exposedPorts: [80, 81, 90],
      mounts: [
        { kind: "bind", source: "/etc/a", target: "/a" },
        { kind: "bind", source: "/srv", target: "/data" },
      ],
      healthCheck: { test: { argv: ["/bin/sh", "-c", "over"] }, intervalMs: 5_000 },
    });
    t.match(service?.ports, [
      { published: 8080, target: 80, appProtocol: "http" },
      { published: 9090, target: 90, appProtocol: "auto" },
    ]);
    t.strictSame(service?.mode, { kind: "replicated", replicas: 3 });
    t.equal(service?.placement.constraints.length, 2);
  });

  t.test("problems name the file they are in", async (t) => {
    const wrong = [...files, { name: "wrong.yaml", text: "services: {web: {scale: x}}" }];
    t.strictSame(problemsOf("", { files: wrong }), [
      'wrong.yaml:1:25: `scale` must be a whole number from 0 to 10000, not the text "x"',
    ]);
  });

  t.test("nothing is said about the rest while one file cannot be read", async (t) => {
    const wrong = [
      { name: "wrong.yaml", text: "a: [" },
      { name: "x.yaml", text: "zzz: 1" },
    ];
    t.match(problemsOf("", { files: wrong }), [/^wrong.yaml:1:5: this is not valid YAML/]);
    t.equal(problemsOf("", { files: wrong }).length, 1);
  });

  t.test("no file at all is a problem", async (t) => {
    t.strictSame(problemsOf("", { files: [] }), ["compose.yaml:1:1: there is no file to read"]);
  });
});
