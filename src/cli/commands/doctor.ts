import type { DoctorView } from "../../api/index.ts";
import { exitCode } from "../exit-code.ts";
import { type Session, show } from "../session.ts";
import { bytes, table } from "../table.ts";

/** `skein doctor`: tests the links between the nodes; ends with 1 when something is broken. */
export async function doctor(session: Session): Promise<void> {
  const view = await session.client.call("doctor", { signal: session.signal });
  show(session, view, doctorText);
  if (view.findings.some(({ severity }) => severity === "problem")) {
    session.setExitCode(exitCode.failed);
  }
}

function doctorText(view: DoctorView): string {
  const { findings } = view;
  const lines = findings.map(
    ({ severity, message, remedy }) => `${severity}: ${message}\n    ${remedy}\n`,
  );
  const end = lines.length === 0 ? "nothing is wrong\n" : lines.join("");
  return `${nodesText(view)}\n${linksText(view)}\n${end}`;
}

function nodesText({ nodes }: DoctorView): string {
  return table(
    ["NODE", "VERSION", "ENGINE", "DISK SYNC", "DISK FREE", "CLOCK"],
    nodes.map((node) =>
      node.error === null
        ? [
            node.name,
            node.version,
            node.engine || "does not answer",
            node.diskSyncMs === null ? "fails" : milliseconds(node.diskSyncMs),
            node.diskFreeBytes === null ? "-" : bytes(node.diskFreeBytes),
            node.clockAheadMs === null ? "-" : signed(node.clockAheadMs),
          ]
        : [node.name, "no answer", "-", "-", "-", "-"],
    ),
  );
}

/** One row a node: how long each other node takes to answer it. */
function linksText({ nodes, links }: DoctorView): string {
  const names = nodes.map(({ name }) => name);
  const cells = new Map(
    links.map(({ from, to, isUp, roundTripMs }) => [
      `${from} ${to}`,
      isUp && roundTripMs !== null ? milliseconds(roundTripMs) : "FAILS",
    ]),
  );
  return table(
    ["FROM \\ TO", ...names],
    names.map((from) => [
      from,
      ...names.map((to) => (from === to ? "." : (cells.get(`${from} ${to}`) ?? "?"))),
    ]),
  );
}

function milliseconds(ms: number): string {
  return ms < 10 ? `${ms.toFixed(1)}ms` : `${Math.round(ms)}ms`;
}

function signed(ms: number): string {
  const rounded = Math.round(ms);
  return `${rounded >= 0 ? "+" : ""}${rounded}ms`;
}
