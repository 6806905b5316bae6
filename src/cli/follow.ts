import type { ServiceView } from "../api/index.ts";
import { CliError } from "./cli-error.ts";
import type { Session } from "./session.ts";

/** After this long without any progress, a service that cannot be placed counts as stuck. */
const pendingPatienceMs = 10_000;

/**
 * Follows services until each is as it should be, with a line for every step.
 * @throws CliError `failed` for a roll-out that stopped, `not_placeable` for one that waits.
 */
export async function followRollout(
  session: Session,
  names: ReadonlySet<string>,
  { namespace }: { readonly namespace: string },
): Promise<readonly ServiceView[]> {
  const startedAt = session.now();
  const shown = new Map<string, string>();
  let progressedAt = startedAt;
  const done = new AbortController();
  const signal = AbortSignal.any([session.signal, done.signal]);
  const stream = session.client.stream("watchServices", { signal, query: { namespace } });
  let newest: readonly ServiceView[] = [];
  for await (const all of withTicks(stream, { everyMs: 1_000, end: () => done.abort() })) {
    if (all !== undefined) newest = all.filter((service) => names.has(service.name));
    if (newest.length < names.size) continue;
    for (const service of newest) {
      const text = progressOf(service);
      if (shown.get(service.name) === text) continue;
      shown.set(service.name, text);
      progressedAt = session.now();
      const seconds = ((session.now() - startedAt) / 1_000).toFixed(1);
      session.note(`${seconds.padStart(6)}s  ${service.name}: ${text}\n`);
    }
    if (newest.every(isSettled)) return newest;
    const stopped = newest.find((service) => service.rollout !== "normal");
    if (stopped !== undefined) throw stoppedRollout(stopped);
    const stuck = newest.filter((service) => service.pending.length > 0);
    if (stuck.length > 0 && session.now() - progressedAt > pendingPatienceMs) {
      throw new CliError("not_placeable", pendingText(stuck));
    }
  }
  throw new CliError("interrupted", "The daemon ended the watch. See: skein ls");
}

function isSettled(service: ServiceView): boolean {
  return (
    service.updated === service.desired &&
    service.running === service.desired &&
    service.stopping === 0
  );
}

function progressOf({ desired, running, updated, stopping }: ServiceView): string {
  const old = running - updated;
  const parts = [`${updated}/${desired} running`];
  if (old > 0) parts.push(`${old} of the old version`);
  if (stopping > 0) parts.push(`${stopping} stopping`);
  return parts.join(", ");
}

function stoppedRollout(service: ServiceView): CliError {
  const what =
    service.rollout === "rolled_back"
      ? "was rolled back: new tasks failed"
      : "was paused: new tasks failed";
  return new CliError(
    "failed",
    `The update of ${service.name} ${what}. See why with: skein ps ${service.name}`,
  );
}

function pendingText(services: readonly ServiceView[]): string {
  const lines = services.flatMap((service) =>
    service.pending.map((reason) => `  ${service.name}: ${reason}`),
  );
  return `Accepted, but not everything can be placed now; it will be when there is room.\n${lines.join("\n")}`;
}

/** The stream's values, and `undefined` whenever `everyMs` pass without one. */
async function* withTicks<T>(
  stream: AsyncIterable<T>,
  { everyMs, end }: { readonly everyMs: number; readonly end: () => void },
): AsyncIterable<T | undefined> {
  const iterator = stream[Symbol.asyncIterator]();
  let next = iterator.next();
  try {
    for (;;) {
      const timer = new AbortController();
      const tick = new Promise<undefined>((resolve) => {
        const handle = setTimeout(() => resolve(undefined), everyMs);
        timer.signal.addEventListener("abort", () => clearTimeout(handle));
      });
      const result = await Promise.race([next, tick]);
      timer.abort();
      if (result === undefined) {
        yield undefined;
      } else if (result.done === true) {
        return;
      } else {
        next = iterator.next();
        yield result.value;
      }
    }
  } finally {
    // A stream that waits for its next value can only be ended from outside.
    end();
    await next.catch(() => undefined);
    await iterator.return?.();
  }
}
