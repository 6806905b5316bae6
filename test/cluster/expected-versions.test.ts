import t from "tap";
import { apply, type Command, type ExpectedVersions } from "../../src/cluster/index.ts";
import { serviceKey } from "../../src/kernel/index.ts";
import { applyAll, clusterOf, serviceSpec, template } from "../builders.ts";

const web = serviceKey("shop", "web");
const nowMs = 1_000;

function up(image: string, expected?: ExpectedVersions): Command {
  const specs = [serviceSpec({ template: template({ image }) })];
  return { kind: "put_services", specs, nowMs, ...(expected === undefined ? {} : { expected }) };
}

/** The service was made by entry 2 and changed by entry 3. */
const present = applyAll([up("web:1"), up("web:2")], clusterOf("n1"));
const absent = clusterOf("n1");

const scale = (replicas: number, expected: ExpectedVersions): Command => ({
  kind: "scale_service",
  service: web,
  replicas,
  nowMs,
  expected,
});
const remove = (expected: ExpectedVersions): Command => ({
  kind: "remove_services",
  services: [web],
  expected,
});
const back = (expected: ExpectedVersions): Command => ({
  kind: "roll_back_service",
  service: web,
  nowMs,
  expected,
});

const seen = { [web]: [3] };
const old = { [web]: [2] };
const none = { [web]: [0] };

for (const [what, state, command, outcome] of [
  ["an update of what was seen", present, up("web:3", seen), "accepted"],
  ["an update of an older version", present, up("web:3", old), "conflict"],
  ["an update that says nothing of versions", present, up("web:3"), "accepted"],
  ["an update to what is there already", present, up("web:2", old), "accepted"],
  ["an update that expects one of several", present, up("web:3", { [web]: [2, 3] }), "accepted"],
  ["a new service where there is one by now", present, up("web:3", none), "conflict"],
  ["a new service where there is none", absent, up("web:3", none), "accepted"],
  ["an update of what was removed since", absent, up("web:3", seen), "conflict"],
  ["a scaling of what was seen", present, scale(9, seen), "accepted"],
  ["a scaling of an older version", present, scale(9, old), "conflict"],
  ["a scaling to what is there already", present, scale(3, old), "accepted"],
  ["a removal of what was seen", present, remove(seen), "accepted"],
  ["a removal of an older version", present, remove(old), "conflict"],
  ["a removal of what is gone already", absent, remove(seen), "accepted"],
  ["a roll-back of what was seen", present, back(seen), "accepted"],
  ["a roll-back of an older version", present, back(old), "conflict"],
] as const) {
  t.test(`${what}: ${outcome}`, async (t) => {
    const applied = apply(state, state.index + 1, command);
    const code = applied.outcome.kind === "rejected" ? applied.outcome.code : "accepted";
    t.equal(code, outcome);
    if (code === "conflict") t.equal(applied.state.services, state.services, "nothing changed");
  });
}
