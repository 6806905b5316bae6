import { ApiError, type PendingView, type WhatIfView, type WhyView } from "../api/index.ts";
import { type Facts, nodeName, taskViews } from "../api/server.ts";
import type { Command } from "../cluster/index.ts";
import { type ServiceKey, splitServiceKey } from "../kernel/index.ts";
import {
  compareOutcome,
  explainService,
  type Pending,
  whatIf,
  whatWouldHelp,
} from "../scheduler/index.ts";

/** What the planner says when it is only asked: for `skein why` and `skein plan`. */

export function whyView(
  facts: Facts,
  key: ServiceKey,
  now: number,
): Omit<WhyView, "events" | "unreachable"> {
  const { state, observations, log } = facts;
  const service = state.services.get(key);
  const explained = explainService({ state, observations, now }, key);
  if (service === undefined || explained === undefined) {
    throw new ApiError("not_found", `There is no service ${key}. See: skein ls`);
  }
  const { namespace, name } = splitServiceKey(key);
  const tasks = taskViews(facts, { namespace, service: name }).map((task) => {
    const known = [...state.tasks.values()].find(({ id }) => id === task.id);
    return { ...task, stopReason: known?.stopReason ?? "" };
  });
  return {
    service: key,
    revision: service.revision,
    index: state.index,
    leader: log.leader === undefined ? null : nodeName(state, log.leader),
    tasks,
    pending: explained.pending.map(pendingView),
    nodes: explained.nodes.map(({ nodeName: node, fits, message }) => ({ node, fits, message })),
  };
}

export function whatIfView(
  { state, observations }: Facts,
  wanted: {
    readonly commands: readonly Command[];
    readonly kill: readonly string[];
    readonly addNodes: readonly { readonly cpuMillis: number; readonly memoryBytes: number }[];
  },
  now: number,
): Omit<WhatIfView, "changes"> {
  const kill = wanted.kill.map((name) => {
    const node = [...state.nodes.values()].find((each) => each.name === name || each.id === name);
    if (node !== undefined) return node.id;
    throw new ApiError("not_found", `There is no node "${name}". See: skein node ls`);
  });
  const result = whatIf({ state, observations, now }, { ...wanted, kill });
  if (result.kind === "rejected") throw new ApiError("conflict", result.message);
  const services = compareOutcome(state, result.state).map(({ moves, ...counts }) => ({
    ...counts,
    moves: moves.map(({ slot, from, to }) => ({
      slot,
      from: from === undefined ? null : nodeName(state, from),
      to: to === undefined ? null : nodeName(result.state, to),
    })),
  }));
  const pending = [...result.explanations.values()].flat().map(pendingView);
  return { services, pending, isComplete: result.isComplete };
}

function pendingView({ service, slot, cause, message, nodes }: Pending): PendingView {
  return {
    service,
    slot,
    cause,
    message,
    nodes: nodes.map((refusal) => ({
      node: refusal.nodeName,
      fits: false,
      message: refusal.message,
    })),
    wouldHelp: cause === "unplaceable" ? whatWouldHelp(nodes) : "",
  };
}
