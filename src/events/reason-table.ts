import { eventReasons } from "./reasons.ts";

/** The reference page of the reasons. */
export function reasonPage(): string {
  const rows = Object.entries(eventReasons).map(
    ([reason, { type, says }]) => `| \`${reason}\` | ${type} | ${says} |\n`,
  );
  return `# Events

\`skein events\` and \`GET /v1/events\` tell of what happened. Each event has:

| Field | Says |
|---|---|
| \`time\` | when, by the clock of the machine that saw it or proposed the change |
| \`type\` | \`Normal\`, or \`Warning\` where somebody should look |
| \`reason\` | one of those below; newer daemons may have more |
| \`object\` | \`task/NAMESPACE/NAME\`, \`service/NAMESPACE/NAME\`, \`node/NAME\` or \`cluster\` |
| \`node\` | the machine where it happened |
| \`message\` | a sentence with names and numbers |
| \`revision\` | of the service |
| \`index\` | the log index of the decision; of what a node saw, how far it had applied the log |
| \`isAgreed\` | whether it is a decision of the cluster, which every node knows, or was seen by one node |
| \`id\` | the same for the same happening, whichever node is asked |

\`GET /v1/events\` takes \`object\`, \`reason\` (several with commas), \`type\`, \`namespace\`, \`since\`, \`until\` and \`limit\`, and answers with \`events\` (the oldest first), \`unreachable\` (machines whose own observations are missing) and \`isCut\` (there are older ones). \`GET /v1/watch/events\` answers with the same, one document a line, for as long as the client listens. \`GET /v1/why-then?object=web.2&at=TIME\` tells what was decided up to a time.

| Reason | Type | Says |
|---|---|---|
${rows.join("")}`;
}
