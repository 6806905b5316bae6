import type { ContainerCreateOptions, MountSettings } from "dockerode";
import type { NodeId } from "../../kernel/index.ts";
import type { MountSpec, TaskTemplate } from "../../spec/index.ts";
import { containerLabels, mergeContainerLabels } from "../container-labels.ts";
import type { ContainerRequest } from "../container-runtime.ts";
import { configOf, hostConfigOf } from "./docker-engine-options.ts";

export type DockerPlacement = {
  readonly nodeId: NodeId;
  readonly clusterId: string;
  /** The engine's network that containers attach to. */
  readonly network: string;
  /** The machine's address on which ports of mode `host` are bound. */
  readonly hostAddress: string;
};

/** What the engine is asked for; everything is explicit in the template already. */
export function createOptionsOf(
  { template, labels, networkOf, volumesFrom = [] }: ContainerRequest,
  placement: DockerPlacement,
): ContainerCreateOptions {
  const { entrypoint, command, workingDirectory, user, hostname, stopSignal } = template;
  return {
    Image: template.image,
    ...(entrypoint !== undefined && { Entrypoint: [...entrypoint] }),
    ...(command !== undefined && { Cmd: [...command] }),
    ...(workingDirectory !== undefined && { WorkingDir: workingDirectory }),
    ...(user !== undefined && { User: user }),
    ...(hostname !== undefined && { Hostname: hostname }),
    ...(stopSignal !== undefined && { StopSignal: stopSignal }),
    ...configOf(template.engine),
    // The input of one client: it ends with that client.
    ...(template.startsAttached && template.engine?.openStdin && { StdinOnce: true }),
    Env: Object.entries(template.environment).map(([name, value]) => `${name}=${value}`),
    StopTimeout: Math.ceil(template.stopGracePeriodMs / 1000),
    // The engine refuses ports where the network is another container's.
    ...(networkOf === undefined && { ExposedPorts: portsOf(template) }),
    Labels: {
      ...mergeContainerLabels(template.labels, labels),
      [containerLabels.nodeId]: placement.nodeId,
      [containerLabels.clusterId]: placement.clusterId,
      [containerLabels.exposedPorts]: template.exposedPorts.join(","),
    },
    HostConfig: {
      NetworkMode: networkOf === undefined ? placement.network : `container:${networkOf}`,
      ...(networkOf === undefined && {
        PortBindings: portBindingsOf(template, placement.hostAddress),
      }),
      Mounts: template.mounts.map(mountSettingsOf),
      ...(volumesFrom.length > 0 && {
        VolumesFrom: volumesFrom.map(
          ({ containerId, readOnly }) => `${containerId}:${readOnly ? "ro" : "rw"}`,
        ),
      }),
      // Only when wanted: false would override an engine that gives every container an init.
      ...(template.init && { Init: true }),
      ReadonlyRootfs: template.readOnlyRoot,
      CapAdd: [...template.capAdd],
      CapDrop: [...template.capDrop],
      // Skein restarts by itself: only it knows whether this node should still run the task.
      RestartPolicy: { Name: "no" },
      ...amountsOf(template),
      ...hostConfigOf(template.engine),
    },
  };
}

function amountsOf({ limits, reservations }: TaskTemplate) {
  return {
    ...(limits.cpuMillis !== undefined && { NanoCpus: limits.cpuMillis * 1_000_000 }),
    ...(limits.memoryBytes !== undefined && { Memory: limits.memoryBytes }),
    ...(reservations.memoryBytes !== undefined && { MemoryReservation: reservations.memoryBytes }),
  };
}

/** Ports of mode `host` as well: the engine ignores a binding of a port that is not exposed. */
function portsOf({ exposedPorts, hostPorts }: TaskTemplate): Record<string, object> {
  const names = [
    ...exposedPorts.map((port) => `${port}/tcp`),
    ...hostPorts.map(({ target, protocol }) => `${target}/${protocol}`),
  ];
  return Object.fromEntries(names.map((name) => [name, {}]));
}

function portBindingsOf({ hostPorts }: TaskTemplate, hostAddress: string) {
  const bindings: Record<string, { HostIp: string; HostPort: string }[]> = {};
  for (const { target, protocol, published } of hostPorts) {
    const key = `${target}/${protocol}`;
    bindings[key] ??= [];
    // An empty port lets the engine choose a free one.
    bindings[key].push({ HostIp: hostAddress, HostPort: published?.toString() ?? "" });
  }
  return bindings;
}

/** The options whose type declaration asks for more than the engine does. */
type MountOptions = {
  readonly BindOptions?: { readonly Propagation: string };
  readonly VolumeOptions?: { readonly NoCopy: boolean };
  readonly TmpfsOptions?: { readonly SizeBytes?: number; readonly Mode?: number };
};

function mountSettingsOf(mount: MountSpec): MountSettings {
  const { kind, source, target, readOnly, propagation, noCopy, sizeBytes, mode } = mount;
  const options: MountOptions = {
    ...(propagation !== undefined && { BindOptions: { Propagation: propagation } }),
    ...(noCopy === true && { VolumeOptions: { NoCopy: true } }),
    ...((sizeBytes !== undefined || mode !== undefined) && {
      TmpfsOptions: {
        ...(sizeBytes !== undefined && { SizeBytes: sizeBytes }),
        ...(mode !== undefined && { Mode: mode }),
      },
    }),
  };
  return {
    Type: kind,
    Source: source ?? "",
    Target: target,
    ReadOnly: readOnly,
    ...(options as object),
  };
}
