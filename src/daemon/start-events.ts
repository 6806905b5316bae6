import { openEventJournal } from "../events/io/event-journal.ts";
import { systemClock as clock } from "../kernel/io/system.ts";
import type { Base } from "./base.ts";
import { EventRecorder } from "./event-recorder.ts";

/** Opens the history, and writes down from now on what the log brings. Before the log starts. */
export async function startEvents(
  { self, settings, version, paths, store, logger }: Base,
  starting: AsyncDisposableStack,
): Promise<EventRecorder> {
  const journal = starting.use(
    await openEventJournal({
      directory: paths.events,
      self,
      clock,
      logger: logger.child({ part: "events" }),
    }),
  );
  const recorder = new EventRecorder({
    self,
    name: settings.name,
    version,
    journal,
    state: store.state,
    clock,
  });
  store.tell(recorder);
  // The log has stopped by then: what it brought is in the history.
  starting.defer(() => journal.mark(store.state.get().index));
  return recorder;
}
