import t from "tap";
import { formatProblem, lintManifest } from "../../src/spec/index.ts";
import { webFile } from "./parse.ts";

/** Without anything to warn of. */
const sound = `deploy:
  replicas: 2
  resources: {limits: {memory: 64M}, reservations: {memory: 32M}}
`;

function warnings(lines: string): readonly string[] {
  const files = [{ name: "c.yaml", text: webFile(`${sound}${lines}`) }];
  const linted = lintManifest({ files, environment: {} });
  return (linted.kind === "valid" ? linted.warnings : linted.problems).map(formatProblem);
}

const cases: readonly (readonly [name: string, lines: string, expected: RegExp])[] = [
  [
    "a tag that moves",
    "image: a/web",
    /^c\.yaml:\d+:\d+: the image `a\/web` is whatever was pushed last/,
  ],
  ["the tag latest", "image: r:5000/web:latest", /whatever was pushed last/],
  ["no health check", "ports: ['80:80']", /^c\.yaml:2:3: .* has no health check/],
  [
    "[G5] checks too often",
    "healthcheck: {test: a, interval: 100ms, timeout: 50ms}",
    /^c\.yaml:7:18: the health check runs every 100 ms/,
  ],
  [
    "slow checks",
    "healthcheck: {test: a, interval: 5s}",
    /may take longer than the time between two/,
  ],
  ["all privileges", "privileged: true", /^c\.yaml:7:17: .* has all privileges/],
  ["all capabilities", "cap_add: [ALL]", /has all privileges/],
  [
    "the engine's socket",
    "volumes: [/var/run/docker.sock:/var/run/docker.sock]",
    /lets the service `web` control/,
  ],
  ["a secret", "environment: {DB_PASSWORD: hello}", /`DB_PASSWORD` looks like a secret/],
  ["a variable without a value", "environment: {A: $NONE}", /`NONE` is not set/],
];

t.test("Warnings", async (t) => {
  t.test("there are none for a sound service", async (t) => {
    t.strictSame(warnings(""), []);
    const check = 'ports: ["80:80"]\nx-healthcheck: {http: ":80", interval: 5s, timeout: 2s}';
    t.strictSame(warnings(check), []);
    t.strictSame(warnings("environment: {DB_PASSWORD_FILE: /run/x, TOKEN_PATH: /x}"), []);
  });

  for (const [name, lines, expected] of cases) {
    t.test(name, async (t) => {
      const isImage = lines.startsWith("image");
      const text = webFile(`${sound}${lines}`);
      const files = [
        { name: "c.yaml", text: isImage ? text.replace("    image: web:1\n", "") : text },
      ];
      const linted = lintManifest({ files, environment: {} });
      t.equal(linted.kind, "valid");
      const found = linted.kind === "valid" ? linted.warnings.map(formatProblem) : [];
      t.equal(found.length, 1, found.join("\n"));
      t.match(found[0], expected);
    });
  }

  t.test("nothing bounded, one replica, and a roll-out that goes on", async (t) => {
    const text =
      "services: {web: {image: 'a:1', x-ingress: ['a.b:80'], deploy: {update_config: {failure_action: continue}}}}";
    const linted = lintManifest({ files: [{ name: "c.yaml", text }], environment: {} });
    const found = linted.kind === "valid" ? linted.warnings.map(({ message }) => message) : [];
    for (const words of [/all memory/, /nothing is kept free/, /one replica/, /goes on although/]) {
      t.ok(
        found.some((message) => words.test(message)),
        String(words),
      );
    }
  });

  t.test("a manifest that is invalid has problems, not warnings", async (t) => {
    t.match(lintManifest({ files: [], environment: {} }), { kind: "invalid" });
  });
});
