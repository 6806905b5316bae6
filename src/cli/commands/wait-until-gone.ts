import { codeOf } from "../../kernel/index.ts";
import { CliError } from "../cli-error.ts";
import type { Session } from "../session.ts";

const pollMs = 250;

type Waited = { readonly namespace: string; readonly service?: string };

/**
 * Waits until no node that can be reached runs any of the removed tasks. Those of a service
 * that somebody submits again meanwhile are not among them.
 */
export async function waitUntilGone(session: Session, query: Waited): Promise<void> {
  await waitForTasks(session, query, async (tasks) =>
    tasks.filter(({ desired }) => desired === "stopped"),
  );
}

/**
 * Waits until a service that was stopped runs nowhere.
 * @throws CliError `conflict` when somebody starts it again.
 */
export async function waitUntilStopped(session: Session, query: Required<Waited>): Promise<void> {
  const { namespace, service: name } = query;
  await waitForTasks(session, query, async (tasks) => {
    // Its tasks are told to stop one by one, so all of them count.
    if (tasks.length > 0 && (await runsAgain(session, query))) {
      const what = `${namespace}/${name} was started again while it was being stopped. See: skein ls`;
      throw new CliError("conflict", what);
    }
    return tasks;
  });
}

async function runsAgain(session: Session, query: Required<Waited>): Promise<boolean> {
  const params = { namespace: query.namespace, name: query.service };
  try {
    const { spec } = await session.client.call("getService", { params, signal: session.signal });
    return spec.isStopped !== true;
  } catch (error) {
    // Removed by somebody: its tasks are stopped all the same.
    if (codeOf(error) === "not_found") return false;
    throw error;
  }
}

type Task = { readonly status: string; readonly desired: string };

async function waitForTasks(
  session: Session,
  query: Waited,
  counted: (tasks: readonly Task[]) => Promise<readonly Task[]>,
): Promise<void> {
  let shown = -1;
  while (!session.signal.aborted) {
    const tasks = await session.client.call("listTasks", { query, signal: session.signal });
    const left = (await counted(tasks.filter((task) => task.status !== "unknown"))).length;
    if (left === 0) return;
    if (left !== shown) session.note(`stopping ${left} task${left === 1 ? "" : "s"} …\n`);
    shown = left;
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
  throw new CliError("interrupted", "Detached; the removal goes on.");
}
