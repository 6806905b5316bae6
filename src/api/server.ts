/** The side of the HTTP contract that answers: only a daemon needs it. */

export type { EventsBackend } from "./event-handlers.ts";
export { type ApiBackend, makeHandlers } from "./handlers.ts";
export { type Facts, nodeName, taskViews, tokenView } from "./views-of-state.ts";
