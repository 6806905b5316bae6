import type { DoctorLink, DoctorNode, DoctorView, Finding } from "../api/index.ts";
import type { ClusterNode } from "../cluster/index.ts";
import type { NodeId } from "../kernel/index.ts";

/** What one node found out about itself and its links. */
export type Examination = {
  readonly version: string;
  readonly engine: string;
  readonly engineError: string | null;
  readonly diskSyncMs: number | null;
  readonly diskFreeBytes: number | null;
  readonly diskCapacityBytes: number | null;
  readonly forwardsPackets: boolean | null;
  /** Sentences about ports that it cannot serve. */
  readonly portProblems: readonly string[];
  readonly links: readonly {
    readonly to: NodeId;
    /** Null when no answer came. */
    readonly roundTripMs: number | null;
    readonly clockAheadMs: number | null;
    readonly port: DoctorLink["port"];
  }[];
};

export type ExaminedNode =
  | { readonly node: ClusterNode; readonly result: Examination }
  | { readonly node: ClusterNode; readonly error: string };

/** Elections and acknowledged writes wait for the disk: slower ones make the cluster slow. */
const slowSyncMs = 100;
const fullDiskShare = 0.95;
/** Certificates and tokens are judged by each machine's own clock. */
const clockWarningMs = 1_000;
const clockProblemMs = 30_000;
const slowLinkMs = 500;

type Judged = ExaminedNode & { readonly name: string };

/** What is wrong, by what the nodes found out. Pure: the same facts give the same words. */
export function diagnose(examined: readonly ExaminedNode[], self: NodeId): DoctorView {
  const judged: readonly Judged[] = examined.map((each) => ({ ...each, name: each.node.name }));
  const links = linksOf(judged);
  const clocks = clocksOf(judged, self);
  const by = judged.find(({ node }) => node.id === self)?.name ?? self;
  return {
    by,
    nodes: judged.map((each) => nodeOf(each, clocks.get(each.node.id))),
    links,
    findings: [
      ...nodesWithoutAnswer(judged, links, by),
      ...brokenLinks(judged, links),
      ...judged.flatMap((each) => ("result" in each ? findingsOf(each.name, each.result) : [])),
      ...judged.flatMap(({ node, name }) => clockFinding(name, clocks.get(node.id), by)),
      ...differentVersions(judged),
    ],
  };
}

function linksOf(examined: readonly Judged[]): DoctorLink[] {
  const nodes = new Map(examined.map(({ node }) => [node.id, node]));
  return examined.flatMap((each) => {
    if (!("result" in each)) return [];
    return each.result.links.flatMap(({ to, roundTripMs, port }) => {
      const target = nodes.get(to);
      if (target === undefined) return [];
      const { name, address } = target;
      return [
        { from: each.name, to: name, isUp: roundTripMs !== null, roundTripMs, port, address },
      ];
    });
  });
}

/** How far each node's clock is ahead of the asking node's. */
function clocksOf(examined: readonly Judged[], self: NodeId): ReadonlyMap<NodeId, number> {
  const own = examined.find(({ node }) => node.id === self);
  const clocks = new Map<NodeId, number>([[self, 0]]);
  if (own === undefined || !("result" in own)) return clocks;
  for (const { to, clockAheadMs } of own.result.links) {
    if (clockAheadMs !== null) clocks.set(to, clockAheadMs);
  }
  return clocks;
}

function nodeOf(each: Judged, clockAheadMs: number | undefined): DoctorNode {
  const clock = clockAheadMs === undefined ? null : clockAheadMs;
  if (!("result" in each)) {
    return {
      name: each.name,
      error: each.error,
      version: "",
      engine: "",
      diskSyncMs: null,
      diskFreeBytes: null,
      diskCapacityBytes: null,
      clockAheadMs: clock,
    };
  }
  const { version, engine, diskSyncMs, diskFreeBytes, diskCapacityBytes } = each.result;
  const disk = { diskSyncMs, diskFreeBytes, diskCapacityBytes };
  return { name: each.name, error: null, version, engine, ...disk, clockAheadMs: clock };
}

function nodesWithoutAnswer(
  examined: readonly Judged[],
  links: readonly DoctorLink[],
  by: string,
): Finding[] {
  return examined.flatMap((each) => {
    if ("result" in each) return [];
    const reachedBy = links.filter(({ to, isUp }) => to === each.name && isUp);
    const others = links.filter(({ to }) => to === each.name);
    if (reachedBy.length > 0) {
      const names = reachedBy.map(({ from }) => from).join(", ");
      return [
        problem(
          `${by} gets no answer from ${each.name}, while ${names} ${reachedBy.length === 1 ? "does" : "do"}: the way between ${by} and ${each.name} is cut.`,
          `Look at the network between ${by} and ${each.name}.`,
        ),
      ];
    }
    const ports = new Set(others.map(({ port }) => port));
    return [problem(`No node gets an answer from ${each.name}.`, remedyOfSilence(each, ports))];
  });
}

function remedyOfSilence({ name, node }: Judged, ports: ReadonlySet<DoctorLink["port"]>): string {
  const address = node.address;
  if (ports.has("refused")) {
    return `The machine answers but nothing listens at ${address}: start the daemon on ${name}.`;
  }
  if (ports.has("open")) {
    return `Its port ${address} is open but its daemon does not answer: look at the daemon's log on ${name}.`;
  }
  return `Nothing answers at ${address}: check that ${name} is on, its network and its firewall. If it is gone for good: skein node rm ${name}`;
}

/** Between nodes that both answered somebody. One that is silent altogether is told of once. */
function brokenLinks(examined: readonly Judged[], links: readonly DoctorLink[]): Finding[] {
  const silent = new Set(examined.filter((each) => !("result" in each)).map(({ name }) => name));
  const findings: Finding[] = [];
  for (const link of links) {
    const { from, to, isUp, port, address, roundTripMs } = link;
    if (silent.has(to)) continue;
    if (!isUp)
      findings.push(problem(`${from} does not reach ${to}: ${wordsFor(link)}.`, remedyOf(link)));
    else if (port !== "open") {
      findings.push({
        severity: "warning",
        message: `${from} cannot open a connection to ${to} (${address}: ${port.replace("_", " ")}); it uses the one that ${to} opened.`,
        remedy: `Where ${to} can only dial out, this is how it works. Else open port ${address} for ${from}.`,
      });
    } else if (roundTripMs !== null && roundTripMs > slowLinkMs) {
      findings.push({
        severity: "warning",
        message: `The way from ${from} to ${to} and back takes ${Math.round(roundTripMs)} ms.`,
        remedy: "Look at the network between them, and at how busy the two machines are.",
      });
    }
  }
  return findings;
}

function wordsFor({ port, address }: DoctorLink): string {
  switch (port) {
    case "open":
      return `port ${address} is open, but no answer comes from the daemon`;
    case "refused":
      return `nothing listens at ${address}`;
    case "timed_out":
      return `${address} does not answer`;
    case "unreachable":
      return `there is no way to ${address}`;
  }
}

function remedyOf({ from, to, port, address }: DoctorLink): string {
  switch (port) {
    case "open":
      return `Look at the daemon's log on ${to}; is it the same cluster's daemon that listens at ${address}?`;
    case "refused":
      return `Is the daemon's --listen on ${to} what others reach at ${address}? See --advertise.`;
    case "timed_out":
    case "unreachable":
      return `Check the firewall of ${to} and the network between ${from} and ${to}: one TCP port, ${address}, has to be open.`;
  }
}

function findingsOf(name: string, result: Examination): Finding[] {
  const { engineError, diskSyncMs, diskFreeBytes, diskCapacityBytes } = result;
  const findings: Finding[] = [];
  if (engineError !== null) {
    findings.push(
      problem(
        `The container engine of ${name} does not answer: ${engineError}`,
        `Start the engine on ${name}, for example: systemctl start docker`,
      ),
    );
  }
  for (const message of result.portProblems) {
    const what = `${name} does not answer on a port: ${message}`;
    findings.push(problem(what, "It is tried again every second and is served once it can be."));
  }
  if (result.forwardsPackets === false && result.engine.startsWith("docker")) {
    findings.push({
      severity: "warning",
      message: `${name} does not forward packets: its containers reach nothing outside of it.`,
      remedy: `On ${name}: sysctl -w net.ipv4.ip_forward=1`,
    });
  }
  if (diskSyncMs === null) {
    findings.push(
      problem(
        `The data directory of ${name} cannot be written to.`,
        "Look at the disk: is it full, or mounted read-only?",
      ),
    );
  } else if (diskSyncMs > slowSyncMs) {
    findings.push({
      severity: "warning",
      message: `The disk of ${name} takes ${Math.round(diskSyncMs)} ms to write something for good.`,
      remedy:
        "Every change waits for the disks of a majority. Use a faster one, or find what keeps it busy.",
    });
  }
  if (diskFreeBytes !== null && diskCapacityBytes !== null && diskCapacityBytes > 0) {
    const share = 1 - diskFreeBytes / diskCapacityBytes;
    if (share > fullDiskShare) {
      findings.push(
        problem(
          `The disk of ${name} is ${Math.floor(share * 100)} % full.`,
          `Free space on ${name}, for example: docker image prune`,
        ),
      );
    }
  }
  return findings;
}

function clockFinding(name: string, aheadMs: number | undefined, by: string): Finding[] {
  const offMs = Math.abs(aheadMs ?? 0);
  if (aheadMs === undefined || offMs < clockWarningMs) return [];
  const seconds = (offMs / 1_000).toFixed(1);
  return [
    {
      severity: offMs < clockProblemMs ? "warning" : "problem",
      message: `The clock of ${name} is ${seconds} s ${aheadMs > 0 ? "ahead of" : "behind"} that of ${by}.`,
      remedy: "Set the clocks by NTP: tokens and certificates are judged by them.",
    },
  ];
}

function differentVersions(examined: readonly Judged[]): Finding[] {
  const byVersion = Map.groupBy(
    examined.flatMap((each) => ("result" in each ? [each] : [])),
    ({ result }) => result.version,
  );
  if (byVersion.size < 2) return [];
  const text = [...byVersion]
    .map(([version, nodes]) => `${version} (${nodes.map(({ name }) => name).join(", ")})`)
    .join("; ");
  return [
    {
      severity: "warning",
      message: `The nodes run different versions: ${text}.`,
      remedy: "Fine while you upgrade them one by one; do not leave it so.",
    },
  ];
}

function problem(message: string, remedy: string): Finding {
  return { severity: "problem", message, remedy };
}
