import t from "tap";
import { apply, type ClusterState, type Command, type Token } from "../../src/cluster/index.ts";
import { nodeId, serviceKey, taskId } from "../../src/kernel/index.ts";
import { applyAll, clusterNode, clusterOf, serviceSpec, task, template } from "../builders.ts";

const web = serviceKey("shop", "web");

function outcome(state: ClusterState, command: Command) {
  return apply(state, state.index + 1, command).outcome;
}

function put(...specs: Parameters<typeof serviceSpec>[0][]): Command {
  return { kind: "put_services", specs: specs.map((each) => serviceSpec(each)), nowMs: 5 };
}

function tasksCommand(overrides: Partial<Extract<Command, { kind: "update_tasks" }>>): Command {
  return {
    kind: "update_tasks",
    basedOn: {},
    create: [],
    stop: [],
    forget: [],
    rollouts: [],
    ...overrides,
  };
}

t.test("services", async (t) => {
  t.test("the same file again changes nothing but the index", async (t) => {
    const once = applyAll([put({})], clusterOf("n1"));
    const twice = applyAll([put({})], once);
    t.equal(twice.services.get(web), once.services.get(web));
  });

  t.test("a changed template is a new revision, a changed number or label is not", async (t) => {
    const first = applyAll([put({})], clusterOf("n1"));
    const scaled = applyAll([put({ mode: { kind: "replicated", replicas: 5 } })], first);
    t.equal(scaled.services.get(web)?.revision, 1);
    const labelled = applyAll([put({ labels: { tier: "front" } })], first);
    t.equal(labelled.services.get(web)?.revision, 1);
    const changed = applyAll([put({ template: template({ image: "web:2" }) })], first);
    t.equal(changed.services.get(web)?.revision, 2);
    t.equal(changed.services.get(web)?.templates.get(1)?.image, "web:1");
  });

  t.test("a file is taken whole or not at all", async (t) => {
    const port = {
      target: 80,
      published: 8080,
      protocol: "tcp",
      mode: "ingress",
      appProtocol: "auto",
    } as const;
    const before = applyAll([put({ name: "old", ports: [port] })], clusterOf("n1"));
    const command = put({ name: "fine" }, { name: "clash", ports: [port] });
    t.match(outcome(before, command), { kind: "rejected", code: "port_taken", message: /8080/ });
    t.notOk(applyAll([command], before).services.has(serviceKey("shop", "fine")));
  });

  t.test("an address that is taken is refused with its owner and the way out", async (t) => {
    const port = { target: 80, published: 8080, protocol: "tcp", mode: "ingress" } as const;
    const ports = [{ ...port, appProtocol: "auto" } as const];
    const ingress = [{ host: "a.example", path: "/", port: 80 }];
    const before = applyAll(
      [put({ name: "web", ports }, { name: "site", ingress })],
      clusterOf("n1"),
    );
    // Its name comes before the owner's: who was there first has the address all the same.
    const clash = put({ namespace: "blog", name: "api", ports });
    t.match(outcome(before, clash), {
      code: "port_taken",
      message:
        "Service blog/api cannot have the published port 8080/tcp: service shop/web has it. Publish another port, or remove that service: skein rm shop/web",
    });
    t.match(outcome(before, put({ name: "zoo", ingress })), {
      code: "port_taken",
      message:
        "Service shop/zoo cannot have the host name and path a.example/: service shop/site has it. Choose another host name or path, or remove that service: skein rm shop/site",
    });
  });

  t.test("removing a service stops its tasks and remembers when", async (t) => {
    const state = applyAll(
      [put({}), tasksCommand({ create: [task()] }), { kind: "remove_services", services: [web] }],
      clusterOf("n1"),
    );
    t.notOk(state.services.has(web));
    t.match(state.tasks.get(taskId("t1")), { desired: "stopped", stoppedAtIndex: state.index });
  });
});

t.test("tasks", async (t) => {
  const base = applyAll([put({})], clusterOf("n1", "n2"));

  t.test("a plan made from an older service is stale", async (t) => {
    const plan = tasksCommand({ basedOn: { [web]: base.index - 1 }, create: [task()] });
    t.match(outcome(base, plan), { kind: "rejected", code: "stale" });
  });

  t.test("two leaders cannot both fill one slot", async (t) => {
    const plan = (id: string) =>
      tasksCommand({ basedOn: { [web]: base.index }, create: [task({ id: taskId(id) })] });
    const after = applyAll([plan("a")], base);
    t.match(outcome(after, plan("b")), { kind: "rejected", code: "stale" });
    t.equal(applyAll([plan("b")], after).tasks.size, 1);
  });

  t.test("a start-first update may have old and new side by side", async (t) => {
    const second = applyAll(
      [tasksCommand({ create: [task()] }), put({ template: template({ image: "web:2" }) })],
      base,
    );
    const create = [task({ id: taskId("t2"), revision: 2 })];
    t.match(outcome(second, tasksCommand({ create })), { kind: "accepted" });
  });

  t.test("what was stopped stays stopped, with the first reason", async (t) => {
    const stop = (reason: string) => tasksCommand({ stop: [{ id: taskId("t1"), reason }] });
    const state = applyAll([tasksCommand({ create: [task()] }), stop("one"), stop("two")], base);
    t.match(state.tasks.get(taskId("t1")), { stopReason: "one", stoppedAtIndex: state.index - 1 });
  });

  t.test("a roll-back brings the template before back as a new revision", async (t) => {
    const state = applyAll(
      [
        put({ template: template({ image: "web:2" }) }),
        tasksCommand({ rollouts: [{ service: web, state: "rolled_back" }] }),
      ],
      base,
    );
    t.match(state.services.get(web), {
      revision: 3,
      rollout: "rolled_back",
      spec: { template: { image: "web:1" } },
    });
  });
});

t.test("nodes and tokens", async (t) => {
  const token: Token = {
    id: "k1",
    role: "node",
    secretHash: "0".repeat(64),
    expiresAtMs: 1_000,
    usesLeft: 1,
    createdAtMs: 0,
  };
  const base = applyAll([{ kind: "put_token", token }], clusterOf("n1"));
  const join = (name: string, overrides: { nowMs?: number; tokenId?: string } = {}): Command => ({
    kind: "admit_node",
    node: clusterNode(name),
    tokenId: "k1",
    nowMs: 500,
    ...overrides,
  });

  const refused: readonly { name: string; command: Command; code: string; message: RegExp }[] = [
    {
      name: "an unknown token",
      command: join("n2", { tokenId: "nope" }),
      code: "token_invalid",
      message: /not known/,
    },
    {
      name: "an expired token",
      command: join("n2", { nowMs: 1_000 }),
      code: "token_invalid",
      message: /expired/,
    },
    {
      name: "a name that another node has",
      command: { ...join("n1"), node: clusterNode("n1", { id: nodeId("other") }) } as Command,
      code: "name_taken",
      message: /--name/,
    },
    {
      name: "a stranger without a token",
      command: { kind: "admit_node", node: clusterNode("n2"), nowMs: 1 },
      code: "not_found",
      message: /join with a token/,
    },
  ];
  for (const { name, command, code, message } of refused) {
    t.test(`refuses ${name}`, async (t) => {
      t.match(outcome(base, command), { kind: "rejected", code, message });
    });
  }

  t.test("a token admits as many machines as it says; a repeated join takes no use", async (t) => {
    const joined = applyAll([join("n2"), join("n2")], base);
    t.ok(joined.nodes.has(nodeId("n2")));
    t.match(outcome(base, join("n2")), { kind: "accepted" });
    t.match(outcome(joined, join("n2")), { kind: "accepted" }, "its first answer was lost");
    t.match(outcome(joined, join("n3")), { code: "token_invalid", message: /used up/ });
  });

  t.test("a revoked token admits nobody, and who joined with it stays", async (t) => {
    const revoke: Command = { kind: "revoke_token", tokenId: "k1" };
    const revoked = applyAll([join("n2"), revoke], base);
    t.ok(revoked.nodes.has(nodeId("n2")));
    t.match(outcome(revoked, join("n3")), { code: "token_invalid", message: /revoked/ });
    t.match(outcome(revoked, revoke), { code: "not_found", message: /token ls/ });
  });

  t.test("a removed node takes its tasks with it, and is remembered", async (t) => {
    const used = applyAll(
      [put({}), tasksCommand({ create: [task({ nodeId: nodeId("n2") })] })],
      clusterOf("n1", "n2"),
    );
    const remove: Command = { kind: "remove_node", nodeId: nodeId("n2") };
    t.match(outcome(used, { ...remove, onlyIfUnused: true }), {
      code: "conflict",
      message: /n2 has got tasks/,
    });
    const removed = applyAll([remove], used);
    t.notOk(removed.nodes.has(nodeId("n2")));
    t.equal(removed.tasks.size, 0);
    t.ok(removed.removedNodes.has(nodeId("n2")));
    const unused: Command = { ...remove, onlyIfUnused: true };
    t.match(outcome(clusterOf("n1", "n2"), unused), { kind: "accepted" });
    const again = { kind: "admit_node", node: clusterNode("n2"), nowMs: 5 } as const;
    t.match(outcome(removed, again), { code: "not_found" }, "not by itself");
    const token = { id: "k", role: "node", secretHash: "0".repeat(64), createdAtMs: 0 } as const;
    const back = applyAll(
      [
        { kind: "put_token", token: { ...token, expiresAtMs: 10 } },
        { ...again, tokenId: "k" },
      ],
      removed,
    );
    t.ok(back.nodes.has(nodeId("n2")));
    t.notOk(back.removedNodes.has(nodeId("n2")));
  });

  t.test("tokens that ended long ago make room for others", async (t) => {
    const at = (createdAtMs: number): Command => ({
      kind: "put_token",
      token: { ...token, id: "k2", createdAtMs, expiresAtMs: createdAtMs + 1 },
    });
    t.ok(applyAll([at(86_400_000)], base).tokens.has("k1"), "its holder is still told why");
    t.notOk(applyAll([at(30 * 86_400_000)], base).tokens.has("k1"));
    const full = applyAll(
      Array.from({ length: 1_000 }, (_, i) => ({
        kind: "put_token" as const,
        token: { ...token, id: `t${i}` },
      })),
      clusterOf("n1"),
    );
    t.match(outcome(full, at(1)), { code: "conflict", message: /1000 tokens/ });
    t.match(outcome(full, { kind: "put_token", token: { ...token, id: "t5" } }), {
      kind: "accepted",
    });
  });
});

t.test("a submission of new services only is refused where one exists", async (t) => {
  const before = applyAll([put({})], clusterOf("n1"));
  const again: Command = {
    kind: "put_services",
    specs: [serviceSpec({})],
    onlyNew: true,
    nowMs: 6,
  };
  t.match(outcome(before, again), {
    kind: "rejected",
    code: "conflict",
    message: /There is a service shop\/web already/,
  });
  const other = { ...again, specs: [serviceSpec({ name: "other" })] };
  t.match(outcome(before, other), { kind: "accepted" });
});

t.test("a plan removes a service with its tasks, and bears that it is gone already", async (t) => {
  const before = applyAll([put({}), tasksCommand({ create: [task()] })], clusterOf("n1"));
  const command = tasksCommand({ remove: [web, serviceKey("shop", "gone")] });
  const { state, outcome: result } = apply(before, before.index + 1, command);
  t.match(result, { kind: "accepted" });
  t.equal(state.services.size, 0);
  t.match([...state.tasks.values()], [{ desired: "stopped", stopReason: /removed/ }]);
});
