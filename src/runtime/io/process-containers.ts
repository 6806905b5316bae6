import { type FSWatcher, watch } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { type Clock, type Logger, messageOf, type NodeId } from "../../kernel/index.ts";
import { containerLabels } from "../container-labels.ts";
import { ProcessMonitor } from "./process-monitor.ts";
import type { PortBook } from "./process-ports.ts";
import { listContainerIds, type ProcessRecord, readRecord } from "./process-record.ts";

const pollMs = 1_000;
/** Ids are never given twice, so a forgotten one only matters while its folder goes away. */
const maxForgottenIds = 10_000;

/**
 * The containers in a folder, each with its monitor. The folder is the truth: what is in it
 * is adopted, what has gone from it is forgotten.
 */
export class ProcessContainers implements AsyncDisposable {
  readonly folder: string;
  readonly bootId: string;
  readonly #owner: { readonly nodeId: NodeId; readonly clusterId: string };
  readonly #ports: PortBook;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #onChange: () => void;
  readonly #monitors = new Map<string, ProcessMonitor>();
  readonly #forgottenIds = new Set<string>();
  readonly #closing = new AbortController();
  readonly #watcher: FSWatcher;
  readonly #polling: Promise<void>;

  constructor(of: {
    readonly folder: string;
    readonly bootId: string;
    readonly owner: { readonly nodeId: NodeId; readonly clusterId: string };
    readonly ports: PortBook;
    readonly clock: Clock;
    readonly logger: Logger;
    readonly onChange: () => void;
  }) {
    this.folder = of.folder;
    this.bootId = of.bootId;
    this.#owner = of.owner;
    this.#ports = of.ports;
    this.#clock = of.clock;
    this.#logger = of.logger;
    this.#onChange = of.onChange;
    this.#watcher = watch(of.folder, { persistent: false }, () => {
      this.refresh().catch((error: unknown) => this.#warn(error, "container folder is unreadable"));
    });
    this.#polling = this.#poll();
  }

  get monitors(): readonly ProcessMonitor[] {
    return [...this.#monitors.values()];
  }

  get closingSignal(): AbortSignal {
    return this.#closing.signal;
  }

  find(containerId: string): ProcessMonitor | undefined {
    return this.#monitors.get(containerId);
  }

  adopt(record: ProcessRecord): ProcessMonitor {
    const known = this.#monitors.get(record.id);
    if (known !== undefined) return known;
    const monitor = new ProcessMonitor({
      record,
      folder: join(this.folder, record.id),
      bootId: this.bootId,
      clock: this.#clock,
      logger: this.#logger,
      signal: this.#closing.signal,
      onChange: () => {
        if (monitor.isEnded) this.#ports.release(record.id);
        this.#onChange();
      },
    });
    this.#monitors.set(record.id, monitor);
    this.#ports.adopt(record.id, record);
    return monitor;
  }

  /** Adopts what has come and forgets what has gone. */
  async refresh(): Promise<void> {
    const ids = new Set(await listContainerIds(this.folder));
    for (const [id, monitor] of this.#monitors) {
      if (ids.has(id)) continue;
      this.#forget(id);
      await monitor.vanish();
      this.#onChange();
    }
    for (const id of ids) {
      if (this.#monitors.has(id)) continue;
      const record = await readRecord(join(this.folder, id));
      const isOurs =
        record?.id === id &&
        record.labels[containerLabels.nodeId] === this.#owner.nodeId &&
        record.labels[containerLabels.clusterId] === this.#owner.clusterId;
      if (isOurs && !this.#forgottenIds.has(id)) this.adopt(record);
    }
  }

  /** For one that does not run: deletes its folder. */
  async remove(containerId: string): Promise<void> {
    const monitor = this.#monitors.get(containerId);
    this.#forget(containerId); // Before the folder goes, so that no look at it adopts it again.
    monitor?.close();
    monitor?.log.abandon();
    await rm(join(this.folder, containerId), { recursive: true, force: true });
    this.#onChange();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new Error("The runtime has been closed."));
    this.#watcher.close();
    for (const monitor of this.#monitors.values()) monitor.close();
    await this.#polling;
  }

  #forget(containerId: string): void {
    if (this.#forgottenIds.size >= maxForgottenIds) this.#forgottenIds.clear();
    this.#forgottenIds.add(containerId);
    this.#monitors.delete(containerId);
    this.#ports.release(containerId);
  }

  /** What causes no event is noticed within a second. */
  async #poll(): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      await this.#clock.sleep(pollMs, { signal }).catch(() => undefined);
      for (const monitor of this.monitors) {
        if (signal.aborted) return;
        if (monitor.isEnded) continue;
        monitor.log.touch();
        await monitor
          .check()
          .catch((error: unknown) => this.#warn(error, "container cannot be looked at"));
      }
    }
  }

  #warn(error: unknown, message: string): void {
    this.#logger.warn({ reason: messageOf(error) }, message);
  }
}
