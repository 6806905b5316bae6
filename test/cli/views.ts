import type { ServiceView, TaskView } from "../../src/api/index.ts";
import type { Session } from "../../src/cli/session.ts";
import { serviceSpec } from "../builders.ts";

/** A service of which no task runs yet, as the API shows it. */
export function serviceView(overrides: Partial<ServiceView> = {}): ServiceView {
  return {
    namespace: "shop",
    name: "web",
    mode: "replicated",
    desired: 2,
    running: 0,
    updated: 0,
    stopping: 0,
    revision: 1,
    version: 1,
    standby: 0,
    pauseCause: null,
    rollout: "normal",
    image: "web:1",
    endpoints: [],
    pending: [],
    createdAt: "1970-01-01T00:00:00Z",
    updatedAt: "1970-01-01T00:00:00Z",
    spec: serviceSpec(),
    job: null,
    ...overrides,
  };
}

/** A task of it that starts. */
export function taskView(overrides: Partial<TaskView> = {}): TaskView {
  return {
    id: "t1",
    name: "web.1",
    namespace: "shop",
    service: "web",
    slot: 1,
    revision: 1,
    desired: "running",
    status: "starting",
    phase: "Pending",
    run: null,
    placement: "",
    createdAtIndex: 1,
    health: "none",
    restarts: 0,
    node: "n1",
    nodeId: "n1",
    image: "web:1",
    containerId: null,
    containers: [],
    ports: [],
    exitCode: null,
    message: "",
    reason: "",
    createdAt: "1970-01-01T00:00:00Z",
    ...overrides,
  };
}

/** What a command works with, where nobody is there to read. */
export function quietSession(client: Session["client"], overrides: Partial<Session> = {}): Session {
  return {
    client,
    output: "table",
    environment: {},
    workingDirectory: "/",
    namespace: undefined,
    print: () => undefined,
    note: () => undefined,
    setExitCode: () => undefined,
    now: () => 0,
    signal: new AbortController().signal,
    ...overrides,
  };
}
