import type { ApiClient, ServiceView } from "../api/index.ts";
import { CliError } from "./cli-error.ts";

/** What every command works with: where to ask, where to write, when to stop. */
export type Session = {
  readonly client: ApiClient;
  readonly output: "table" | "json";
  readonly environment: NodeJS.ProcessEnv;
  readonly workingDirectory: string;
  readonly namespace: string | undefined;
  /** Results. */
  readonly print: (text: string) => void;
  /** Progress and warnings, on stderr. */
  readonly note: (text: string) => void;
  readonly setExitCode: (code: number) => void;
  readonly now: () => number;
  /** Aborted by Ctrl-C. */
  readonly signal: AbortSignal;
};

/** Prints a result in the asked form: a list as one JSON array, or as a table. */
export function show<T>(session: Session, value: T, asTable: (value: T) => string): void {
  session.print(
    session.output === "json" ? `${JSON.stringify(value, undefined, 2)}\n` : asTable(value),
  );
}

/** Says on stderr when the cluster cannot decide: what is shown may be old, and changes wait. */
export async function warnWithoutQuorum(session: Session): Promise<void> {
  const { quorum } = await session.client.call("status", { signal: session.signal });
  if (quorum.hasQuorum) return;
  if (quorum.voters === 0) {
    session.note(
      "not caught up: this node has not heard from its cluster yet; what is shown is not all\n",
    );
    return;
  }
  session.note(
    `degraded: ${quorum.votersAlive} of ${quorum.voters} voters reachable; containers run and traffic flows, changes have to wait. If the others are gone for good: skein recover\n`,
  );
}

/**
 * The service that a name means: `NAMESPACE/NAME`, or a bare name in the asked namespace, else
 * in the only one that has it.
 */
export async function findService(session: Session, text: string): Promise<ServiceView> {
  const { client, signal } = session;
  const slash = text.indexOf("/");
  const name = text.slice(slash + 1);
  const namespace = slash < 0 ? session.namespace : text.slice(0, slash);
  const services = await client.call("listServices", { signal, query: { namespace } });
  const found = services.filter((service) => service.name === name);
  const [only, ...others] = found;
  if (only === undefined) {
    const where = namespace === undefined ? "" : ` in namespace "${namespace}"`;
    throw new CliError("not_found", `There is no service "${name}"${where}. See: skein ls`);
  }
  if (others.length > 0) {
    const names = found.map((service) => service.namespace).join(", ");
    throw new CliError(
      "usage",
      `Service "${name}" exists in several namespaces (${names}). Say which with -n`,
    );
  }
  return only;
}
