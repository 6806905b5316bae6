import { Packr } from "msgpackr";
import { z } from "zod";
import {
  type ClusterState,
  type Command,
  decodeCommand,
  type ExpectedVersions,
  encodeCommand,
  keyOf,
  servicesIn,
} from "../cluster/index.ts";
import { type ServiceKey, splitServiceKey } from "../kernel/index.ts";

/** The commands that wait for a quorum; others are refused while there is none. */
export type IntentCommand = Extract<
  Command,
  {
    readonly kind:
      | "put_services"
      | "scale_service"
      | "remove_services"
      | "remove_namespace"
      | "roll_back_service"
      | "steer_service";
  }
>;

/** Why the cluster did not do it: kept for a person to decide. */
export type Refusal = { readonly code: string; readonly message: string };

/** A change that somebody asked for and that the cluster has not agreed to yet. */
export type Intent = {
  /** Counts up on its node and is never given twice. */
  readonly number: number;
  /** Its name in the log, the same at every attempt, so that it is applied once. */
  readonly proposalId: string;
  readonly author: string;
  /** Wall clock, ms. */
  readonly takenAtMs: number;
  readonly command: IntentCommand;
  /** Absent while it waits. */
  readonly refusal?: Refusal;
};

export type StoredIntents = { readonly next: number; readonly intents: readonly Intent[] };

export const noIntents: StoredIntents = { next: 1, intents: [] };

const kinds: Readonly<Record<IntentCommand["kind"], true>> = {
  put_services: true,
  scale_service: true,
  remove_services: true,
  remove_namespace: true,
  roll_back_service: true,
  steer_service: true,
};

export function isIntentCommand(command: Command): command is IntentCommand {
  return Object.hasOwn(kinds, command.kind);
}

/** The services that a command is about; of a namespace those that were seen in it. */
export function servicesOf(command: IntentCommand): readonly ServiceKey[] {
  switch (command.kind) {
    case "put_services":
      return command.specs.map(keyOf);
    case "remove_services":
      return command.services;
    case "remove_namespace":
      return Object.keys(command.expected ?? {}) as ServiceKey[];
    default:
      return [command.service];
  }
}

export function namespacesOf(command: IntentCommand): ReadonlySet<string> {
  if (command.kind === "remove_namespace") return new Set([command.namespace]);
  return new Set(servicesOf(command).map((key) => splitServiceKey(key).namespace));
}

/** The command, to be applied only while the services are as this state shows them. */
export function expecting(command: IntentCommand, state: ClusterState): IntentCommand {
  const keys =
    command.kind === "remove_namespace"
      ? servicesIn(state, command.namespace)
      : servicesOf(command);
  const versions = keys.map((key): [string, readonly number[]] => [
    key,
    [state.services.get(key)?.version ?? 0],
  ]);
  return { ...command, expected: Object.fromEntries(versions) };
}

/**
 * A later intent once `done` was agreed at `index`: it was made by somebody who had asked for
 * that before, so what `done` made of the services is what it expects.
 */
export function following(later: Intent, done: IntentCommand, index: number): Intent {
  const { expected } = later.command;
  if (expected === undefined) return later;
  const changed: Record<string, readonly number[]> = {};
  for (const key of servicesOf(done)) {
    const versions = expected[key] ?? (isWithin(later.command, key) ? [0] : undefined);
    if (versions !== undefined) changed[key] = versionsAfter(versions, done, index);
  }
  if (Object.keys(changed).length === 0) return later;
  const next: ExpectedVersions = { ...expected, ...changed };
  return { ...later, command: { ...later.command, expected: next } };
}

/** Of a namespace everything is meant, also what was not there yet when it was asked for. */
function isWithin(command: IntentCommand, key: ServiceKey): boolean {
  return (
    command.kind === "remove_namespace" && splitServiceKey(key).namespace === command.namespace
  );
}

/** One that was as asked for already keeps its version. */
function versionsAfter(
  versions: readonly number[],
  { kind }: IntentCommand,
  index: number,
): readonly number[] {
  if (kind === "remove_services" || kind === "remove_namespace") return [0];
  return [...versions.filter((version) => version > 0), index];
}

const packr = new Packr({ useRecords: false });
const formatVersion = 1;

const storedSchema = z.object({
  formatVersion: z.literal(formatVersion),
  next: z.int().positive(),
  intents: z.array(
    z.object({
      number: z.int().positive(),
      proposalId: z.string().min(1).max(64),
      author: z.string().max(256),
      takenAtMs: z.number(),
      command: z.custom<Uint8Array>((value) => value instanceof Uint8Array),
      refusal: z.object({ code: z.string(), message: z.string() }).optional(),
    }),
  ),
});

export function encodeIntents({ next, intents }: StoredIntents): Uint8Array {
  const stored = intents.map((intent) => ({ ...intent, command: encodeCommand(intent.command) }));
  return new Uint8Array(packr.pack({ formatVersion, next, intents: stored }));
}

/** Undefined when the bytes hold no intents that this version understands. */
export function decodeIntents(bytes: Uint8Array): StoredIntents | undefined {
  let value: unknown;
  try {
    value = packr.unpack(bytes);
  } catch {
    return undefined;
  }
  const parsed = storedSchema.safeParse(value);
  if (!parsed.success) return undefined;
  const intents: Intent[] = [];
  for (const { command: encoded, refusal, ...rest } of parsed.data.intents) {
    const command = decodeCommand(encoded);
    if (command === undefined || !isIntentCommand(command)) return undefined;
    intents.push({ ...rest, command, ...(refusal === undefined ? {} : { refusal }) });
  }
  return { next: parsed.data.next, intents };
}
