import t from "tap";
import { ApiClient } from "../../src/api/index.ts";
import { oneOffSpec, type RunOptions } from "../../src/cli/one-off.ts";
import type { Session } from "../../src/cli/session.ts";

function specOf(options: RunOptions, directory = "/") {
  const session: Session = {
    client: new ApiClient({ send: () => Promise.reject(new Error("nobody is asked")) }),
    ...{ output: "table", environment: { HERE: "$x" }, namespace: undefined },
    workingDirectory: directory,
    ...{ print: () => undefined, note: () => undefined, setExitCode: () => undefined },
    now: () => 0,
    signal: new AbortController().signal,
  };
  const what = { image: "redis:7", command: ["echo", "$HOME"], name: "one", namespace: "shop" };
  return oneOffSpec(session, what, options);
}

t.test("[D8] a one-off is a job that is tried once, joined with its client", async (t) => {
  t.match(specOf({ rm: true, interactive: true, tty: true, env: ["A=$1", "HERE", "NONE"] }), {
    ...{ namespace: "shop", name: "one", removedAtEnd: true },
    mode: { kind: "replicated-job", completions: 1, retries: 0 },
    template: {
      ...{ image: "redis:7", command: ["echo", "$HOME"], startsAttached: true },
      environment: { A: "$1", HERE: "$x", NONE: undefined },
      engine: { openStdin: true, tty: true },
      restart: { condition: "none" },
    },
  });
  const detached = specOf({ detach: true });
  t.equal(detached.template.startsAttached, undefined);
  t.equal(detached.removedAtEnd, undefined);
});

t.test("its flags are the keys of a manifest", async (t) => {
  const directory = t.testdir({ "vars.env": "B=2\n" });
  const options: RunOptions = {
    ...{ detach: true, envFile: ["vars.env"], volume: ["data:/data"], publish: ["8080:80"] },
    ...{ cpus: "0.5", memory: "64m", constraint: ["node.hostname==n1"], workdir: "/w", user: "1" },
    entrypoint: "/run",
  };
  t.match(specOf(options, directory), {
    placement: { constraints: [{ key: "node.hostname", operator: "==", value: "n1" }] },
    ports: [{ target: 80, published: 8080 }],
    template: {
      ...{ environment: { B: "2" }, entrypoint: ["/run"], workingDirectory: "/w", user: "1" },
      limits: { cpuMillis: 500, memoryBytes: 64 * 2 ** 20 },
      reservations: { cpuMillis: 500 },
      mounts: [{ kind: "volume", target: "/data" }],
    },
  });
});

t.test("--restart says what it becomes, and what cannot be is refused", async (t) => {
  const modeOf = (restart: string) => specOf({ detach: true, restart });
  t.match(modeOf("always"), {
    mode: { kind: "replicated", replicas: 1 },
    template: { restart: { condition: "any" } },
  });
  t.match(modeOf("on-failure:5"), { mode: { kind: "replicated-job", retries: 5 } });
  t.match(modeOf("on-failure"), { mode: { kind: "replicated-job", retries: 3 } });
  const refused: readonly (readonly [RunOptions, RegExp])[] = [
    [{ detach: true, restart: "sometimes" }, /--restart takes no/],
    [{ restart: "always" }, /needs -d/],
    [{ detach: true, rm: true, restart: "always" }, /opposite/],
    [{ detach: true, restart: "on-failure:x" }, /number of retries, not "x"/],
    [{ env: ["=1"] }, /-e takes NAME=VALUE/],
    [{ publish: ["99999:1"] }, /99999/],
    [{ memory: "much" }, /much/],
    [{ envFile: ["none.env"] }, /none\.env/],
  ];
  for (const [options, message] of refused) {
    t.throws(() => specOf(options), { code: "usage", message });
  }
});
