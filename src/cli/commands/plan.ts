import type { WhatIfView } from "../../api/index.ts";
import { readBytes, readCpuMillis } from "../../spec/values.ts";
import { describeChanges } from "../changes-text.ts";
import { CliError } from "../cli-error.ts";
import { exitCode } from "../exit-code.ts";
import { noteLeftOver } from "../left-over.ts";
import { type ManifestFlags, manifestOptions, readManifest } from "../manifest-files.ts";
import { findService, type Session, show } from "../session.ts";
import { parsePair } from "./change.ts";
import { pendingText } from "./planning.ts";

type PlanOptions = ManifestFlags & {
  readonly kill?: readonly string[];
  readonly addNode?: readonly string[];
  readonly scale?: readonly string[];
  readonly exitCode?: boolean;
};

/** `skein plan`: what a file, or an event, would change. Changes nothing. */
export async function plan(session: Session, options: PlanOptions): Promise<void> {
  const { kill = [], addNode = [], scale = [] } = options;
  const isSupposed = kill.length + addNode.length + scale.length > 0;
  const readsFile = options.file !== undefined || !isSupposed;
  const files = readsFile ? manifestOptions(session, options) : undefined;
  const manifest = files && readManifest(session, options, files);
  const services = [...(manifest?.services ?? [])];
  const scaled: { namespace: string; name: string; replicas: number }[] = [];
  for (const { name, replicas } of scale.map(parsePair)) {
    const { namespace, name: service } = await findService(session, name);
    scaled.push({ namespace, name: service, replicas });
  }
  const view = await session.client.call("whatIf", {
    body: { services, scale: scaled, kill: [...kill], addNodes: addNode.map(parseMachine) },
    signal: session.signal,
  });
  show(session, view, planText);
  if (files && manifest) await noteLeftOver(session, files, manifest);
  const isChange = view.services.length > 0 || view.changes.some(({ action }) => action !== "none");
  if (options.exitCode && isChange) session.setExitCode(exitCode.changes);
}

function planText(view: WhatIfView): string {
  const changes = view.changes.length === 0 ? "" : describeChanges({ index: 0, ...view }, false);
  const moves = view.services.flatMap(({ service, before, after, moves: list }) => [
    `${service}: ${before} -> ${after} tasks\n`,
    ...list.map(({ slot, from, to }) => `  ${slot}  ${from ?? "new"} -> ${to ?? "stopped"}\n`),
  ]);
  const none = moves.length === 0 ? "no task would start, stop or move\n" : "";
  const open = view.isComplete ? "" : "The plan is longer than what was looked at.\n";
  return [changes, none, ...moves, ...view.pending.map(pendingText), open].join("");
}

/** `4cpu/8g` */
function parseMachine(text: string): { readonly cpuMillis: number; readonly memoryBytes: number } {
  const [, cpu = "", memory = ""] = /^([\d.]+)cpus?\/([\d.]+ ?[a-z]*)$/i.exec(text) ?? [];
  const cpuMillis = readCpuMillis(cpu);
  const memoryBytes = readBytes(memory);
  if (cpuMillis !== undefined && memoryBytes !== undefined && memoryBytes > 0) {
    return { cpuMillis, memoryBytes };
  }
  throw new CliError("usage", `"${text}" is not a machine such as 4cpu/8g`);
}
