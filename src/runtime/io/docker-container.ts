import type { ContainerInfo } from "dockerode";
import { z } from "zod";
import { taskId } from "../../kernel/index.ts";
import { containerLabels } from "../container-labels.ts";
import type { Container } from "../container-runtime.ts";

/** The few fields of an inspection that count; Podman leaves some of them out. */
const inspectionSchema = z.object({
  Id: z.string(),
  State: z.object({
    Status: z.string(),
    ExitCode: z.number().int().default(0),
    OOMKilled: z.boolean().default(false),
    Error: z.string().default(""),
    StartedAt: z.string().default(""),
    FinishedAt: z.string().default(""),
  }),
  Config: z.object({
    Labels: z.record(z.string(), z.string()).nullish(),
    StopSignal: z.string().optional(),
    Tty: z.boolean().default(false),
  }),
  HostConfig: z.object({ NetworkMode: z.string().default("") }),
  NetworkSettings: z.object({
    Networks: z.record(z.string(), z.object({ IPAddress: z.string().optional() })).nullish(),
    Ports: z.record(z.string(), z.array(z.object({ HostPort: z.string() })).nullish()).nullish(),
  }),
});

type Inspection = z.infer<typeof inspectionSchema>;

export type InspectedContainer = {
  readonly container: Container;
  readonly stopSignal: string | undefined;
  readonly tty: boolean;
};

/** An inspection as {@link Container}; absent when it is none that Skein made. */
export function containerOfInspection(inspected: unknown): InspectedContainer | undefined {
  const inspection = inspectionSchema.parse(inspected);
  const labels = inspection.Config.Labels ?? {};
  const task = labels[containerLabels.taskId];
  if (task === undefined) return undefined;
  const state = stateOf(inspection.State);
  const isRunning = state.kind === "running";
  const container = {
    id: inspection.Id,
    taskId: taskId(task),
    labels,
    state,
    endpoints: isRunning ? endpointsOf(inspection, labels) : [],
    hostPorts: isRunning ? hostPortsOf(inspection) : [],
  };
  return { container, stopSignal: inspection.Config.StopSignal, tty: inspection.Config.Tty };
}

/**
 * A listed container that has not started yet, of which the list tells all: an engine answers
 * an inspection only once the start that is under way is over. Absent for any other.
 */
export function createdContainerOf({ Id, State, Labels }: ContainerInfo): Container | undefined {
  const task = Labels[containerLabels.taskId];
  if (State !== "created" || task === undefined) return undefined;
  const state = { kind: "created" } as const;
  return { id: Id, taskId: taskId(task), labels: Labels, state, endpoints: [], hostPorts: [] };
}

function stateOf(state: Inspection["State"]): Container["state"] {
  switch (state.Status) {
    case "created":
    case "configured": // Podman's word.
    case "initialized":
      return { kind: "created" };
    case "running":
    case "paused":
    case "restarting":
    case "stopping":
      return { kind: "running", startedAtMs: timeOf(state.StartedAt) };
    default:
      return {
        kind: "exited",
        exitCode: state.ExitCode,
        finishedAtMs: timeOf(state.FinishedAt),
        isOomKilled: state.OOMKilled,
        error: state.Error,
      };
  }
}

/** Milliseconds of the engine's timestamps, whose nanoseconds no clock here counts. */
function timeOf(timestamp: string): number {
  const timeMs = Date.parse(timestamp);
  // The engine writes the year 1 for what has not happened.
  return Number.isNaN(timeMs) || timeMs < 0 ? 0 : timeMs;
}

function endpointsOf(
  inspection: Inspection,
  labels: Readonly<Record<string, string>>,
): Container["endpoints"] {
  const address = addressOf(inspection);
  if (address === undefined) return [];
  const ports = (labels[containerLabels.exposedPorts] ?? "").split(",").filter(Boolean).map(Number);
  return ports.map((port) => ({ target: port, address, port }));
}

function addressOf({ HostConfig, NetworkSettings }: Inspection): string | undefined {
  if (HostConfig.NetworkMode === "host") return "127.0.0.1";
  const networks = NetworkSettings.Networks ?? {};
  const own = networks[HostConfig.NetworkMode] ?? networks["bridge"];
  if (own?.IPAddress) return own.IPAddress;
  return Object.values(networks).find((network) => network.IPAddress)?.IPAddress;
}

function hostPortsOf({ NetworkSettings }: Inspection): Container["hostPorts"] {
  const published: { target: number; hostPort: number; protocol: "tcp" | "udp" }[] = [];
  for (const [key, bindings] of Object.entries(NetworkSettings.Ports ?? {})) {
    const [target = "", protocol] = key.split("/");
    // IPv4 and IPv6 are two bindings of one port.
    for (const hostPort of new Set((bindings ?? []).map((binding) => Number(binding.HostPort)))) {
      published.push({
        target: Number(target),
        hostPort,
        protocol: protocol === "udp" ? "udp" : "tcp",
      });
    }
  }
  return published.toSorted((a, b) => a.target - b.target || a.hostPort - b.hostPort);
}
