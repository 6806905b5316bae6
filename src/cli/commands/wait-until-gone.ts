import { CliError } from "../cli-error.ts";
import type { Session } from "../session.ts";

const pollMs = 250;

/** Waits until no node that can be reached runs any of these tasks. */
export async function waitUntilGone(
  session: Session,
  query: { readonly namespace: string; readonly service?: string },
): Promise<void> {
  let shown = -1;
  while (!session.signal.aborted) {
    const tasks = await session.client.call("listTasks", { query, signal: session.signal });
    const left = tasks.filter((task) => task.status !== "unknown").length;
    if (left === 0) return;
    if (left !== shown) session.note(`stopping ${left} task${left === 1 ? "" : "s"} …\n`);
    shown = left;
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
  throw new CliError("interrupted", "Detached; the removal goes on.");
}
