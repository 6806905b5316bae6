import { execFile, execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import t from "tap";
import { z } from "zod";
import {
  formatProblem,
  parseManifest,
  renderManifestText,
  type ServiceSpec,
} from "../../src/spec/index.ts";

/** Against `docker-compose` 1.29, as Debian ships it, where this machine has it. */

const script = new URL("docker-compose.py", import.meta.url).pathname;

/** Debian's own, which has docker-compose; another one may come first in the path. */
const python = existsSync("/usr/bin/python3") ? "/usr/bin/python3" : "python3";

function whyNot(): string | false {
  try {
    execFileSync(python, ["-c", "import compose.config"], { stdio: "ignore" });
    return false;
  } catch {
    return "docker-compose is not installed for python3";
  }
}

type Case = {
  readonly directory: string;
  readonly files: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
};

const answers = z.array(z.union([z.object({ text: z.string() }), z.object({ error: z.string() })]));

async function dockerCompose(cases: readonly Case[]): Promise<z.infer<typeof answers>> {
  const stdout = await new Promise<string>((resolve, reject) => {
    const child = execFile(python, [script], { maxBuffer: 64 * 2 ** 20 }, (error, out, err) => {
      if (error === null) resolve(out);
      else reject(new Error(`${error.message}\n${err}`));
    });
    child.stdin?.end(JSON.stringify(cases));
  });
  return answers.parse(JSON.parse(stdout));
}

function services(
  files: readonly { readonly name: string; readonly text: string }[],
  environment: Readonly<Record<string, string>>,
  directory?: string,
): readonly ServiceSpec[] {
  const parsed = parseManifest({
    files,
    environment,
    directory: "project",
    readFile: (path) => {
      const file = join(directory ?? "", path);
      return directory !== undefined && existsSync(file) ? readFileSync(file, "utf8") : undefined;
    },
  });
  if (parsed.kind === "valid") return parsed.manifest.services;
  throw new Error(parsed.problems.map(formatProblem).join("\n"));
}

/** Files that stand for more than they say: what comes out must be the same for both readers. */
const cases: readonly {
  readonly name: string;
  /** Those that end in `.yaml` are read with `-f`, in this order. */
  readonly files: Readonly<Record<string, string>>;
  readonly environment?: Readonly<Record<string, string>>;
  /** What `.env` says; reading that file is the command line's work. */
  readonly dotEnv?: Readonly<Record<string, string>>;
}[] = [
  {
    name: "variables in all forms",
    environment: { SET: "set", EMPTY: "" },
    files: {
      "a.yaml":
        "services: {web: {image: 'w:${SET}', environment: {A: '$SET', B: '${SET:-x}', C: '${EMPTY:-x}', D: '${EMPTY-x}', E: '${NONE-x}', F: '${NONE:-x y}', G: '$$SET $${SET}', H: '${SET:?no}', I: '${SET?no}', J: '${EMPTY?no}', K: 'a${SET}b$SET/c'}, command: ['echo', '$${x}']}}",
    },
  },
  {
    name: "a variable's default with signs in it",
    files: {
      "a.yaml":
        "services: {web: {image: '${I:-a/b:1.2-c}', environment: {U: '${U:-http://x:80/?a=b}'}}}",
    },
  },
  {
    name: "maps and lists of environment, labels and so on in two files",
    files: {
      "a.yaml":
        "services: {web: {image: 'w:1', environment: {A: 1, B: two}, labels: [a=1, b=2], sysctls: {net.core.somaxconn: 1}, extra_hosts: ['a:10.0.0.1'], ulimits: {nofile: 1024, nproc: 5}}}",
      "b.yaml":
        "services: {web: {environment: [B=three, C=4], labels: {b: 3, c: x=y}, sysctls: [net.core.somaxconn=2], ulimits: {nofile: {soft: 1, hard: 2}}}}",
    },
  },
  {
    name: "lists that append, and words that are replaced",
    files: {
      "a.yaml":
        "services: {web: {image: 'w:1', command: [a, b], entrypoint: e f, cap_add: [NET_ADMIN], expose: ['80'], dns: 9.9.9.9, tmpfs: /a, security_opt: ['label=user:a'], user: '1', healthcheck: {test: [CMD, a], interval: 9s}}}",
      "b.yaml":
        "services: {web: {command: c, cap_add: [SYS_TIME], expose: ['81'], dns: [8.8.8.8], tmpfs: [/b], security_opt: ['label=role:b'], user: '2', healthcheck: {test: b c, retries: 7}}}",
    },
  },
  {
    name: "ports and volumes that stand for the same thing",
    files: {
      "a.yaml":
        "services: {web: {image: 'w:1', ports: ['80:8080', '443:8443'], volumes: ['/a:/x', '/b:/y', 'data:/z']}}\nvolumes: {data: {}}",
      "b.yaml":
        "services: {web: {ports: ['80:8080', '9000:9000'], volumes: ['/c:/x:ro', 'other:/z']}}\nvolumes: {other: {name: shared}}",
    },
  },
  {
    name: "deploy in three files",
    files: {
      "a.yaml":
        "services: {web: {image: 'w:1', deploy: {replicas: 2, labels: {a: '1'}, resources: {limits: {cpus: '1', memory: 256M}}, update_config: {parallelism: 2, delay: 5s}}}}",
      "b.yaml":
        "services: {web: {deploy: {replicas: 3, resources: {limits: {memory: 512M}, reservations: {memory: 64M}}}}}",
      "c.yaml":
        "services: {web: {image: 'w:2', deploy: {update_config: {order: stop-first}, placement: {constraints: [node.labels.a == b]}}}, more: {image: 'm:1'}}",
    },
  },
  {
    name: "anchors, aliases and merge keys",
    files: {
      "a.yaml":
        "x-a: &a {restart: on-failure, environment: &e {A: '1', B: '2'}}\nservices:\n  one: {<<: *a, image: 'o:1'}\n  two:\n    <<: *a\n    image: o:2\n    environment: {<<: *e, B: '3'}\n",
    },
  },
  {
    name: "env_file under environment, with quotes and comments",
    files: {
      "a.yaml":
        "services: {web: {image: 'w:1', env_file: [one.env, two.env], environment: {C: over, D: }}}",
      "one.env": "# comment\nA=1\nB='single'\nC=file\n\nexport E=exported\n",
      "two.env": 'A=2\nF="double # not a comment"\nG=a b c\nH=x=y\n',
    },
    environment: { D: "inherited" },
  },
  {
    name: "a service that extends others, here and elsewhere",
    files: {
      "a.yaml":
        "services:\n  base: {image: 'b:1', environment: {A: '1', B: '1'}, cap_add: [NET_ADMIN]}\n  web: {extends: {service: base}, environment: {B: '2'}, command: x}\n  far: {extends: {file: sub.yml, service: there}, environment: {Z: '1'}}\n",
      "sub.yml":
        "services:\n  root: {image: 'r:1', user: root, labels: {a: '1'}}\n  there: {extends: {service: root}, labels: {b: '2'}}\n",
    },
  },
  {
    name: ".env beside the file",
    files: {
      "a.yaml": "services: {web: {image: 'w:${TAG}', environment: {A: '${A}', B: '${B}'}}}",
    },
    dotEnv: { TAG: "7", A: "file", B: "quoted value" },
    environment: { A: "environment" },
  },
  {
    name: "numbers, booleans and texts that look like them",
    files: {
      "a.yaml":
        "services: {web: {image: 'w:1', environment: {A: 1, B: '01', C: 1.5, D: 'true', E: '', F: 'null'}, init: true, stop_grace_period: 1m30s, mem_limit: 64m, shm_size: 8m, cpus: 0.5}}",
    },
  },
];

t.test("docker-compose", { skip: whyNot(), timeout: 120_000 }, async (t) => {
  t.test("agrees on merging and variables", async (t) => {
    const folderOf = (name: string) => name.replace(/\W+/g, "-");
    const directory = t.testdir(
      Object.fromEntries(cases.map(({ name, files }) => [folderOf(name), { ...files }])),
    );
    const said = await dockerCompose(
      cases.map(({ name, files, environment = {}, dotEnv = {} }) => ({
        directory: join(directory, folderOf(name)),
        files: Object.keys(files).filter((file) => file.endsWith(".yaml")),
        environment: { ...dotEnv, ...environment },
      })),
    );
    for (const [index, { name, files, environment = {}, dotEnv = {} }] of cases.entries()) {
      t.test(name, async (t) => {
        const answer = said[index];
        if (answer === undefined || "error" in answer) {
          t.fail(answer?.error ?? "no answer");
          return;
        }
        const texts = Object.entries(files)
          .filter(([file]) => file.endsWith(".yaml"))
          .map(([file, text]) => ({ name: file, text }));
        const variables = { ...dotEnv, ...environment };
        const ours = services(texts, variables, join(directory, folderOf(name)));
        // What it prints has no variables left, so that only the merged file is to be read.
        t.strictSame(services([{ name: "config", text: answer.text }], {}), ours);
      });
    }
  });

  t.test("accepts every manifest of the corpus as it is exported", async (t) => {
    const folder = new URL("corpus/", import.meta.url);
    const exported: Record<string, string> = {};
    for (const file of readdirSync(folder)) {
      const text = readFileSync(new URL(file, folder), "utf8");
      const parsed = parseManifest({
        files: [{ name: file, text }],
        environment: {},
        readFile: () => "A=1",
      });
      if (parsed.kind === "valid") exported[basename(file)] = renderManifestText(parsed.manifest);
    }
    const directory = t.testdir(exported);
    const names = Object.keys(exported);
    t.ok(names.length >= 80);
    const said = await dockerCompose(
      names.map((file) => ({ directory, files: [file], environment: {} })),
    );
    for (const [index, name] of names.entries()) {
      const answer = said[index];
      t.ok(
        answer !== undefined && "text" in answer,
        `${name}: ${answer && "error" in answer ? answer.error : ""}`,
      );
    }
  });
});
