import t from "tap";
import type { ServiceSpec } from "../../src/spec/index.ts";
import { problemsOf, valid } from "./parse.ts";

type Files = Readonly<Record<string, string>>;

const reading = (files: Files) => ({
  readFile: (path: string) => files[path.replace(/^\.\//, "")],
});

function servicesOf(
  text: string,
  files: Files = {},
  options = {},
): ReadonlyMap<string, ServiceSpec> {
  const { services } = valid(text, { ...reading(files), ...options });
  return new Map(services.map((service) => [service.name, service]));
}

const several = (...texts: readonly string[]) => ({
  files: texts.map((text, index) => ({ name: `${"abc".charAt(index)}.yaml`, text })),
});

t.test("A later file", async (t) => {
  const base =
    "services: {web: {image: 'w:1', environment: {A: '1', B: '1'}, ports: ['80:80'], command: [a], deploy: {replicas: 2, labels: {a: b}}}, old: {image: 'o:1'}}";
  const merged = (over: string) => servicesOf("", {}, several(base, over));

  t.test("takes a key away with !reset", async (t) => {
    const web = merged(
      "services: {web: {ports: !reset [], command: !reset null, environment: {A: !reset}, deploy: {labels: !reset {}}}, old: !reset {}}",
    );
    t.strictSame([...web.keys()], ["web"]);
    t.strictSame(web.get("web")?.ports, []);
    t.strictSame(web.get("web")?.template.environment, { B: "1" });
    t.strictSame(web.get("web")?.labels, {});
    t.equal(web.get("web")?.template.command, undefined);
    t.match(web.get("web")?.mode, { replicas: 2 });
  });

  t.test("replaces what would be merged with !override", async (t) => {
    const web = merged(
      "services: {web: {ports: !override ['81:81'], environment: !override {C: '3'}, deploy: !override {replicas: 5}}}",
    ).get("web");
    t.match(web?.ports, [{ published: 81 }]);
    t.equal(web?.ports.length, 1);
    t.strictSame(web?.template.environment, { C: "3" });
    t.strictSame(web?.labels, {});
    t.match(web?.mode, { replicas: 5 });
  });

  t.test("says with !reset of what is not there nothing", async (t) => {
    const web = servicesOf(
      "services: {web: {image: 'w:1', labels: !reset {a: b}, dns: [!reset 9.9.9.9, 8.8.8.8]}}",
    );
    t.strictSame(web.get("web")?.template.labels, {});
    t.strictSame(web.get("web")?.template.engine, { dnsServers: ["8.8.8.8"] });
  });

  t.test("replaces the mount, device and port that stand for the same thing", async (t) => {
    const text = (source: string) =>
      `services: {web: {image: 'w:1', volumes: ['${source}:/x'], devices: ['${source}:/dev/x'], ports: [{target: 80, published: '80', name: ${source.slice(1)}}]}}`;
    const { template, ports } =
      servicesOf("", {}, several(text("/a"), text("/b"))).get("web") ?? {};
    t.match(template?.mounts, [{ source: "/b" }]);
    t.match(template?.engine?.devices, [{ source: "/b" }]);
    t.equal(template?.mounts.length, 1);
    t.equal(template?.engine?.devices?.length, 1);
    t.equal(ports?.length, 1);
  });
});

t.test("extends", async (t) => {
  const files = {
    "sub/base.yaml":
      "services: {root: {image: 'r:1', env_file: a.env, labels: {from: sub}}, leaf: {extends: root, command: leaf}}",
    "sub/a.env": "A=sub",
    "a.env": "A=here",
  };

  t.test("lays a service over another, over several steps", async (t) => {
    const services = servicesOf(
      "services: {a: {image: 'a:1', environment: {X: '1', Y: '1'}, ports: ['80']}, b: {extends: {service: a}, environment: {Y: '2'}, ports: ['81:80']}, c: {extends: b, image: 'c:1', ports: !override ['82:80']}}",
    );
    t.strictSame(services.get("c")?.template.environment, { X: "1", Y: "2" });
    t.equal(services.get("c")?.template.image, "c:1");
    t.strictSame(
      services.get("c")?.ports.map(({ published }) => published),
      [82],
    );
  });

  t.test("finds services in other files, whose paths are seen from there", async (t) => {
    const text =
      "services: {web: {extends: {file: ./sub/base.yaml, service: leaf}, labels: {own: x}}}";
    const web = servicesOf(text, files).get("web")?.template;
    t.match(web, { image: "r:1", command: ["leaf"], environment: { A: "sub" } });
    t.strictSame(web?.labels, { from: "sub", own: "x" });
  });

  const wrong: readonly (readonly [text: string, problem: RegExp])[] = [
    [
      "{a: {extends: b}, b: {extends: c}, c: {extends: a}}",
      /^c\.yaml:1:\d+: services extend each other in a circle: c\.yaml: a -> c\.yaml: b -> c\.yaml: c -> c\.yaml: a$/,
    ],
    ["{a: {image: a, extends: a}}", /in a circle/],
    [
      "{abc: {image: a}, b: {extends: abd}}",
      /^c\.yaml:1:\d+: there is no service `abd` in c\.yaml to extend; did you mean `abc`\?$/,
    ],
    [
      "{b: {extends: {file: none.yaml, service: a}}}",
      /^c\.yaml:1:\d+: the file `none\.yaml` does not exist$/,
    ],
    ["{b: {extends: {file: sub/base.yaml}}}", /`extends` has no `service`/],
    [
      "{b: {extends: {service: a, fil: x}}, a: {image: a}}",
      /unknown key `fil` in `extends`; did you mean `file`\?/,
    ],
    ["{b: {extends: [a]}, a: {image: a}}", /`extends` must be `SERVICE`, or a map, not a list/],
    [
      "{b: {extends: {file: broken.yaml, service: a}}}",
      /^broken\.yaml:1:\d+: this is not valid YAML/,
    ],
    [
      "{b: {extends: {file: 'https://x/y.yaml', service: a}}}",
      /is not a file, and is not supported yet/,
    ],
  ];
  for (const [services, problem] of wrong) {
    t.test(`refuses ${services}`, async (t) => {
      const problems = problemsOf(
        `services: ${services}`,
        reading({ ...files, "broken.yaml": "a: [" }),
      );
      t.ok(
        problems.some((line) => problem.test(line)),
        problems.join("\n"),
      );
    });
  }

  t.test("refuses a circle over two files", async (t) => {
    const there = "services: {a: {extends: {file: c.yaml, service: b}}}";
    const here = "services: {b: {extends: {file: d.yaml, service: a}}}";
    t.match(problemsOf(here, reading({ "d.yaml": there, "c.yaml": here })), [/in a circle/]);
  });

  t.test("of much by many is bounded", async (t) => {
    const values = Array.from({ length: 2_000 }, (_, n) => `E${n}: x`).join(", ");
    const many = Array.from(
      { length: 900 },
      (_, n) => `s${n}: {extends: base, environment: {A: b}}`,
    );
    const text = `services: {base: {image: a, environment: {${values}}}, ${many.join(", ")}}`;
    t.match(problemsOf(text), [/more than \d+ values/]);
  });
});

t.test("include", async (t) => {
  const files = {
    "infra/compose.yaml":
      "name: other\nservices: {db: {image: 'db:${TAG}', env_file: db.env, volumes: ['data:/data']}}\nvolumes: {data: {}}",
    "infra/db.env": "A=infra",
    "infra/.env": "TAG=7\nSET=no",
    "infra/prod.yaml": "services: {db: {labels: {prod: $SET}}}",
    "special.env": "TAG=8",
    "nested.yaml": "include: [infra/compose.yaml]\nservices: {mid: {image: 'm:1'}}",
    "circle.yaml": "include: [circle2.yaml]\nservices: {x: {image: x}}",
    "circle2.yaml": "include: [circle.yaml]",
  };
  const web = "services: {web: {image: 'w:1'}}";

  t.test("takes in services and volumes, with their own .env and directory", async (t) => {
    const services = servicesOf(`name: shop\ninclude: [./infra/compose.yaml]\n${web}`, files);
    const db = services.get("db");
    t.match(db, { namespace: "shop", template: { image: "db:7", environment: { A: "infra" } } });
    t.match(db?.template.mounts, [{ source: "shop_data" }]);
  });

  t.test("lays several files over each other, and takes other variables", async (t) => {
    const long = "include: [{path: [infra/compose.yaml, infra/prod.yaml], env_file: special.env}]";
    const services = servicesOf(`${long}\n${web}`, files, { environment: { SET: "yes" } });
    t.match(services.get("db")?.template, { image: "db:8", labels: { prod: "yes" } });
  });

  t.test("works over several steps, alone, and twice of the same", async (t) => {
    t.strictSame([...servicesOf("include: [nested.yaml]", files).keys()], ["db", "mid"]);
    const twice = `include: [infra/compose.yaml, nested.yaml]\n${web}`;
    t.strictSame([...servicesOf(twice, files).keys()], ["db", "mid", "web"]);
  });

  t.test("gives way to a later file, but not to the same one", async (t) => {
    const over = "services: {db: {image: 'mine:1'}}";
    const both = servicesOf("", files, several(`include: [infra/compose.yaml]\n${web}`, over));
    t.equal(both.get("db")?.template.image, "mine:1");
    t.match(problemsOf(`include: [infra/compose.yaml]\n${over}`, reading(files)), [
      /^c\.yaml:2:12: `services\.db` is defined here and, differently, in the included infra\/compose\.yaml:2/,
    ]);
  });

  t.test("refuses circles, missing files and entries without a path", async (t) => {
    t.match(problemsOf(`include: [circle.yaml]\n${web}`, reading(files)), [
      /^circle2\.yaml:1:11: files include each other in a circle: `circle\.yaml` includes `circle2\.yaml` includes `circle\.yaml`$/,
    ]);
    t.match(problemsOf(`include: [none.yaml]\n${web}`, reading(files)), [
      /^c\.yaml:1:11: the file `none\.yaml` does not exist$/,
    ]);
    t.match(problemsOf(`include: ""\n${web}`, reading({ ...files, "": "" })), [
      /^c\.yaml:1:10: the name of a file is empty$/,
    ]);
    t.match(problemsOf(`include: [{project_directory: a}]\n${web}`, reading(files)), [
      /has no `path`/,
    ]);
    t.match(problemsOf(`include: [a.yaml]\n${web}`), [/cannot be read here/]);
  });

  t.test("of many files is bounded", async (t) => {
    const many = Object.fromEntries(
      Array.from({ length: 150 }, (_, n) => [`f${n}.yaml`, `services: {s${n}: {image: a}}`]),
    );
    const text = `include: [${Object.keys(many).join(", ")}]`;
    t.match(problemsOf(text, reading(many)), [/the manifest is made of more than 100 files/]);
  });
});

t.test("Profiles", async (t) => {
  const text =
    "services: {web: {image: 'w:1'}, debug: {image: 'd:1', profiles: [debug], build: .}, both: {image: 'b:1', profiles: [x, y]}}";
  const names = (profiles: readonly string[]) => [
    ...servicesOf(text, {}, { profiles, allowIgnored: true }).keys(),
  ];

  t.test("leave services out unless they are asked for", async (t) => {
    t.strictSame(names([]), ["web"]);
    t.strictSame(names(["debug"]), ["debug", "web"]);
    t.strictSame(names(["y"]), ["both", "web"]);
    t.strictSame(names(["*"]), ["both", "debug", "web"]);
  });

  t.test("what is left out must be written well, but may need what is not supported", async (t) => {
    t.strictSame(problemsOf(text), []);
    t.match(problemsOf(text, { profiles: ["debug"] }), [/`build` is not supported yet/]);
    t.match(problemsOf("services: {w: {image: a}, d: {image: a, profiles: [d], imag: b}}"), [
      /unknown key `imag`/,
    ]);
    t.match(problemsOf("services: {w: {image: a}, d: {image: a, profiles: ['a b']}}"), [
      /`a b` cannot be the name of a profile/,
    ]);
  });

  t.test("a manifest of which nothing is left is refused", async (t) => {
    t.match(problemsOf("services: {d: {image: a, profiles: [d]}}"), [
      /every service belongs to a profile/,
    ]);
  });
});

t.test("Files of labels and raw variables", async (t) => {
  const files = { "l.labels": "a=file\nb='two'", "r.env": "A='$X'\nB=\"q\" # no comment" };
  const text =
    "services: {web: {image: 'w:1', label_file: l.labels, labels: {a: own}, env_file: [{path: r.env, format: raw}]}}";
  const web = servicesOf(text, files).get("web")?.template;
  t.strictSame(web?.labels, { a: "own", b: "two" });
  t.strictSame(web?.environment, { A: "'$X'", B: '"q" # no comment' });
  t.match(problemsOf("services: {web: {image: a, label_file: l}}", reading({ l: "skein.x=1" })), [
    /is taken/,
  ]);
});

t.test("Configs and secrets are kept, and refused until they are delivered", async (t) => {
  const text =
    "name: shop\nservices: {web: {image: 'w:1', configs: [c]}}\nconfigs: {c: {content: hi}, d: {file: ./d, name: own}}\nsecrets: {s: {environment: S}, e: {external: true}}";
  t.equal(problemsOf(text).length, 3);
  t.match(valid(text, { allowIgnored: true }), {
    configs: [
      { key: "c", name: "shop_c", source: { kind: "content", text: "hi" } },
      { key: "d", name: "own", source: { kind: "file", path: "./d" } },
    ],
    secrets: [
      { key: "s", name: "shop_s", source: { kind: "environment", variable: "S" } },
      { key: "e", name: "e", source: { kind: "external" } },
    ],
  });
  t.match(problemsOf("services: {a: {image: a}}\nconfigs: {c: {}}"), [
    /not supported/,
    /must have one of/,
  ]);
});
