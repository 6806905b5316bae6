import t from "tap";
import { problemsOf, valid, webFile } from "./parse.ts";

/** What stands under `web:` from line 4, column 5 on, and the problems it must have. */
const cases: readonly {
  readonly name: string;
  readonly lines: string;
  readonly expected: readonly string[];
}[] = [
  {
    name: "an unknown key is named with its place and the nearest key",
    lines: "deploy:\n  replcas: 3",
    expected: ["c.yaml:5:7: unknown key `replcas` in `deploy`; did you mean `replicas`?"],
  },
  {
    name: "a key in the wrong place is sent to the right one",
    lines: "replicas: 3",
    expected: [
      "c.yaml:4:5: unknown key `replicas` in service `web`; `replicas` belongs in `deploy`",
    ],
  },
  {
    name: "a key that resembles nothing gets no hint",
    lines: "zzzzzz: 3",
    expected: ["c.yaml:4:5: unknown key `zzzzzz` in service `web`"],
  },
  {
    name: "a key that every object inherits in JavaScript is unknown like any other",
    lines: "constructor: 3\n__proto__: 4",
    expected: [
      "c.yaml:4:5: unknown key `constructor` in service `web`",
      "c.yaml:5:5: unknown key `__proto__` in service `web`",
    ],
  },
  {
    name: "several problems are reported at once, in the order of the file",
    lines: "deploy:\n  replicas: three\n  labels: 3\ninit: yes",
    expected: [
      'c.yaml:5:17: `deploy.replicas` must be a whole number from 0 to 10000, not the text "three"',
      "c.yaml:6:15: `deploy.labels` must be a map, or a list of `KEY=value`, not the number 3",
      'c.yaml:7:11: `init` must be true or false, not the text "yes"; write `true`',
    ],
  },
  {
    name: "a number out of its range names the range",
    lines: "deploy: {replicas: -1, update_config: {max_failure_ratio: 1.5}}",
    expected: [
      "c.yaml:4:24: `deploy.replicas` must be a whole number from 0 to 10000, not the number -1",
      "c.yaml:4:63: `deploy.update_config.max_failure_ratio` must be a number from 0 to 1, not the number 1.5",
    ],
  },
  {
    name: "a roll-out strategy says what it needs, and refuses what means nothing with it",
    lines: "x-update: {keep: 5m}",
    expected: [
      "c.yaml:4:15: `x-update.strategy` must be `rolling`, `blue-green` or `canary`, not absent",
    ],
  },
  {
    name: "blue-green needs both versions beside each other, and has no canary",
    lines:
      "x-update: {strategy: blue-green, canary: 2}\nports: [{target: 80, published: 80, mode: host}]",
    expected: [
      "c.yaml:4:26: `blue-green` runs the old and the new tasks beside each other, and this service stops the old ones first; take `order: stop-first`, named volumes and fixed ports in mode `host` away, or the strategy",
      "c.yaml:4:46: `x-update.canary` means nothing with `strategy: blue-green`; remove `canary`",
    ],
  },
  {
    name: "a canary is a number of tasks, or a share of them",
    lines: "x-update: {strategy: canary, canary: 120%, keep: 1m}",
    expected: [
      'c.yaml:4:42: `x-update.canary` must be a number of tasks such as `2`, or a share such as `10%`, not the text "120%"',
      "c.yaml:4:54: `x-update.keep` means nothing with `strategy: canary`; remove `keep`",
    ],
  },
  {
    name: "a fence needs a time in which its node can stop",
    lines: "x-failover: {fence: true}\nstop_grace_period: 25s",
    expected: [
      "c.yaml:4:17: a fenced service needs `x-failover.after` of at least 45s: its `stop_grace_period`, and 20s in which its node may find out that it is cut off; write `after: 45s` or more",
    ],
  },
  {
    name: "a fence keeps no original, and updates no task by starting first",
    lines:
      "x-failover: {after: 29s, fence: true, reconnect: keep-original}\ndeploy: {update_config: {order: start-first}}",
    expected: [
      "c.yaml:4:25: a fenced service needs `x-failover.after` of at least 30s: its `stop_grace_period`, and 20s in which its node may find out that it is cut off; write `after: 30s` or more",
      "c.yaml:4:54: a fenced task is stopped where its node is cut off: there is no original to keep; remove `reconnect` or `fence`",
      "c.yaml:5:13: a fenced service never has two tasks in one place, not even in an update; write `order: stop-first`",
    ],
  },
  {
    name: "what belongs to its node does not fail over",
    lines: "x-failover: {after: 1m}\ndeploy: {mode: global}",
    expected: [
      "c.yaml:4:17: a task that belongs to its node is not replaced on another one; remove `x-failover`",
    ],
  },
  {
    name: "a job has no roll-out",
    lines: "x-update: {strategy: canary}\ndeploy: {mode: global-job}",
    expected: [
      "c.yaml:4:15: a job has no roll-out: each run is of the newest revision; remove `x-update`",
    ],
  },
  {
    name: "a map in place of a number, and the other way round",
    lines: "scale: {a: 1}\ndeploy: 3\nhealthcheck: []",
    expected: [
      "c.yaml:4:12: `scale` must be a whole number from 0 to 10000, not a map",
      "c.yaml:5:13: `deploy` must be a map, not the number 3",
      "c.yaml:6:18: `healthcheck` must be a map, not a list",
    ],
  },
  {
    name: "a value that was left out is placed at its key",
    lines: "user:",
    expected: ["c.yaml:4:5: `user` must be text, not empty"],
  },
  {
    name: "a duration without a unit",
    lines: "stop_grace_period: 30",
    expected: [
      "c.yaml:4:24: `stop_grace_period` must be a duration such as `1m30s`, not the number 30; write the unit: `30s`",
    ],
  },
  {
    name: "an interval of zero",
    lines: "healthcheck: {test: a, interval: 0s}",
    expected: [
      'c.yaml:4:38: `healthcheck.interval` must be a duration longer than zero, such as `1m30s`, not the text "0s"',
    ],
  },
  {
    name: "an amount of memory that no engine accepts",
    lines: "mem_limit: 128",
    expected: [
      "c.yaml:4:16: `mem_limit` must be an amount of memory of at least 6M, such as `256M`, not the number 128",
    ],
  },
  {
    name: "no CPUs at all",
    lines: "cpus: 0",
    expected: [
      "c.yaml:4:11: `cpus` must be a number of CPUs from 0.001 to 1024, such as `0.5`, not the number 0",
    ],
  },
  {
    name: "a misspelt word",
    lines: "deploy: {update_config: {order: start-frist}}",
    expected: [
      'c.yaml:4:37: `deploy.update_config.order` must be `start-first` or `stop-first`, not the text "start-frist"; did you mean `start-first`?',
    ],
  },
  {
    name: "a word of the specification that is not supported yet",
    lines: "deploy: {mode: replicated, endpoint_mode: dnsrr}",
    expected: ["c.yaml:4:47: `deploy.endpoint_mode: dnsrr` is not supported yet"],
  },
  {
    name: "a key of the specification that is not supported yet, with what to do instead",
    lines: "build: .\nprovider: {}",
    expected: [
      "c.yaml:4:5: `build` is not supported yet; build and push it first, and name it in `image`",
      "c.yaml:5:5: `provider` is not supported yet",
    ],
  },
  {
    name: "ports that are none",
    lines: 'ports: ["abc", "80:", "70000", "80:80:80", "80/icmp", "8000-8001:80", 8.5]',
    expected: [
      "c.yaml:4:13: `abc` is not a port; write `PUBLISHED:TARGET` or `TARGET`, with numbers from 1 to 65535",
      "c.yaml:4:20: `80:` is not a port; write `PUBLISHED:TARGET` or `TARGET`, with numbers from 1 to 65535",
      "c.yaml:4:27: `70000` is not a port; write `PUBLISHED:TARGET` or `TARGET`, with numbers from 1 to 65535",
      "c.yaml:4:36: `80:80:80` binds to one address, which is not supported yet; leave the address out; a port answers on all addresses of a node",
      "c.yaml:4:48: `80/icmp` has no valid protocol; after the `/` stands `tcp` or `udp`",
      "c.yaml:4:59: the range 8000-8001 is not as long as that of the container's ports; both sides of a port range must be equally long",
      "c.yaml:4:75: `8.5` is not a port; write `PUBLISHED:TARGET` or `TARGET`, with numbers from 1 to 65535",
    ],
  },
  {
    name: "ports bound to one address, which would otherwise be open to everybody",
    lines: 'ports: ["127.0.0.1:80:80", "[::1]:80:80", {target: 80, host_ip: 127.0.0.1}]',
    expected: [
      "c.yaml:4:13: `127.0.0.1:80:80` binds to one address, which is not supported yet; leave the address out; a port answers on all addresses of a node",
      "c.yaml:4:32: `[::1]:80:80` binds to one address, which is not supported yet; leave the address out; a port answers on all addresses of a node",
      "c.yaml:4:60: `ports.host_ip` is not supported yet; a port answers on all addresses of a node",
    ],
  },
  {
    name: "ports in long syntax",
    lines:
      "ports:\n  - published: 80\n  - {target: 80, mode: ingress}\n  - {target: 80, published: x}\n  - {target: 80, protocl: tcp}",
    expected: [
      "c.yaml:5:9: the port has no `target`; name the container's port",
      "c.yaml:6:28: a port in mode `ingress` needs `published`; name the port that every node answers on, or write `mode: host` for a free port",
      'c.yaml:7:33: `ports.published` must be a port from 1 to 65535, or 0 for a free one, not the text "x"',
      "c.yaml:8:22: unknown key `protocl` in `ports`; did you mean `protocol`?",
    ],
  },
  {
    name: "more ports than a service may have",
    lines: 'ports: ["1000-3000:1000-3000"]\nexpose: ["1000-3000"]',
    expected: [
      "c.yaml:4:13: the range 1000-3000 names 2001 ports; at most 1000 are allowed",
      "c.yaml:5:14: `1000-3000` names more than 1000 ports",
    ],
  },
  {
    name: "one published port for two ports of the container",
    lines: 'ports: ["80:8080", "80:9090"]',
    expected: ["c.yaml:4:24: the port 80/tcp is taken already by `web`, at c.yaml:4"],
  },
  {
    name: "constraints that cannot hold",
    lines: 'deploy: {placement: {constraints: ["node.role==manager", "node.hostnme == a", "a"]}}',
    expected: [
      "c.yaml:4:40: `node.role` is not something to choose nodes by; use `node.id`, `node.hostname`, `node.platform.os`, `node.platform.arch` or `node.labels.NAME`",
      "c.yaml:4:62: `node.hostnme` is not something to choose nodes by; did you mean `node.hostname`?",
      "c.yaml:4:83: `a` is not a constraint; write `key == value` or `key != value`",
    ],
  },
  {
    name: "two values for the same thing",
    lines: "scale: 2\nmem_limit: 8m\ndeploy: {replicas: 3, resources: {limits: {memory: 9m}}}",
    expected: [
      "c.yaml:4:12: `scale` is 2 and `deploy.replicas` is 3; keep one of them",
      "c.yaml:5:16: `mem_limit` and `deploy.resources` do not say the same; keep one of them",
    ],
  },
  {
    name: "a global service with a number of replicas",
    lines: "deploy: {mode: global, replicas: 3}",
    expected: [
      "c.yaml:4:20: a service in mode `global` runs once on every node and has no number of replicas; remove `replicas`, or `mode: global`",
    ],
  },
  {
    name: "more reserved than allowed",
    lines: "mem_limit: 8m\nmem_reservation: 9m",
    expected: [
      "c.yaml:3:5: more bytes of memory are reserved than the limit allows; raise the limit, or reserve less",
    ],
  },
  {
    name: "a restart policy that is none",
    lines: "restart: allways",
    expected: [
      'c.yaml:4:14: `restart` must be `no`, `always`, `on-failure`, `on-failure:ATTEMPTS` or `unless-stopped`, not the text "allways"; did you mean `always`?',
    ],
  },
  {
    name: "a restart policy that YAML takes for a boolean",
    lines: "restart: false",
    expected: [
      'c.yaml:4:14: `restart` must be `no`, `always`, `on-failure`, `on-failure:ATTEMPTS` or `unless-stopped`, not false; write `"no"`',
    ],
  },
  {
    name: "a health check without a test",
    lines: "healthcheck: {interval: 5s}",
    expected: [
      "c.yaml:4:18: the health check has no `test`; a check that the image brings along is not read; write its command here",
    ],
  },
  {
    name: "two health checks, and one of a strange kind",
    lines: "healthcheck: {test: a}\nx-healthcheck: {http: healthz}",
    expected: [
      "c.yaml:5:20: `healthcheck` and `x-healthcheck` cannot both be there; keep the one that tells best whether the service works",
      'c.yaml:5:27: `x-healthcheck.http` must be a port and a path such as `:8080/healthz`, not the text "healthz"',
    ],
  },
  {
    name: "a health check that does not say what to run",
    lines: 'healthcheck: {test: ["curl", "localhost"]}',
    expected: [
      'c.yaml:4:25: `healthcheck.test` does not say what to run; write a line for the shell, `["CMD", program, argument…]`, `["CMD-SHELL", line]` or `["NONE"]`',
    ],
  },
  {
    name: "ingress rules that cannot route",
    lines: 'x-ingress: ["a_b.example.com:80", "a.example.com", {path: /x}, "a.example.com/x y:80"]',
    expected: [
      "c.yaml:4:17: `a_b.example.com` is not a host name; write a name such as `shop.example.com:8080`",
      "c.yaml:4:39: the ingress rule for `a.example.com` names no port, and the service has no port; write `a.example.com:PORT`",
      "c.yaml:4:56: the ingress rule has no `host`; name the host to route",
      "c.yaml:4:68: `/x y` is not a path; a path starts with `/` and has no spaces, `?` or `#`",
    ],
  },
  {
    name: "HTTPS in uncloud's words is refused, not served in the clear",
    lines: 'x-ports: ["a.example.com:80/https"]',
    expected: [
      "c.yaml:4:15: `x-ports: a.example.com:80/https` is not supported yet; HTTPS is not served; write `/http`, or use `x-ingress`",
    ],
  },
  {
    name: "mounts that cannot be made",
    lines: 'volumes: ["data:/data", "./x:/x", "/a:/b:Z", "/a:b", "/a:/c", "/b:/c/"]',
    expected: [
      "c.yaml:4:15: the volume `data` is not declared; add `data:` under the top-level `volumes:`",
      "c.yaml:4:29: the source `./x` is not an absolute path; tasks run on any node, so name a directory as the nodes see it",
      "c.yaml:4:39: the mount option `Z` is not supported yet; `ro` and `rw` are",
      "c.yaml:4:50: the mount point `b` is not an absolute path; it is a path in the container and starts with `/`",
      "c.yaml:4:67: something is mounted at `/c` already, in line 4",
    ],
  },
  {
    name: "variables, labels, words and names that cannot be",
    lines:
      'environment: {a=b: 1}\nlabels: [skein.x=1]\ncommand: a "b\nimage2: x\nhostname: a_b\nstop_signal: stop!\ncap_add: [no way]',
    expected: [
      "c.yaml:4:19: `a=b` is not a variable that a process can have",
      "c.yaml:5:14: the label `skein.x` is taken; labels that start with `skein.` are Skein's own",
      "c.yaml:6:14: `command` has a quote that is not closed",
      "c.yaml:7:5: unknown key `image2` in service `web`; did you mean `image`?",
      'c.yaml:8:15: `hostname` must be a host name of at most 63 letters, digits, `-` and `.`, not the text "a_b"',
      'c.yaml:9:18: `stop_signal` must be a signal such as `SIGTERM`, not the text "stop!"',
      "c.yaml:10:15: `no way` is not a capability; write a name such as `NET_ADMIN`, or `ALL`",
    ],
  },
  {
    name: "an item that is no text",
    lines: "cap_add: [{a: 1}]\nports: [[80]]\ncommand: [a, [b]]",
    expected: [
      "c.yaml:4:15: `cap_add` holds a map where text is expected",
      "c.yaml:5:13: `ports` holds a list where text is expected",
      "c.yaml:6:18: `command` holds a list where text is expected",
    ],
  },
];

t.test("Problems of a service", async (t) => {
  for (const { name, lines, expected } of cases) {
    t.test(name, async (t) => {
      t.strictSame(problemsOf(webFile(lines)), expected);
    });
  }
});

const files: readonly {
  readonly name: string;
  readonly text: string;
  readonly expected: readonly string[];
}[] = [
  {
    name: "no file content at all",
    text: "# nothing\n",
    expected: ["c.yaml:1:1: the file is empty; it needs at least `services:`"],
  },
  {
    name: "no services",
    text: "name: a",
    expected: [
      "c.yaml:1:1: the manifest has no services; write `services:` and under it a name and an `image`",
    ],
  },
  {
    name: "a list",
    text: "- a",
    expected: ["c.yaml:1:1: a manifest is a map of keys such as `services:`"],
  },
  {
    name: "a service without an image",
    text: "services:\n  web: {}\n  api:\n",
    expected: [
      "c.yaml:2:3: the service `web` has no `image`; name the image to run",
      "c.yaml:3:3: the service `api` has no `image`; name the image to run",
    ],
  },
  {
    name: "an image that cannot be",
    text: "services: {a: {image: Web}, b: {image: 'a b'}, c: {image: ''}}",
    expected: [
      'c.yaml:1:23: `image` must be the name of an image such as `example/web:1.2`, not the text "Web"; the name of an image is in lower case; only its tag may have capitals',
      'c.yaml:1:40: `image` must be the name of an image such as `example/web:1.2`, not the text "a b"',
      "c.yaml:1:59: `image` must be text, not an empty text",
    ],
  },
  {
    name: "names that DNS does not know",
    text: `services: {Web_1: {image: a}, -: {image: a}, ${"a".repeat(64)}: {image: a}}`,
    expected: [
      "c.yaml:1:12: `Web_1` cannot be the name of a service: names are at most 63 lower-case letters, digits and `-`, because they are names in DNS; write `web-1`",
      "c.yaml:1:31: `-` cannot be the name of a service: names are at most 63 lower-case letters, digits and `-`, because they are names in DNS",
      `c.yaml:1:46: \`${"a".repeat(59)}…\` cannot be the name of a service: names are at most 63 lower-case letters, digits and \`-\`, because they are names in DNS; write \`${"a".repeat(63)}\``,
    ],
  },
  {
    name: "a project name that cannot be",
    text: "name: My Shop\nservices: {a: {image: a}}",
    expected: [
      'c.yaml:1:7: `name` must be at most 63 lower-case letters, digits, `-` and `_`, not the text "My Shop"; write `myshop`',
    ],
  },
  {
    name: "two services that publish one port, and two that route one path",
    text: `services:
  web: {image: a, ports: ["8080:80", "53:53/udp"], x-ingress: ["a.example.com:80"]}
  api: {image: a, ports: ["8080:81", "53:53/tcp"], x-ingress: ["A.example.com:81"]}
  own: {image: a, ports: [{target: 1, published: 8080, mode: host}]}`,
    expected: [
      "c.yaml:3:27: the port 8080/tcp is taken already by `web`, at c.yaml:2",
      "c.yaml:3:64: the route a.example.com/ is taken already by `web`, at c.yaml:2",
      "c.yaml:4:27: the port 8080/tcp is taken already by `web`, at c.yaml:2",
    ],
  },
  {
    name: "a key that stands twice",
    text: "services:\n  web:\n    image: a\n    image: b\n",
    expected: ["c.yaml:4:5: the key `image` stands here twice; the first time in line 3"],
  },
  {
    name: "a tab",
    text: "services:\n\tweb:\n",
    expected: ["c.yaml:2:1: a tab cannot indent YAML; use spaces"],
  },
  {
    name: "a quote that is not closed is placed where it opens",
    text: 'services:\n  web:\n    image: "a\n',
    expected: ['c.yaml:3:12: this is not valid YAML: Missing closing "quote'],
  },
  {
    name: "syntax errors",
    text: "services: a: b\n",
    expected: [
      "c.yaml:1:11: this is not valid YAML: Nested mappings are not allowed in compact mappings",
    ],
  },
  {
    name: "several documents",
    text: "services: {}\n---\nservices: {}\n",
    expected: ["c.yaml:2:1: the file holds several YAML documents; split it into several files"],
  },
  {
    name: "tags",
    text: "services: !resett null\nname: !!binary aa\n",
    expected: [
      "c.yaml:1:11: the tag `!resett` is not supported",
      "c.yaml:2:7: the tag `!!binary` is not supported",
    ],
  },
  {
    name: "an alias without its anchor, one inside itself, and a merge of no map",
    text: "services:\n  a: {image: *b}\n  c: &c {image: a, x-c: *c}\n  d: {<<: 3, image: a}",
    expected: [
      "c.yaml:2:14: no anchor `&b` stands before `*b`",
      "c.yaml:3:25: the anchor `&c` contains itself",
      "c.yaml:4:7: `<<` must be followed by a map or a list of maps",
    ],
  },
  {
    name: "variables: a missing one that must be there, and a lonely dollar sign",
    text:
      'services:\n  web:\n    image: "a:$' +
      '{TAG:?say which}"\n    user: |\n      a $$ b\n      c $1\n',
    expected: [
      "c.yaml:3:15: the variable `TAG` must have a value: say which",
      "c.yaml:6:9: `$` is not followed by the name of a variable; write `$$` for a plain dollar sign",
    ],
  },
];

t.test("Problems of a file", async (t) => {
  for (const { name, text, expected } of files) {
    t.test(name, async (t) => {
      t.strictSame(problemsOf(text), expected);
    });
  }

  t.test("at most 100 problems are reported", async (t) => {
    const lines = Array.from({ length: 300 }, (_, index) => `zzz${index}: 1`).join("\n");
    t.equal(problemsOf(webFile(lines)).length, 100);
  });
});

t.test(
  "A NUL byte is refused where it stands, in whatever key, as no process can have it",
  async (t) => {
    for (const [lines, place] of [
      [String.raw`command: "sleep \0 1"`, "c.yaml:4:14: `sleep \\0 1`"],
      [String.raw`entrypoint: [sh, "-\x00c"]`, "c.yaml:4:22: `-\\0c`"],
      [String.raw`user: "a\0"`, "c.yaml:4:11: `a\\0`"],
      [String.raw`working_dir: "/\0"`, "c.yaml:4:18: `/\\0`"],
      [String.raw`hostname: "a\u0000b"`, "c.yaml:4:15: `a\\0b`"],
      [String.raw`labels: {a: "\0"}`, "c.yaml:4:17: `\\0`"],
      [String.raw`labels: {"a\0": b}`, "c.yaml:4:14: `a\\0`"],
      [String.raw`environment: {A: "\0"}`, "c.yaml:4:22: `\\0`"],
      [String.raw`environment: ["A=\0"]`, "c.yaml:4:19: `A=\\0`"],
      [String.raw`environment: {"A\0": b}`, "c.yaml:4:19: `A\\0`"],
      ["user: a\0b", "c.yaml:4:11: `a\\0b`"],
      ["user: $NUL", "c.yaml:4:11: `a\\0`"],
    ] as const) {
      const problems = problemsOf(webFile(lines), { environment: { NUL: "a\0" } });
      const expected = `${place} holds a NUL byte, which no process can be given; remove it`;
      t.strictSame(problems, [expected], JSON.stringify(lines));
    }
  },
);

t.test("Bounds", async (t) => {
  t.test("a file larger than 1 MiB is not read", async (t) => {
    const text = `services: {}\n#${"a".repeat(2 ** 20)}`;
    t.strictSame(problemsOf(text), ["c.yaml:1:1: the file is larger than 1 MiB"]);
  });

  t.test("aliases of aliases do not grow without bound", async (t) => {
    const levels = Array.from({ length: 9 }, (_, level) => {
      const aliases = Array.from({ length: 10 }, () => `*l${level}`).join(",");
      return `x-l${level + 1}: &l${level + 1} [${aliases}]`;
    });
    t.strictSame(problemsOf(["x-l0: &l0 [a]", ...levels].join("\n")), [
      "c.yaml:6:11: this holds more than 100000 values once its aliases are followed",
    ]);
  });

  t.test("neither do merged maps", async (t) => {
    const keys = Array.from({ length: 2_000 }, (_, index) => `k${index}: 1`).join(", ");
    const merges = Array.from({ length: 100 }, (_, index) => `x-m${index}: {<<: *m}`).join("\n");
    const [problem] = problemsOf(`x-m: &m {${keys}}\n${merges}`);
    t.match(problem, /holds more than 100000 values once its aliases are followed/);
  });

  t.test("nor variables", async (t) => {
    const text = webFile(`user: "${"$BIG".repeat(1_000)}"`);
    t.strictSame(problemsOf(text, { environment: { BIG: "x".repeat(10_000) } }), [
      "c.yaml:4:428: the text with its variables is longer than 1 MiB",
    ]);
  });

  t.test("nor the list of variables that are missing", async (t) => {
    const { ignored } = valid(webFile(`user: "a${"$A ".repeat(300_000)}"`));
    t.equal(ignored.length, 100);
  });

  t.test("values nested too deeply are refused", async (t) => {
    const text = `x-a: ${"[".repeat(60)}${"]".repeat(60)}`;
    t.strictSame(problemsOf(text), ["c.yaml:1:56: values are nested more than 50 deep"]);
  });

  t.test("values nested so deeply that the YAML parser gives up are refused", async (t) => {
    const text = `x-a: ${"[".repeat(5_000)}${"]".repeat(5_000)}`;
    t.match(problemsOf(text)[0], /values are nested more than 50 deep$/);
  });

  t.test("more than 20 files are refused", async (t) => {
    const files = Array.from({ length: 21 }, () => ({
      name: "a.yaml",
      text: "services: {a: {image: a}}",
    }));
    t.strictSame(problemsOf("", { files }), [
      "a.yaml:1:1: there are 21 files; at most 20 are read",
    ]);
  });
});
