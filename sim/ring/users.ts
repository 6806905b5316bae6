import { type Command, keyOf, type Service } from "../../src/cluster/index.ts";
import type { Intent } from "../../src/intents/index.ts";
import { type Random, randomBelow, type ServiceKey } from "../../src/kernel/index.ts";
import type { ServiceSpec } from "../../src/spec/index.ts";
import type { Ring } from "./ring.ts";
import { isGood, SpecMaker } from "./services.ts";
import type { Act, Swarm } from "./swarm.ts";

/** Does what users do, at any node. */
export class Users {
  acted = 0;
  readonly #ring: Ring;
  readonly #onCancelled: (intent: Intent) => void;
  readonly #swarm: Swarm;
  readonly #random: Random;
  readonly #specs: SpecMaker;
  #isOver = false;

  constructor(options: {
    readonly ring: Ring;
    readonly swarm: Swarm;
    readonly random: Random;
    readonly onCancelled: (intent: Intent) => void;
  }) {
    this.#ring = options.ring;
    this.#onCancelled = options.onCancelled;
    this.#swarm = options.swarm;
    this.#random = options.random;
    this.#specs = new SpecMaker(options.random, options.swarm);
  }

  /** The first services. */
  firstSpecs(): readonly ServiceSpec[] {
    return Array.from({ length: this.#swarm.services }, () => this.#specs.fresh());
  }

  begin(): void {
    const ms = Math.round(2 * this.#random.next() * this.#swarm.actGapMs);
    this.#ring.queue.after(ms, () => {
      if (this.#isOver) return;
      const act = this.#one(this.#swarm.acts);
      if (act !== undefined) this.#act(act);
      this.begin();
    });
  }

  /** Nobody asks for anything any more. */
  end(): void {
    this.#isOver = true;
  }

  /** Last wishes: for nothing that cannot be had, and at times for another update. */
  lastWishes(): readonly Command[] {
    const servers = [...this.#ring.agreed.services.values()].filter(({ spec }) => isServer(spec));
    const last = this.#random.next() < 0.5 ? this.#one(servers) : undefined;
    const specs = servers
      .filter((service) => {
        const { spec, rollout } = service;
        return service === last || rollout === "paused" || !isGood(spec.template);
      })
      .map(({ spec }) => this.#specs.updated(spec, { isBad: false }));
    return specs.length === 0 ? [] : [{ kind: "put_services", specs, nowMs: this.#nowMs() }];
  }

  /** Of what nodes refused to do after all, users give up some, and insist on the rest. */
  decide(): void {
    for (const { id, daemon, machine } of this.#ring.awake) {
      const refused = daemon?.intents.get().find(({ refusal }) => refusal !== undefined);
      if (daemon === undefined || refused === undefined) continue;
      const what = this.#isOver || this.#random.next() < 0.5 ? "cancel" : "release";
      this.#ring.context.note(() => `user: ${what} of queued ${refused.number} at ${id}`);
      if (what === "cancel") this.#onCancelled(refused);
      // Without a quorum, or while it is being agreed, nothing is decided.
      machine.act(() => void daemon.decide(refused.number, what).catch(() => undefined));
    }
  }

  #act(act: Act): void {
    if (this.#random.next() < 0.3) this.decide();
    const host = this.#one(this.#ring.awake);
    const command = this.#commandOf(act);
    if (host === undefined || command === undefined) return;
    this.acted += 1;
    this.#ring.context.note(() => `user: ${act} at ${host.id}: ${nameOf(command)}`);
    this.#ring.submit(host, command);
  }

  #commandOf(act: Act): Command | undefined {
    const { services, nodes } = this.#ring.agreed;
    const nowMs = this.#nowMs();
    const [key, service] = this.#one([...services]) ?? [];
    if (act === "up") {
      const isFull = services.size >= this.#swarm.services + 3;
      return isFull ? undefined : { kind: "put_services", specs: [this.#specs.fresh()], nowMs };
    }
    if (act === "drain" || act === "resume") {
      const node = this.#one([...nodes.values()]);
      if (node === undefined) return undefined;
      const drained = [...nodes.values()].filter(({ eligibility }) => eligibility === "drain");
      if (act === "drain" && drained.length >= nodes.size - 2) return undefined;
      const eligibility = act === "drain" ? "drain" : "active";
      return { kind: "set_eligibility", nodeId: node.id, eligibility };
    }
    return key === undefined || service === undefined
      ? undefined
      : this.#changeOf(act, key, service);
  }

  #changeOf(
    act: Exclude<Act, "up" | "drain" | "resume">,
    key: ServiceKey,
    service: Service,
  ): Command {
    const nowMs = this.#nowMs();
    switch (act) {
      case "update":
      case "bad_update":
      case "again":
        return { kind: "put_services", specs: [this.#next(service, act)], nowMs };
      case "scale":
        return { kind: "scale_service", service: key, replicas: this.#specs.replicas(), nowMs };
      case "rollback":
        return { kind: "roll_back_service", service: key, nowMs };
      case "rm":
        return { kind: "remove_services", services: [key] };
      case "trigger":
        return { kind: "trigger_job", service: key, nowMs };
      case "suspend": {
        const isSuspended = service.spec.schedule?.isSuspended !== true;
        return { kind: "suspend_schedule", service: key, isSuspended, nowMs };
      }
    }
  }

  #next({ spec }: Service, act: "update" | "bad_update" | "again"): ServiceSpec {
    return act === "again" ? spec : this.#specs.updated(spec, { isBad: act === "bad_update" });
  }

  #nowMs(): number {
    return this.#one(this.#ring.hosts)?.machine.clock.now() ?? 0;
  }

  #one<Value>(values: readonly Value[]): Value | undefined {
    return values[randomBelow(this.#random, values.length)];
  }
}

function isServer({ mode }: ServiceSpec): boolean {
  return mode.kind === "replicated" || mode.kind === "global";
}

function nameOf(command: Command): string {
  switch (command.kind) {
    case "put_services":
      return command.specs.map((spec) => `${keyOf(spec)} ${JSON.stringify(spec.mode)}`).join(", ");
    case "scale_service":
      return `${command.service} to ${command.replicas}`;
    case "set_eligibility":
      return `${command.nodeId} ${command.eligibility}`;
    default:
      return "service" in command ? command.service : "";
  }
}
