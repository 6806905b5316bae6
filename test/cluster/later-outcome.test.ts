import t from "tap";
import { apply, ClusterStore, type Command } from "../../src/cluster/index.ts";
import { encodeState } from "../../src/cluster/snapshot.ts";
import { clusterOf, serviceSpec, template } from "../builders.ts";

const { signal } = new AbortController();
const nowMs = 1;

const put = (image: string): Command => ({
  kind: "put_services",
  specs: [serviceSpec({ template: template({ image }) })],
  nowMs,
});
const scale = (replicas: number): Command => ({
  kind: "scale_service",
  service: "shop/web" as never,
  replicas,
  nowMs,
});
const remove: Command = { kind: "remove_services", services: ["shop/web" as never] };
const restart: Command = {
  kind: "steer_service",
  service: "shop/web" as never,
  action: "restart",
  nowMs,
};

/** What a node says of `command` that only ever saw a snapshot of the state after all of `entries`. */
async function outcomeOf(command: Command, entries: readonly Command[], at: number) {
  const ahead = new ClusterStore();
  const first = clusterOf("n1");
  let state = first;
  for (const entry of entries) state = apply(state, state.index + 1, entry).state;
  ahead.restore(encodeState(state), state.index);
  const log = { propose: async () => first.index + at };
  return await ahead.submit(log, command, { signal });
}

const cases: readonly {
  readonly title: string;
  readonly command: Command;
  readonly entries: readonly Command[];
  readonly at: number;
  readonly kind: "accepted" | "rejected";
}[] = [
  { title: "a new service", command: put("a"), entries: [put("a")], at: 1, kind: "accepted" },
  {
    title: "an update that was updated once more since",
    command: put("b"),
    entries: [put("a"), put("b"), put("c")],
    at: 2,
    kind: "accepted",
  },
  {
    title: "another number of replicas",
    command: scale(7),
    entries: [put("a"), scale(7), put("b")],
    at: 2,
    kind: "rejected",
  },
  {
    title: "a number of replicas that is still the one",
    command: scale(7),
    entries: [put("a"), scale(7), restart],
    at: 2,
    kind: "accepted",
  },
  { title: "a removal", command: remove, entries: [put("a"), remove], at: 2, kind: "accepted" },
  { title: "a restart", command: restart, entries: [put("a"), restart], at: 2, kind: "accepted" },
  {
    title: "an update of which nothing is left",
    command: put("b"),
    entries: [put("a"), put("b"), remove, put("c")],
    at: 2,
    kind: "rejected",
  },
];

for (const { title, command, entries, at, kind } of cases) {
  t.test(`overtaken by a snapshot, ${title} is ${kind}`, async (t) => {
    t.match(await outcomeOf(command, entries, at), { kind });
  });
}
