import type { ContainerInfo } from "dockerode";
import t from "tap";
import { taskId } from "../../src/kernel/index.ts";
import { type Container, containerLabels } from "../../src/runtime/index.ts";
import { createdContainerOf } from "../../src/runtime/io/docker-container.ts";
import { InspectionCache } from "../../src/runtime/io/docker-inspections.ts";

const summaryOf = (id: string, state = "running"): ContainerInfo =>
  ({ Id: id, State: state, Ports: [], NetworkSettings: { Networks: {} } }) as never;

const containerOf = (id: string): Container => ({
  id,
  taskId: taskId("task"),
  state: { kind: "running", startedAtMs: 1 },
  labels: {},
  endpoints: [],
  hostPorts: [],
});

function hearing(): InspectionCache {
  const cache = new InspectionCache();
  cache.setHearing(true);
  return cache;
}

/** Inspects a container, while something happens. */
function inspect(cache: InspectionCache, id: string, meanwhile: () => void = () => undefined) {
  const heardBefore = cache.heard;
  meanwhile();
  cache.remember(summaryOf(id), containerOf(id), { heardBefore });
}

t.test("an inspection is remembered until an event names its container", async (t) => {
  const cache = hearing();
  inspect(cache, "a");
  inspect(cache, "b");
  t.match(cache.find(summaryOf("a")), { id: "a" });
  cache.hear("a");
  t.equal(cache.find(summaryOf("a")), undefined);
  t.match(cache.find(summaryOf("b")), { id: "b" });
});

t.test("events of other containers during an inspection do not spoil it", async (t) => {
  const cache = hearing();
  cache.hear("a");
  inspect(cache, "a", () => cache.hear("b"));
  t.match(cache.find(summaryOf("a")), { id: "a" });
});

t.test("an inspection is not remembered when meanwhile", async (t) => {
  const cases: Readonly<Record<string, (cache: InspectionCache) => void>> = {
    "an event named the container": (cache) => cache.hear("a"),
    "the events broke off": (cache) => cache.setHearing(false),
    "the events broke off and came back": (cache) => {
      cache.setHearing(false);
      cache.setHearing(true);
    },
    "more containers were named than are kept": (cache) => {
      cache.hear("a");
      for (let i = 0; i < 10_000; i += 1) cache.hear(`other-${i}`);
    },
  };
  for (const [name, meanwhile] of Object.entries(cases)) {
    const cache = hearing();
    inspect(cache, "a", () => meanwhile(cache));
    t.equal(cache.find(summaryOf("a")), undefined, name);
  }
});

t.test("a container that looks different in the list is inspected again", async (t) => {
  const cache = hearing();
  inspect(cache, "a");
  t.equal(cache.find(summaryOf("a", "exited")), undefined);
});

t.test("what the list tells of a container that has not started is all of it", async (t) => {
  const labels = { [containerLabels.taskId]: "task", "other.label": "kept" };
  const listed = (state: string, known: object = labels): ContainerInfo =>
    ({ ...summaryOf("a", state), Labels: known }) as never;
  t.strictSame(createdContainerOf(listed("created")), {
    id: "a",
    taskId: "task",
    labels,
    state: { kind: "created" },
    endpoints: [],
    hostPorts: [],
  });
  t.equal(createdContainerOf(listed("running")), undefined);
  t.equal(createdContainerOf(listed("exited")), undefined);
  t.equal(createdContainerOf(listed("created", {})), undefined, "not Skein's");
});
