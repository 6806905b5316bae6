import { taskId } from "../../kernel/index.ts";
import { passExitCode, requireTerminal, runConsole } from "../console.ts";
import { findTask } from "../find-task.ts";
import type { Session } from "../session.ts";
import { variablesOf } from "../variables.ts";

/** `skein exec [-it] SERVICE[/TASK] CMD...` */
export async function exec(
  session: Session,
  name: string,
  command: readonly string[],
  options: {
    readonly interactive?: boolean;
    readonly tty?: boolean;
    readonly env?: readonly string[];
    readonly workdir?: string;
    readonly user?: string;
    readonly container?: string;
  },
): Promise<void> {
  const { tty = false, interactive: stdin = false, workdir, user, container } = options;
  const environment = variablesOf(options.env ?? [], session.environment);
  if (tty && stdin) requireTerminal(process);
  await passExitCode(session, async () => {
    const task = await findTask(session, name);
    return await runConsole(
      session.client,
      {
        ...{
          kind: "exec",
          taskId: taskId(task.id),
          command: [...command],
          environment,
          tty,
          stdin,
        },
        ...(container === undefined ? {} : { container }),
        ...(workdir === undefined ? {} : { workingDirectory: workdir }),
        ...(user === undefined ? {} : { user }),
      },
      { terminal: process, tty, signal: session.signal },
    );
  });
}
