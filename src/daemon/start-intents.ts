import { ApiError, type IntentView, timeText } from "../api/index.ts";
import { type ApiBackend, nodeName } from "../api/server.ts";
import { compareText } from "../cluster/index.ts";
import {
  type Intent,
  type IntentCommand,
  IntentDesk,
  IntentError,
  isIntentCommand,
  namespacesOf,
  servicesOf,
} from "../intents/index.ts";
import { openIntentQueue } from "../intents/io/intent-file.ts";
import { systemClock as clock, systemRandom as random } from "../kernel/io/system.ts";
import type { RaftRunner } from "../raft/index.ts";
import type { Base, Submit } from "./base.ts";
import type { EventRecorder } from "./event-recorder.ts";
import { IntentWatch, type ToldIntent } from "./intent-events.ts";

/** Keeps the changes for which there is no quorum, and has them agreed when there is one. */
export function startIntents(
  { self, store, paths, logger, onFatal }: Base,
  parts: {
    readonly raft: RaftRunner;
    readonly submit: Submit;
    readonly events: EventRecorder;
    readonly starting: AsyncDisposableStack;
  },
): Pick<ApiBackend, "change" | "intents"> & { readonly warnings: () => readonly string[] } {
  const { raft, submit, events, starting } = parts;
  const log = logger.child({ part: "intents" });
  let damaged: string | undefined;
  const queue = openIntentQueue({
    file: paths.intents,
    onFatal,
    onDamaged: (movedTo) => {
      damaged = `The changes that were queued on this node could not be read; the file is ${movedTo}.`;
      log.error({ movedTo }, "queued changes unreadable");
    },
  });
  const desk = starting.use(
    new IntentDesk({
      queue,
      state: store.state,
      log: raft.status,
      submit,
      clock,
      random,
      logger: log,
    }),
  );
  const watch = starting.use(
    new IntentWatch({
      intents: {
        get: () => queue.intents.get().map(toldOf),
        subscribe: (listener) => queue.intents.subscribe(listener),
      },
      node: () => nodeName(store.state.get(), self),
      note: (draft) => events.note(draft),
    }),
  );
  const viewOf = (intent: Intent): IntentView => ({
    number: intent.number,
    node: nodeName(store.state.get(), self),
    change: describe(intent.command),
    services: [...servicesOf(intent.command)],
    author: intent.author,
    takenAt: timeText(intent.takenAtMs),
    state: intent.refusal === undefined ? "waiting" : "refused",
    message: messageOf(intent, queue.blockerOf(intent), raft.status.get().hasQuorum),
  });
  return {
    warnings: () => [...(damaged === undefined ? [] : [damaged]), ...desk.warnings()],
    change: async (command, options) => {
      if (!isIntentCommand(command)) return await submit(command, options);
      const outcome = await desk.change(command, options);
      if (outcome.kind !== "queued") return outcome;
      throw new ApiError("queued", queuedText(viewOf(outcome.intent)));
    },
    intents: {
      concerns: (namespace) =>
        queue.intents.get().some(({ command }) => namespacesOf(command).has(namespace)),
      views: () => queue.intents.get().map(viewOf),
      cancel: async (number) => {
        const undo = watch.cancelling(number);
        const cancelled = desk.cancel(number).catch((error: unknown) => {
          undo();
          return asApiError(error);
        });
        return viewOf(await cancelled);
      },
      apply: async (number) => {
        if (!raft.status.get().hasQuorum) {
          throw new ApiError(
            "no_quorum",
            "There is no quorum now. It waits on; see: skein queue ls. If the voters are gone for good: skein recover",
          );
        }
        const left = await desk.release(number).catch(asApiError);
        return left === undefined ? undefined : viewOf(left);
      },
    },
  };
}

function toldOf({ number, command, refusal }: Intent): ToldIntent {
  const services = servicesOf(command);
  return { number, change: describe(command), services, refusal: refusal?.message };
}

function queuedText({ number, node, change }: IntentView): string {
  return [
    `Queued: no quorum. "${change}" is kept on ${node} with the number ${number}`,
    "and runs once when a majority of the voters is back; if that is gone for good: skein recover.",
    `Containers run on. See: skein queue ls; take it back: skein queue cancel ${number}`,
  ].join(" ");
}

function messageOf({ refusal }: Intent, blocker: Intent | undefined, hasQuorum: boolean): string {
  if (refusal !== undefined) {
    const kind = refusal.code === "conflict" ? "Conflict" : "Refused";
    return `${kind}: ${refusal.message}`;
  }
  if (blocker !== undefined) return `Queued: after ${blocker.number}, which needs a decision`;
  return hasQuorum ? "Queued: being agreed" : "Queued: no quorum";
}

/** As somebody would type it. */
function describe(command: IntentCommand): string {
  switch (command.kind) {
    case "put_services":
      return `up ${servicesOf(command).toSorted(compareText).join(" ")}`;
    case "scale_service":
      return `scale ${command.service}=${command.replicas}`;
    case "remove_services":
      return `rm ${command.services.join(" ")}`;
    case "remove_namespace":
      return `ns rm ${command.namespace}`;
    case "steer_service":
      return `${command.action} ${command.service}`;
    case "roll_back_service":
      return `rollback ${command.service}${command.revision === undefined ? "" : ` --to ${command.revision}`}`;
  }
}

function asApiError(error: unknown): never {
  if (!(error instanceof IntentError)) throw error;
  const code = error.code === "not_found" ? "not_found" : "conflict";
  throw new ApiError(code, error.message, { cause: error });
}
