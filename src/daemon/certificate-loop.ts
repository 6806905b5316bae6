import {
  type Cell,
  type Clock,
  type Logger,
  messageOf,
  type ReadableCell,
  runReconcileLoop,
  Wakeup,
} from "../kernel/index.ts";
import type { AdmissionDesk } from "../network/io/admission.ts";
import { type Credentials, newTlsKey, validityOf } from "../network/io/credentials.ts";

/** Renewed when a third of the time has passed: two thirds are left for another try. */
const renewAfter = 1 / 3;
/** A person is told when there is less than this left. */
const warnBelow = 1 / 3;
const resyncMaxMs = 3_600_000;
const retryMaxMs = 300_000;
const attemptMs = 30_000;

type CertificateLoopOptions = {
  readonly credentials: Cell<Credentials>;
  readonly desk: Pick<AdmissionDesk, "renew">;
  /** Durable before it returns. */
  readonly save: (credentials: Credentials) => void;
  /** Hands new certificates to the proxy, which keeps its connections. */
  readonly configureProxy: (
    credentials: Credentials,
    options: { readonly signal: AbortSignal },
  ) => Promise<void>;
  readonly clock: Clock;
  readonly logger: Logger;
};

export type CertificateLoop = AsyncDisposable & {
  /** What a person has to look at. */
  warnings(): readonly string[];
};

/** Renews this node's certificates in place, long before they end; the TLS key with them. */
export function startCertificateLoop(options: CertificateLoopOptions): CertificateLoop {
  const { credentials, desk, clock, logger } = options;
  const stopping = new AbortController();
  let inProxy = credentials.get();
  let problem: string | undefined;

  async function look({ signal }: { readonly signal: AbortSignal }): Promise<void> {
    if (clock.now() >= dueAtMs(credentials)) {
      const { privateKeyPem, publicKeyPem } = newTlsKey();
      const inTime = AbortSignal.any([signal, AbortSignal.timeout(attemptMs)]);
      const issued = await desk.renew(publicKeyPem, { signal: inTime });
      const renewed = { ...credentials.get(), ...issued, tlsKeyPem: privateKeyPem };
      options.save(renewed);
      credentials.set(renewed);
      const { untilMs } = validityOf(renewed);
      logger.info({ until: new Date(untilMs).toISOString() }, "certificates renewed");
    }
    if (credentials.get() !== inProxy) {
      const latest = credentials.get();
      await options.configureProxy(latest, { signal });
      inProxy = latest;
    }
    problem = undefined;
  }

  /** Sleeps until the next renewal is due, however short-lived certificates are. */
  const { fromMs, untilMs } = validityOf(credentials.get());
  const resyncMs = Math.min(resyncMaxMs, Math.max(1_000, (untilMs - fromMs) / 20));
  const done = runReconcileLoop(
    new Wakeup(),
    {
      reconcile: look,
      onError: (error, retryInMs) => {
        problem = messageOf(error);
        logger.warn({ error: problem, retryInMs }, "certificates not renewed");
      },
      clock,
      resyncMs,
      retryMaxMs: Math.min(retryMaxMs, resyncMs),
    },
    stopping.signal,
  );
  return {
    warnings: () => warningsOf(credentials, clock.now(), problem),
    [Symbol.asyncDispose]: async () => {
      stopping.abort();
      await done;
    },
  };
}

function dueAtMs(credentials: ReadableCell<Credentials>): number {
  const { fromMs, untilMs } = validityOf(credentials.get());
  return fromMs + (untilMs - fromMs) * renewAfter;
}

function warningsOf(
  credentials: ReadableCell<Credentials>,
  nowMs: number,
  problem: string | undefined,
): readonly string[] {
  const { fromMs, untilMs } = validityOf(credentials.get());
  if (untilMs - nowMs > (untilMs - fromMs) * warnBelow) return [];
  const when = new Date(untilMs).toISOString();
  const why = problem === undefined ? "" : ` The last attempt failed: ${problem}`;
  return [
    nowMs < untilMs
      ? `This node's certificates end at ${when} and have not been renewed.${why}`
      : `This node's certificates ended at ${when}.${why}`,
  ];
}
