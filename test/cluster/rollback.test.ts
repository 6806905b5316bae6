import t from "tap";
import { apply, type Command, type Service } from "../../src/cluster/index.ts";
import { serviceKey } from "../../src/kernel/index.ts";
import { applyAll, clusterOf, serviceSpec, template } from "../builders.ts";

const web = serviceKey("shop", "web");

function put(image: string): Command {
  return {
    kind: "put_services",
    specs: [serviceSpec({ template: template({ image }) })],
    nowMs: 5,
  };
}

function rollBack(revision?: number): Command {
  const chosen = revision === undefined ? {} : { revision };
  return { kind: "roll_back_service", service: web, ...chosen, nowMs: 9 };
}

function after(...commands: readonly Command[]): Service {
  const service = applyAll(commands, clusterOf("n1")).services.get(web);
  if (service === undefined) throw new Error("no service");
  return service;
}

t.test("going back makes the revision before a new one", async (t) => {
  const service = after(put("web:1"), put("web:2"), rollBack());
  t.equal(service.revision, 3);
  t.equal(service.spec.template.image, "web:1");
  t.match(service.revisions, [
    { revision: 1, cause: "submitted", atMs: 5 },
    { revision: 2, cause: "submitted" },
    { revision: 3, cause: "rollback", source: 1, atMs: 9 },
  ]);
});

t.test("going back twice is where it began", async (t) => {
  const service = after(put("web:1"), put("web:2"), rollBack(), rollBack());
  t.equal(service.spec.template.image, "web:2");
});

t.test("any revision that is kept can be named", async (t) => {
  const service = after(put("web:1"), put("web:2"), put("web:3"), rollBack(1));
  t.equal(service.spec.template.image, "web:1");
});

t.test("what cannot be gone back to is refused", async (t) => {
  const refusals: readonly (readonly [readonly Command[], Command, object])[] = [
    [[], rollBack(), { code: "not_found", message: "No service shop/web." }],
    [[put("web:1")], rollBack(), { code: "not_found", message: /no earlier revision/ }],
    [[put("web:1"), put("web:2")], rollBack(7), { code: "not_found", message: /no revision 7/ }],
    [[put("web:1"), put("web:2")], rollBack(2), { code: "conflict" }],
  ];
  for (const [before, command, outcome] of refusals) {
    const state = applyAll(before, clusterOf("n1"));
    t.match(apply(state, state.index + 1, command).outcome, { kind: "rejected", ...outcome });
  }
});

t.test("the notes of revisions, and the templates, are bounded", async (t) => {
  const images = Array.from({ length: 40 }, (_, i) => put(`web:${i}`));
  const tidy: Command = {
    kind: "update_tasks",
    basedOn: {},
    create: [],
    stop: [],
    forget: [],
    rollouts: [],
  };
  const service = after(...images, tidy);
  t.equal(service.revisions?.length, 20);
  t.equal(service.templates.size, 5);
});
