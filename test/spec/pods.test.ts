import t, { type Test } from "tap";
import { renderManifestText } from "../../src/spec/index.ts";
import { problemsOf, valid } from "./parse.ts";

/** The services of a file, by name, and as they are when the file is exported and read again. */
function read(services: string) {
  const { services: before, namespace, extensions } = valid(`name: shop\nservices:\n${services}`);
  const again = valid(renderManifestText({ namespace, services: before, extensions }));
  return { services: before, again: again.services };
}

const completed = "{condition: service_completed_successfully}";

/** Where the problem stands, there is a `^` before it. */
type Case = { readonly services: string; readonly problem: string };

function check(t: Test, { services, problem }: Case): void {
  t.test(problem, async (t) => {
    const marked = `services:\n ${services}`;
    const before = marked.slice(0, marked.indexOf("^")).split("\n");
    const place = `${before.length}:${(before.at(-1) ?? "").length + 1}`;
    t.strictSame(problemsOf(marked.replace("^", "")), [`c.yaml:${place}: ${problem}`]);
  });
}

t.test("Services on another's network are one pod with it", async (t) => {
  const { services, again } = read(`
  sidecar: {image: "sidecar:1", network_mode: "service:web", ports: ["9000:9000"], x-healthcheck: {tcp: ":9001"}, deploy: {resources: {reservations: {memory: 64M}}}}
  web: {image: "web:1", ports: ["8080:80", {target: 81, mode: host}], deploy: {replicas: 3, resources: {reservations: {memory: 128M}}}}
  exporter: {image: "exporter:1", network_mode: "service:sidecar", restart: on-failure}
  other: {image: "other:1"}`);
  t.strictSame(
    services.map(({ name }) => name),
    ["other", "web"],
  );
  const web = services[1];
  t.match(web, {
    mode: { kind: "replicated", replicas: 3 },
    ports: [{ published: 8080 }, { published: 9000 }],
    template: {
      image: "web:1",
      exposedPorts: [80, 81, 9000, 9001],
      hostPorts: [{ target: 81 }],
      pod: {
        main: "web",
        others: [
          {
            name: "sidecar",
            role: "companion",
            exposedPorts: [],
            reservations: { memoryBytes: 64 * 2 ** 20 },
            restart: { condition: "any" },
          },
          { name: "exporter", restart: { condition: "on-failure" } },
        ],
      },
    },
  });
  t.strictSame(again, services);
});

t.test("Services with one `x-pod` are one pod", async (t) => {
  t.test("those that others wait for run before all, in order", async (t) => {
    const { services, again } = read(`
  web: {image: "web:1", x-pod: app, depends_on: {second: {condition: service_completed_successfully}}}
  second: {image: "second:1", x-pod: app, restart: "no", depends_on: {first: {condition: service_completed_successfully}}}
  first: {image: "first:1", x-pod: app}
  late: {image: "late:1", x-pod: app, volumes_from: [web:ro, first], x-team: birds}`);
    t.strictSame(
      services.map(({ name }) => name),
      ["app"],
    );
    t.match(services[0], {
      mode: { kind: "replicated" },
      template: {
        image: "web:1",
        pod: {
          main: "web",
          others: [
            { name: "first", role: "init" },
            { name: "second", role: "init" },
            {
              name: "late",
              role: "companion",
              volumesFrom: [
                { container: "web", readOnly: true },
                { container: "first", readOnly: false },
              ],
            },
          ],
        },
      },
      containerExtensions: { late: { "x-team": "birds" } },
    });
    t.strictSame(again, services);
  });

  t.test("what waits for another one starts after it, and is no main container", async (t) => {
    const { services, again } = read(`
  web: {image: "web:1", x-pod: app, depends_on: {proxy: {condition: service_healthy}}, deploy: {replicas: 2}}
  proxy: {image: "proxy:1", x-pod: app, healthcheck: {test: "true"}}
  b: {image: "b:1", x-pod: app}
  a: {image: "a:1", x-pod: app, depends_on: [b]}`);
    t.match(services[0], {
      mode: { replicas: 2 },
      template: {
        image: "proxy:1",
        pod: {
          main: "proxy",
          others: [{ name: "b" }, { name: "a" }, { name: "web", startsAfterHealthy: ["proxy"] }],
        },
      },
    });
    t.strictSame(again, services);
  });

  t.test("one alone is a service of that name", async (t) => {
    const { services, again } = read(`
  web: {image: "web:1", x-pod: app}`);
    t.match(services[0], { name: "app", template: { image: "web:1", pod: undefined } });
    t.strictSame(again, services);
  });

  t.test("a job's companions need not run for ever", async (t) => {
    const { services, again } = read(`
  work: {image: "work:1", deploy: {mode: replicated-job}}
  always: {image: "a:1", network_mode: "service:work", restart: always}
  helper: {image: "b:1", network_mode: "service:work"}`);
    t.match(services[0]?.template.pod?.others, [
      { name: "always", restart: { condition: "any" } },
      { name: "helper", restart: { condition: "on-failure" } },
    ]);
    t.strictSame(again, services);
  });

  t.test("a volume of any container makes the pod stop before its successor starts", async (t) => {
    const { services } = valid(`
services:
  web: {image: "web:1"}
  db: {image: "db:1", network_mode: "service:web", volumes: ["data:/data"]}
volumes: {data: {}}`);
    t.equal(services[0]?.update.order, "stop-first");
  });
});

t.test("`depends_on` names what comes first", async (t) => {
  const { services, again } = read(`
  web: {image: "web:1", depends_on: {db: {condition: service_healthy, restart: true}, cache: {required: false}, gone: {required: false}, migrate: {condition: service_completed_successfully}}}
  db: {image: "db:1", healthcheck: {test: "true"}}
  api: {image: "api:1", depends_on: [db, side]}
  cache: {image: "cache:1"}
  side: {image: "side:1", network_mode: "service:cache", depends_on: {db: {condition: service_healthy}}}
  migrate: {image: "migrate:1"}`);
  const found = Object.fromEntries(services.map((each) => [each.name, each]));
  const plain = { isRequired: true, restart: false } as const;
  t.strictSame(found["web"]?.dependsOn, [
    { service: "cache", condition: "started", isRequired: false, restart: false },
    { service: "db", condition: "healthy", isRequired: true, restart: true },
    { service: "migrate", condition: "completed", ...plain },
  ]);
  t.strictSame(found["api"]?.dependsOn, [
    { service: "cache", condition: "started", ...plain },
    { service: "db", condition: "started", ...plain },
  ]);
  t.strictSame(found["cache"]?.dependsOn, [{ service: "db", condition: "healthy", ...plain }]);
  t.equal(found["migrate"]?.mode.kind, "replicated-job", "what has to complete is a job");
  t.equal(found["db"]?.dependsOn, undefined);
  t.strictSame(again, services);

  t.test("in several files they add up", async (t) => {
    const files = [
      "services: {web: {image: w, depends_on: [a]}, a: {image: a, healthcheck: {test: x}}, b: {image: b}}",
      "services: {web: {depends_on: {a: {condition: service_healthy}, b: {}}}}",
    ];
    const { services } = valid("", {
      files: files.map((text, i) => ({ name: `${i}.yaml`, text })),
    });
    t.match(services.find(({ name }) => name === "web")?.dependsOn, [
      { service: "a", condition: "healthy" },
      { service: "b", condition: "started" },
    ]);
  });

  t.test("is refused where it cannot be waited for", async (t) => {
    const cases: readonly Case[] = [
      {
        services: "web: {image: w, depends_on: [^dbb]}\n db: {image: d}",
        problem: "there is no service `dbb`; did you mean `db`?",
      },
      {
        services: "web: {image: w, depends_on: [^web]}",
        problem: "these wait for each other: `web` -> `web`; take one of them out",
      },
      {
        services:
          "a: {image: w, depends_on: [^b]}\n b: {image: w, depends_on: [c]}\n c: {image: w, depends_on: [a]}",
        problem: "these wait for each other: `a` -> `b` -> `c` -> `a`; take one of them out",
      },
      {
        services: "a: {image: w, depends_on: {^b: {condition: service_healthy}}}\n b: {image: w}",
        problem:
          "`b` has no health check, so it never becomes healthy; add `healthcheck` to it (that of its image is not used), or wait for `service_started`",
      },
      {
        services: `a: {image: w, depends_on: {^b: ${completed}}}\n b: {image: w, deploy: {mode: global}}`,
        problem:
          "`b` runs all the time, so it never completes; write `deploy: {mode: replicated-job}` at it",
      },
      {
        services: "a: {image: w, depends_on: [^b]}\n b: {image: w, profiles: [debug]}",
        problem:
          "the service `b` is left out, because its profile is not asked for; ask for it with `--profile`, or write `required: false`",
      },
      {
        services: "a: {image: w, depends_on: {b: {condition: ^ready}}}\n b: {image: w}",
        problem:
          '`depends_on.b.condition` must be `service_started`, `service_healthy` or `service_completed_successfully`, not the text "ready"',
      },
      {
        services: "a: {image: w, depends_on: ^b}\n b: {image: w}",
        problem:
          '`depends_on` must be a list of names, or a map from names to maps, not the text "b"',
      },
    ];
    for (const each of cases) check(t, each);
  });
});

t.test("What cannot be a pod is refused with its place", async (t) => {
  const cases: readonly Case[] = [
    {
      services: "web: {image: w, network_mode: ^'service:db'}",
      problem: "there is no service `db`",
    },
    {
      services: "a: {image: w, network_mode: ^host}",
      problem: "`network_mode: host` is not supported yet; `network_mode: service:NAME` is",
    },
    {
      services:
        "a: {image: w, network_mode: ^'service:b'}\n b: {image: w, network_mode: 'service:a'}",
      problem: "these wait for each other: `a` -> `b` -> `a`; take one of them out",
    },
    {
      services: "a: {image: w}\n b: {image: w, network_mode: 'service:a', hostname: ^x}",
      problem: "`hostname` cannot be set here, because the network is that of `a`; set it there",
    },
    {
      services:
        "a: {image: w, deploy: {replicas: 2}}\n b: {image: w, network_mode: 'service:a', deploy: {^replicas: 2}}",
      problem:
        "`deploy.replicas` is said of the whole pod, whose other such keys stand at `a`; move it there",
    },
    {
      services:
        "a: {image: w}\n b: {image: w, network_mode: 'service:a', restart: ^'on-failure:3'}",
      problem:
        "the pod of `a` is started again as a whole, so a container has no attempts of its own; write `on-failure`",
    },
    {
      services: "a: {image: w, volumes_from: [^b]}\n b: {image: w}",
      problem: "`b` is not a container of the same pod; put both in one with `x-pod: NAME`",
    },
    {
      services: "a: {image: w, volumes_from: [^'container:b']}",
      problem: "`container:b` is not a container of the pod; write `NAME` or `NAME:ro`",
    },
    {
      services: "a: {image: w, x-pod: ^p}\n p: {image: w}",
      problem:
        "`p` is the name of a pod and of a service that is not in it; name the pod otherwise",
    },
    {
      services: "a: {image: w, x-pod: ^'A B'}",
      problem:
        "`A B` cannot be the name of a pod; names are at most 63 lower-case letters, digits and `-`",
    },
    {
      services: "a: {image: w, x-pod: p}\n b: {image: w, x-pod: ^q, network_mode: 'service:a'}",
      problem:
        "`q` is one pod with `p`; name it the same, or take one of them off the other's network",
    },
    {
      services: `a: {image: w, x-pod: p, depends_on: {b: ${completed}}}\n b: {image: w, x-pod: p, ports: ^['80']}`,
      problem: "`b` runs to its end before the others of its pod, so `ports` means nothing",
    },
    {
      services: `a: {image: w, x-pod: p, depends_on: {b: ${completed}}}\n b: {image: w, x-pod: p, restart: ^always}`,
      problem:
        "`b` runs to its end before the others of its pod, so it cannot be started again always; write `on-failure`",
    },
    {
      services: `a: {image: w, x-pod: p}\n b: {image: w, x-pod: p, network_mode: ^'service:a'}\n c: {image: w, x-pod: p, depends_on: {b: ${completed}}}`,
      problem:
        "`b` runs to its end before the others of its pod, so it cannot be on the network of one of them; write `x-pod: NAME` at all of them",
    },
  ];
  for (const each of cases) check(t, each);
});
