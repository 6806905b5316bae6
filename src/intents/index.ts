/**
 * Changes that were asked for while there was no quorum: kept on the node that took them, and
 * proposed once when there is one again.
 */
export {
  decodeIntents,
  type Intent,
  type IntentCommand,
  isIntentCommand,
  namespacesOf,
  noIntents,
  type StoredIntents,
  servicesOf,
} from "./intent.ts";
export { type ChangeOutcome, IntentDesk, type IntentDeskOptions } from "./intent-desk.ts";
export { IntentError, IntentQueue, maxIntents } from "./intent-queue.ts";
