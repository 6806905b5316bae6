import t from "tap";
import { apply, type Command, type Service } from "../../src/cluster/index.ts";
import { serviceKey } from "../../src/kernel/index.ts";
import { applyAll, clusterOf, serviceSpec, template } from "../builders.ts";

const web = serviceKey("shop", "web");
const put: Command = { kind: "put_services", specs: [serviceSpec()], nowMs: 5 };

function steer(action: "restart" | "stop" | "start"): Command {
  return { kind: "steer_service", service: web, action, nowMs: 9 };
}

function after(...commands: readonly Command[]): Service {
  const service = applyAll(commands, clusterOf("n1")).services.get(web);
  if (service === undefined) throw new Error("no service");
  return service;
}

t.test("a restart is a revision like the one before, that the same file does not undo", (t) => {
  const service = after(put, steer("restart"));
  t.match(service, { revision: 2, restartedAtRevision: 2, rollout: "normal", updatedAtMs: 9 });
  t.match(service.revisions?.at(-1), { revision: 2, cause: "restart" });
  t.strictSame(service.spec, serviceSpec());
  t.equal(after(put, steer("restart"), put).revision, 2, "nothing to do");
  t.end();
});

t.test("another file after a restart is an update like any other", (t) => {
  const next = serviceSpec({ template: template({ image: "web:2" }) });
  const updated: Command = { kind: "put_services", specs: [next], nowMs: 10 };
  const service = after(put, steer("restart"), updated);
  t.match(service, { revision: 3, spec: { template: { image: "web:2" } } });
  t.notOk("restartedAtRevision" in service);
  t.end();
});

t.test("stopped until it is started, scaled or submitted again", (t) => {
  t.equal(after(put, steer("stop")).spec.isStopped, true);
  const scale: Command = { kind: "scale_service", service: web, replicas: 5, nowMs: 10 };
  for (const back of [steer("start"), put, scale]) {
    const service = after(put, steer("stop"), back);
    t.notOk(service.spec.isStopped, back.kind);
    t.equal(service.revision, 1, "of the same description");
  }
  const stopped = after(put, steer("stop"));
  t.equal(after(put, steer("stop"), steer("stop")).version, stopped.version, "twice is once");
  t.end();
});

t.test("what cannot be done says what can", (t) => {
  const job = serviceSpec({
    mode: { kind: "replicated-job", completions: 1, parallelism: 1, retries: 0 },
  });
  const putJob: Command = { kind: "put_services", specs: [job], nowMs: 5 };
  const cases = [
    { before: [], action: "stop", message: /No service/ },
    { before: [putJob], action: "restart", message: /is a job.*skein job run/ },
    { before: [put, steer("stop")], action: "restart", message: /is stopped.*skein start/ },
  ] as const;
  for (const { before, action, message } of cases) {
    const state = applyAll(before, clusterOf("n1"));
    const { outcome } = apply(state, state.index + 1, steer(action));
    t.match(outcome, { kind: "rejected", message });
  }
  t.end();
});
