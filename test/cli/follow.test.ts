import t from "tap";
import {
  ApiClient,
  type Change,
  type EventsView,
  type ServiceView,
  type TaskView,
} from "../../src/api/index.ts";
import { waitUntilGone, waitUntilStopped } from "../../src/cli/commands/wait-until-gone.ts";
import { followRollout } from "../../src/cli/follow.ts";
import type { Session } from "../../src/cli/session.ts";
import { serviceSpec } from "../builders.ts";
import { quietSession, serviceView, taskView } from "./views.ts";

/** One whose only task is being updated. */
function service(overrides: Partial<ServiceView> = {}): ServiceView {
  return serviceView({ desired: 1, revision: 2, ...overrides });
}

const failures: EventsView = {
  events: [
    failure("task/shop/web.1", "The image web:2 is not on this machine. Attempt 2, in 1 s."),
    failure("task/shop/web.1", "The image web:2 is not on this machine. Attempt 3, in 2 s."),
    failure("service/shop/web", "Revision 2 failed: its new tasks failed."),
  ],
  unreachable: [],
  isCut: false,
};

function failure(object: string, message: string): EventsView["events"][number] {
  return {
    id: message,
    time: "1970-01-01T00:00:01.000Z",
    type: "Warning",
    reason: "StartFailed",
    object,
    objectId: null,
    namespace: "shop",
    service: "web",
    node: "n1",
    message,
    revision: 2,
    index: 7,
    isAgreed: false,
  };
}

/** A session whose daemon answers with these documents, one after the other, by path. */
function sessionWith(answers: Readonly<Record<string, readonly unknown[]>>): Session {
  let nowMs = 0;
  const left = new Map(Object.entries(answers).map(([path, documents]) => [path, [...documents]]));
  const client = new ApiClient({
    send: async ({ path }) => {
      const plain = path.replace(/\?.*$/, "");
      const isStream = plain.startsWith("/v1/watch/");
      return {
        status: 200,
        lines: (async function* () {
          const documents = left.get(plain) ?? [];
          const taken = isStream ? documents.splice(0) : documents.splice(0, 1);
          for (const document of taken) {
            nowMs += 6_000;
            yield JSON.stringify(document);
          }
        })(),
      };
    },
  });
  return quietSession(client, { now: () => nowMs });
}

const views = "/v1/watch/services";
const web = new Set(["web"]);
const update = { namespace: "shop", isUpdate: true };

t.test("who waits for a service that others remove is told so", async (t) => {
  const session = sessionWith({ [views]: [[service()], [], []] });
  const failed = { code: "conflict", message: /web was removed meanwhile/ };
  await t.rejects(followRollout(session, web, update), failed);
});

t.test("who waits for a service that never shows is told that it is gone", async (t) => {
  const session = sessionWith({ [views]: [[], [], [], []] });
  await t.rejects(followRollout(session, web, update), { code: "conflict" });
});

t.test("an update that another one overtakes is a conflict, not a success", async (t) => {
  const done = service({ revision: 3, running: 1, updated: 1 });
  const seen = sessionWith({ [views]: [[service()], [done], [done]] });
  const overtaken = { code: "conflict", message: /revision 3 now, and this was about revision 2/ };
  await t.rejects(followRollout(seen, web, update), overtaken);

  const change: Change = {
    namespace: "shop",
    name: "web",
    action: "update",
    details: [],
    revision: 2,
  };
  const late = sessionWith({ [views]: [[done], [done]] });
  const changes = [change];
  await t.rejects(followRollout(late, web, { ...update, changes }), overtaken, "before any view");

  const scaled = sessionWith({ [views]: [[service()], [done], [done], [done]] });
  const options = { namespace: "shop", isUpdate: false };
  const services = await followRollout(scaled, web, options);
  t.equal(services.length, 1, "a number of replicas holds for any revision");
});

t.test("an update that was rolled back ends with what its tasks failed of", async (t) => {
  const back = service({ revision: 3, running: 1, updated: 1, rollout: "rolled_back" });
  const session = sessionWith({ [views]: [[service()], [back]], "/v1/events": [failures] });
  await t.rejects(followRollout(session, web, update), {
    code: "failed",
    message: /rolled back.*\n {2}The image web:2 is not on this machine\.$/,
  });
});

function task(desired: TaskView["desired"]): TaskView {
  return taskView({ desired, status: "running", phase: "Running" });
}

t.test("a removal does not wait for the tasks of a service that was submitted again", async (t) => {
  const session = sessionWith({
    "/v1/tasks": [[task("stopped"), task("running")], [task("running")]],
  });
  await waitUntilGone(session, { namespace: "shop", service: "web" });
  t.pass("the tasks that run are those of the new service");
});

t.test("stopping what somebody starts again is a conflict", async (t) => {
  const tasks = [[task("running")], [task("running")]];
  const spec = { ...serviceSpec(), isStopped: true as const };
  const views = [service({ spec }), service()];
  const session = sessionWith({ "/v1/tasks": tasks, "/v1/services/shop/web": views });
  await t.rejects(waitUntilStopped(session, { namespace: "shop", service: "web" }), {
    code: "conflict",
    message: /started again/,
  });
});
