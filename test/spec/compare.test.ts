import t from "tap";
import { describeDifference, sameTemplate, specRevisionFingerprint } from "../../src/spec/index.ts";
import { valid, web } from "./parse.ts";

const cases: readonly {
  readonly name: string;
  readonly before: string;
  readonly after: string;
  readonly lines: readonly string[];
  readonly isSame: boolean;
}[] = [
  {
    name: "nothing",
    before: "labels: {a: 1, b: 2}\nexpose: [1, 2]\ncap_add: [NET_ADMIN, ALL]",
    after: "cap_add: [ALL, CAP_NET_ADMIN]\nexpose: [2, 1]\nlabels: [b=2, a=1]",
    lines: [],
    isSame: true,
  },
  {
    name: "the number of replicas and the labels of the service",
    before: "deploy: {replicas: 3, labels: {a: 1}}",
    after: "deploy: {replicas: 5, labels: {a: 2}}",
    lines: ["replicas 3 -> 5", "service label a 1 -> 2"],
    isSame: true,
  },
  {
    name: "the mode",
    before: "deploy: {replicas: 3}",
    after: "deploy: {mode: global}",
    lines: ["mode replicated -> global", "replicas - 3"],
    isSame: true,
  },
  {
    name: "a published port, a route, the update and the placement",
    before: "expose: [80, 81]\nports: ['8080:80']",
    after:
      "expose: [80, 81]\nports: ['9090:80']\nx-ingress: ['a.example.com:81']\ndeploy: {update_config: {delay: 10s}, placement: {constraints: [node.id == a]}}",
    lines: [
      "port 8080:80/tcp - ingress auto",
      "update delay 0s -> 10s",
      "port 9090:80/tcp + ingress auto",
      "ingress a.example.com/ + 81",
      "constraint node.id == a + set",
    ],
    isSame: true,
  },
  {
    name: "what a container is made of",
    before: "command: a\nenvironment: {A: 1, B: 2, DB_PASSWORD: x}\nmem_limit: 64m",
    after:
      "command: a b\nenvironment: {A: 2, C: 3, DB_PASSWORD: y}\nmem_limit: 128m\nvolumes: [/a:/b:ro]\ntmpfs: /run",
    lines: [
      "environment A 1 -> 2",
      "environment B - 2",
      "environment DB_PASSWORD changed",
      'command ["a"] -> ["a","b"]',
      "limits memory 64M -> 128M",
      "environment C + 3",
      "mount /b + bind /a (read-only)",
      "mount /run + tmpfs",
    ],
    isSame: false,
  },
  {
    name: "what the engine is told, and options of mounts",
    before: "tty: true\nlogging: {options: {splunk-token: a}}\ntmpfs: ['/a:size=1m']",
    after: "shm_size: 8m\nlogging: {options: {splunk-token: b}}\ntmpfs: ['/a:size=2m,mode=700']",
    lines: [
      "mount /a tmpfs size=1048576 -> tmpfs size=2097152 mode=700",
      "engine tty - true",
      "engine logging options splunk-token changed",
      "engine shm + 8M",
    ],
    isSame: false,
  },
  {
    name: "keys of its own, which restart nothing",
    before: "x-a: {b: 1}\nx-password: a",
    after: "x-a: {b: 2}\nx-password: b\nx-c: d",
    lines: [
      'extension x-a {"b":1} -> {"b":2}',
      "extension x-password changed",
      'extension x-c + "d"',
    ],
    isSame: true,
  },
  {
    name: "the order of the words of a command",
    before: "command: [a, b]",
    after: "command: [b, a]",
    lines: ['command ["a","b"] -> ["b","a"]'],
    isSame: false,
  },
];

t.test("Comparing services", async (t) => {
  for (const { name, before, after, lines, isSame } of cases) {
    t.test(name, async (t) => {
      const [left, right] = [web(before), web(after)];
      t.strictSame(describeDifference(left, right), lines);
      t.equal(sameTemplate(left.template, right.template), isSame);
      const prints = [left, right].map(({ template }) => specRevisionFingerprint(template));
      t.equal(prints[0] === prints[1], isSame);
    });
  }

  t.test("the image", async (t) => {
    const before = web("user: a");
    const after = { ...before, template: { ...before.template, image: "web:2" } };
    t.strictSame(describeDifference(before, after), ["image web:1 -> web:2"]);
    t.notOk(sameTemplate(before.template, after.template));
  });

  t.test("an absent field and an undefined one are the same", async (t) => {
    const { template } = web("init: true");
    t.ok(sameTemplate(template, { ...template, user: undefined }));
  });

  t.test("services that come and go", async (t) => {
    t.strictSame(describeDifference(undefined, web("user: a")), ["new service web"]);
    t.strictSame(describeDifference(web("user: a"), undefined), ["remove service web"]);
    t.strictSame(describeDifference(undefined, undefined), []);
  });
});

t.test("The containers of a pod are compared one by one, without what is secret", async (t) => {
  const pod = (image: string, password: string) =>
    valid(`
services:
  web: {image: "web:1", depends_on: [db]}
  tool: {image: "${image}", network_mode: "service:web", environment: {PASSWORD: "${password}"}}
  db: {image: "db:1"}`).services.find(({ name }) => name === "web");
  t.strictSame(describeDifference(pod("tool:1", "a"), pod("tool:2", "b")), [
    "container tool image tool:1 -> tool:2",
    "container tool environment PASSWORD changed",
  ]);
});
