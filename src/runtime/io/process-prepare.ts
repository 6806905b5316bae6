import { mkdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import type { NodeId } from "../../kernel/index.ts";
import { containerLabels, mergeContainerLabels } from "../container-labels.ts";
import type { ContainerRequest } from "../container-runtime.ts";
import { RuntimeError } from "../errors.ts";
import { environmentOf, isFolder, refuseUnsupported, resolveArgv } from "./process-command.ts";
import type { AssignedPorts, PortBook } from "./process-ports.ts";
import { type ProcessRecord, writeRecord } from "./process-record.ts";

/** Finds out all that a start needs, and writes it into the container's new folder. */
export async function prepareContainer(
  request: ContainerRequest,
  of: {
    readonly id: string;
    readonly folder: string;
    readonly bootId: string;
    readonly nodeId: NodeId;
    readonly clusterId: string;
    readonly ports: PortBook;
    /** Of the container whose network it shares. */
    readonly sharedPorts: AssignedPorts | undefined;
  },
): Promise<ProcessRecord> {
  const { template, name, taskId, labels } = request;
  refuseUnsupported(template);
  const isGuest = of.sharedPorts !== undefined;
  const assigned = of.sharedPorts ?? (await of.ports.assign(of.id, template));
  const environment = environmentOf(
    template,
    [
      ...assigned.endpoints,
      ...assigned.hostPorts.map(({ target, hostPort }) => ({ target, port: hostPort })),
    ],
    { listenAddress: of.ports.listenAddressOf(assigned), isGuest },
  );
  const { argv, imageFolder } = await resolveArgv(template, environment);
  const ownFolder = join(of.folder, "work");
  await mkdir(ownFolder, { recursive: true, mode: 0o700 });
  const record: ProcessRecord = {
    version: 1,
    id: of.id,
    name,
    taskId,
    labels: {
      ...mergeContainerLabels(template.labels, labels),
      [containerLabels.nodeId]: of.nodeId,
      [containerLabels.clusterId]: of.clusterId,
    },
    bootId: of.bootId,
    argv: [...argv],
    environment,
    workingDirectory: await workingDirectoryOf(request, imageFolder ?? ownFolder, ownFolder),
    ...(template.stopSignal !== undefined && { stopSignal: template.stopSignal }),
    endpoints: isGuest ? [] : [...assigned.endpoints],
    hostPorts: isGuest ? [] : [...assigned.hostPorts],
  };
  await writeRecord(of.folder, record);
  return record;
}

async function workingDirectoryOf(
  { template, name }: ContainerRequest,
  relativeTo: string,
  otherwise: string,
): Promise<string> {
  if (template.workingDirectory === undefined) return otherwise;
  const path = resolve(relativeTo, template.workingDirectory);
  if (await isFolder(path)) return path;
  throw new RuntimeError(
    "invalid_request",
    `The working directory ${path} of the container ${name} does not exist on this machine.`,
  );
}
