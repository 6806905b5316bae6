import type { NodeId } from "../../kernel/index.ts";
import { containerLabels } from "../container-labels.ts";
import { RuntimeError } from "../errors.ts";
import { containerOfInspection, type InspectedContainer } from "./docker-container.ts";
import { type DockerEngine, engineReasonOf, engineStatusOf } from "./docker-engine.ts";

const killWaitMs = 30_000;
/** Ids remembered as ours; forgetting all of them only costs one look each. */
const maxKnownIds = 10_000;
/** It becomes part of the path of a request, which it must not be able to leave. */
const idOrName = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,255}$/;

/** Looks at, ends and removes this node's containers, and refuses to touch any other. */
export class OwnDockerContainers {
  readonly #engine: DockerEngine;
  readonly #owner: { readonly nodeId: NodeId; readonly clusterId: string };
  readonly #knownIds = new Set<string>();

  constructor(
    engine: DockerEngine,
    owner: { readonly nodeId: NodeId; readonly clusterId: string },
  ) {
    this.#engine = engine;
    this.#owner = owner;
  }

  async requireOwn(
    containerId: string,
    { signal }: { readonly signal: AbortSignal },
  ): Promise<void> {
    if (this.#knownIds.has(containerId)) return;
    if ((await this.inspect(containerId, { signal })) === undefined) {
      throw new RuntimeError("not_found", `There is no container ${containerId} on this node.`);
    }
    if (this.#knownIds.size >= maxKnownIds) this.#knownIds.clear();
    this.#knownIds.add(containerId);
  }

  /** Sends the signal, waits, kills. Succeeds for what is gone or stands still. */
  async stop(
    containerId: string,
    options: {
      readonly graceMs: number;
      readonly stopSignal?: string;
      readonly signal: AbortSignal;
    },
  ): Promise<void> {
    const { signal, graceMs } = options;
    const inspected = await this.inspect(containerId, { signal });
    if (inspected?.container.state.kind !== "running") return;
    // Not the engine's own stop: it counts whole seconds and older ones know no signal there.
    const stopSignal = options.stopSignal ?? (inspected.stopSignal || "SIGTERM");
    if (!(await this.#kill(containerId, stopSignal, { signal }))) return;
    if (await this.#waitUntil("not-running", containerId, { signal, atMostMs: graceMs })) return;
    if (!(await this.#kill(containerId, "SIGKILL", { signal }))) return;
    if (await this.#waitUntil("not-running", containerId, { signal, atMostMs: killWaitMs })) return;
    throw new RuntimeError(
      "engine_failed",
      `The container ${containerId} still runs ${killWaitMs / 1000} s after it was killed.`,
    );
  }

  /** Absent when it does not exist, or is not one of ours: then it must not be touched. */
  async inspect(
    containerIdOrName: string,
    { signal }: { readonly signal: AbortSignal },
  ): Promise<InspectedContainer | undefined> {
    if (!idOrName.test(containerIdOrName)) return undefined;
    try {
      const inspected = containerOfInspection(
        await this.#engine.call(
          `The container ${containerIdOrName} cannot be looked up`,
          (abortSignal) =>
            this.#engine.docker.getContainer(containerIdOrName).inspect({ abortSignal }),
          { signal },
        ),
      );
      const labels = inspected?.container.labels;
      const isOurs =
        labels?.[containerLabels.nodeId] === this.#owner.nodeId &&
        labels[containerLabels.clusterId] === this.#owner.clusterId;
      return isOurs ? inspected : undefined;
    } catch (error) {
      if (engineStatusOf(error) === 404) return undefined;
      throw error;
    }
  }

  /** False when there was nothing left to kill. */
  async #kill(
    containerId: string,
    killSignal: string,
    { signal }: { readonly signal: AbortSignal },
  ): Promise<boolean> {
    try {
      await this.#engine.call(
        `The container ${containerId} cannot be sent ${killSignal}`,
        (abortSignal) =>
          this.#engine.docker.getContainer(containerId).kill({ signal: killSignal, abortSignal }),
        { signal },
      );
      return true;
    } catch (error) {
      const status = engineStatusOf(error);
      if (status === 404 || status === 409) return false; // Gone, or not running any more.
      throw error;
    }
  }

  /** False when the time was over first. */
  async #waitUntil(
    condition: "not-running" | "removed",
    containerId: string,
    { signal, atMostMs }: { readonly signal: AbortSignal; readonly atMostMs: number },
  ): Promise<boolean> {
    const over = AbortSignal.timeout(atMostMs);
    try {
      await this.#engine.call(
        `The end of the container ${containerId} cannot be awaited`,
        (abortSignal) =>
          this.#engine.docker.getContainer(containerId).wait({ condition, abortSignal }),
        { signal: AbortSignal.any([signal, over]), timeoutMs: atMostMs + killWaitMs },
      );
      return true;
    } catch (error) {
      signal.throwIfAborted();
      if (over.aborted) return false;
      if (engineStatusOf(error) === 404) return true;
      throw error;
    }
  }

  async forceRemove(
    containerId: string,
    { signal }: { readonly signal: AbortSignal },
  ): Promise<void> {
    try {
      await this.#engine.call(
        `The container ${containerId} cannot be removed`,
        (abortSignal) => {
          const options = { force: true, v: true, abortSignal };
          return this.#engine.docker.getContainer(containerId).remove(options);
        },
        { signal },
      );
    } catch (error) {
      const status = engineStatusOf(error);
      if (status === 404) return;
      // Somebody else removes it already: then only its end is left to wait for.
      const isUnderWay = status === 409 && /in progress/i.test(engineReasonOf(error));
      if (!isUnderWay) throw error;
      await this.#waitUntil("removed", containerId, { signal, atMostMs: killWaitMs });
    }
  }
}
