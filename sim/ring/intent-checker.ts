import { type ClusterState, type Command, keyOf } from "../../src/cluster/index.ts";
import type { Intent } from "../../src/intents/index.ts";
import type { NodeId } from "../../src/kernel/index.ts";
import type { ServiceSpec } from "../../src/spec/index.ts";
import type { Ring } from "./ring.ts";
import { versionOf } from "./services.ts";

/**
 * Watches that what users asked for is done once, whenever there is a quorum: also what a node
 * kept for them while there was none. Only files can be told apart, by what is in them.
 */
export class IntentChecker {
  readonly #ring: Ring;
  /** How often each version of a service was asked for. */
  readonly #asked = new Map<string, number>();
  readonly #queued = new Map<string, NodeId>();
  /** At which entries of the log it was accepted. */
  readonly #accepted = new Map<string, Set<number>>();
  /** What ever was in an agreed state. */
  readonly #seen = new Set<string>();

  constructor(ring: Ring) {
    this.#ring = ring;
  }

  asked(command: Command): void {
    for (const name of namesOf(command)) this.#asked.set(name, (this.#asked.get(name) ?? 0) + 1);
  }

  queued(host: NodeId, command: Command): void {
    for (const name of namesOf(command)) this.#queued.set(name, host);
  }

  accepted(index: number, command: Command): void {
    for (const name of namesOf(command)) {
      const indexes = this.#accepted.get(name) ?? new Set();
      this.#accepted.set(name, indexes.add(index));
      const times = this.#asked.get(name) ?? 0;
      if (indexes.size > times) {
        this.#fail(`${name} was done ${indexes.size} times, and asked for ${times} times`);
      }
    }
  }

  take(before: ClusterState, { services }: ClusterState): void {
    for (const [key, service] of services) {
      if (service !== before.services.get(key)) this.#seen.add(nameOf(service.spec));
    }
  }

  /** What a node shows as refused was not done: a person may have it done then. */
  look(): void {
    for (const { id, intent } of this.#kept()) {
      if (intent.refusal === undefined) continue;
      const done = namesOf(intent.command).find(
        (name) => this.#seen.has(name) && this.#asked.get(name) === 1,
      );
      if (done !== undefined) {
        this.#fail(`${id} refuses ${done}, which was done: ${intent.refusal.message}`);
      }
    }
  }

  /** What was kept and is neither done nor shown, once nothing goes wrong any more. */
  lost(): string | undefined {
    const kept = new Set(this.#kept().flatMap(({ intent }) => namesOf(intent.command)));
    for (const [name, id] of this.#queued) {
      const isThere = this.#ring.hosts.some((host) => host.id === id && host.isAwake);
      if (isThere && !this.#seen.has(name) && !kept.has(name)) {
        return `${name} was queued on ${id}, and is neither done nor there`;
      }
    }
    return undefined;
  }

  /** Of changes that a person took back nobody has to hear again. */
  cancelled({ command }: Intent): void {
    for (const name of namesOf(command)) this.#queued.delete(name);
  }

  #kept(): readonly { readonly id: NodeId; readonly intent: Intent }[] {
    return this.#ring.hosts.flatMap(({ id, daemon }) =>
      (daemon?.intents.get() ?? []).map((intent) => ({ id, intent })),
    );
  }

  #fail(text: string): void {
    this.#ring.violated(text);
  }
}

function namesOf(command: Command): readonly string[] {
  return command.kind === "put_services" ? command.specs.map(nameOf) : [];
}

function nameOf(spec: ServiceSpec): string {
  return `${keyOf(spec)} of version ${versionOf(spec.template)}`;
}
