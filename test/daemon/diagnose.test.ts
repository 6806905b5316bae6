import t from "tap";
import { diagnose, type Examination, type ExaminedNode } from "../../src/daemon/diagnose.ts";
import { nodeId } from "../../src/kernel/index.ts";
import { clusterNode } from "../builders.ts";

const names = ["n1", "n2", "n3"];
const self = nodeId("n1");

type Link = Examination["links"][number];

function healthy(name: string, overrides: Partial<Examination> = {}): ExaminedNode {
  const links = names
    .filter((other) => other !== name)
    .map((other): Link => ({ to: nodeId(other), roundTripMs: 2, clockAheadMs: 0, port: "open" }));
  const result: Examination = {
    version: "0.1.0",
    engine: "docker 20.10",
    engineError: null,
    diskSyncMs: 2,
    diskFreeBytes: 90,
    diskCapacityBytes: 100,
    forwardsPackets: true,
    portProblems: [],
    links,
    ...overrides,
  };
  return { node: clusterNode(name), result };
}

function silent(name: string): ExaminedNode {
  return { node: clusterNode(name), error: "timed out" };
}

/** The same examination with one link changed. */
function withLink(name: string, to: string, change: Partial<Link>): ExaminedNode {
  const each = healthy(name);
  if (!("result" in each)) throw new Error("it answers");
  const links = each.result.links.map((link) => (link.to === to ? { ...link, ...change } : link));
  return healthy(name, { links });
}

const noAnswer = { roundTripMs: null, clockAheadMs: null } as const;

t.test("where all is well, nothing is found", async (t) => {
  const view = diagnose(
    names.map((name) => healthy(name)),
    self,
  );
  t.strictSame(view.findings, []);
  t.equal(view.links.length, 6);
  t.equal(view.by, "n1");
});

const cases: readonly {
  readonly title: string;
  readonly nodes: readonly ExaminedNode[];
  readonly findings: readonly (readonly [severity: string, message: RegExp, remedy: RegExp])[];
}[] = [
  {
    title: "a link that is cut one way names both ends and the port",
    nodes: [healthy("n1"), withLink("n2", "n3", { ...noAnswer, port: "timed_out" }), healthy("n3")],
    findings: [["problem", /n2 does not reach n3: n3:7946 does not answer/, /firewall of n3/]],
  },
  {
    title: "a node that is off is told of once, not by everybody",
    nodes: [
      withLink("n1", "n3", { ...noAnswer, port: "unreachable" }),
      withLink("n2", "n3", { ...noAnswer, port: "timed_out" }),
      silent("n3"),
    ],
    findings: [["problem", /No node gets an answer from n3/, /check that n3 is on/]],
  },
  {
    title: "a daemon that is down behind an open port",
    nodes: [
      withLink("n1", "n3", { ...noAnswer, port: "open" }),
      withLink("n2", "n3", { ...noAnswer, port: "open" }),
      silent("n3"),
    ],
    findings: [["problem", /No node gets an answer from n3/, /daemon's log on n3/]],
  },
  {
    title: "the asking node alone is cut off from another",
    nodes: [withLink("n1", "n3", { ...noAnswer, port: "timed_out" }), healthy("n2"), silent("n3")],
    findings: [["problem", /n1 gets no answer from n3, while n2 does/, /between n1 and n3/]],
  },
  {
    title: "a node that only dials out is no problem",
    nodes: [withLink("n1", "n3", { port: "timed_out" }), healthy("n2"), healthy("n3")],
    findings: [["warning", /n1 cannot open a connection to n3/, /can only dial out/]],
  },
  {
    title: "an engine that is down, a disk that is full, one that cannot be written",
    nodes: [
      healthy("n1", { engineError: "connect ENOENT", engine: "" }),
      healthy("n2", { diskFreeBytes: 2 }),
      healthy("n3", { diskSyncMs: null }),
    ],
    findings: [
      ["problem", /engine of n1 does not answer: connect ENOENT/, /Start the engine/],
      ["problem", /disk of n2 is 98 % full/, /Free space/],
      ["problem", /data directory of n3 cannot be written/, /read-only/],
    ],
  },
  {
    title: "a slow disk and containers without a way out are warned of",
    nodes: [
      healthy("n1", { diskSyncMs: 450 }),
      healthy("n2", { forwardsPackets: false }),
      healthy("n3", { forwardsPackets: false, engine: "process 6" }),
    ],
    findings: [
      ["warning", /disk of n1 takes 450 ms/, /faster/],
      ["warning", /n2 does not forward packets/, /ip_forward=1/],
    ],
  },
  {
    title: "a port that another process of the machine has",
    nodes: [
      healthy("n1"),
      healthy("n2", { portProblems: ["Port 8080 is taken by another process."] }),
      healthy("n3"),
    ],
    findings: [["problem", /n2 does not answer on a port: Port 8080 is taken/, /tried again/]],
  },
  {
    title: "clocks that differ, a little and a lot",
    nodes: [
      healthy("n1", {
        links: [
          { to: nodeId("n2"), roundTripMs: 1, clockAheadMs: -2_500, port: "open" },
          { to: nodeId("n3"), roundTripMs: 1, clockAheadMs: 90_000, port: "open" },
        ],
      }),
      healthy("n2"),
      healthy("n3"),
    ],
    findings: [
      ["warning", /clock of n2 is 2\.5 s behind that of n1/, /NTP/],
      ["problem", /clock of n3 is 90\.0 s ahead of/, /NTP/],
    ],
  },
  {
    title: "versions that differ",
    nodes: [healthy("n1"), healthy("n2", { version: "0.2.0" }), healthy("n3")],
    findings: [["warning", /0\.1\.0 \(n1, n3\); 0\.2\.0 \(n2\)/, /one by one/]],
  },
];

for (const { title, nodes, findings } of cases) {
  t.test(title, async (t) => {
    const found = diagnose(nodes, self).findings;
    t.equal(found.length, findings.length, JSON.stringify(found));
    findings.forEach(([severity, message, remedy], i) => {
      t.match(found[i], { severity, message, remedy });
    });
  });
}
