import type { SourceEdit } from "../planted-source.ts";

/** A classic mistake, put in on purpose: a simulator that misses it proves nothing. */
export type PlantedGossipBug = SourceEdit & {
  readonly name: string;
  readonly section: string;
  /** The runs within which it must be found. */
  readonly seeds: number;
};

const runner = "gossip/gossip-runner.ts";
const members = "gossip/member-table.ts";
const records = "gossip/record-table.ts";
const detector = "gossip/failure-detector.ts";

export const plantedGossipBugs: readonly PlantedGossipBug[] = [
  {
    name: "does not persist its incarnation at the start",
    section: "SWIM §4.2",
    seeds: 10,
    file: runner,
    find: "  incarnation.save(first);\n",
    replace: "",
  },
  {
    name: "does not persist the incarnation that it refutes with",
    section: "SWIM §4.2",
    seeds: 10,
    file: members,
    find: "    this.#saveIncarnation(this.#incarnation);\n",
    replace: "",
  },
  {
    name: "never refutes",
    section: "SWIM §4.2",
    seeds: 10,
    file: members,
    find: "if (claim.incarnation < this.#incarnation) return undefined;",
    replace: "return undefined;",
  },
  {
    name: "refutes with the same incarnation",
    section: "SWIM §4.2",
    seeds: 10,
    file: members,
    find: "this.#incarnation = claim.incarnation + 1;",
    replace: "this.#incarnation = claim.incarnation;",
  },
  {
    name: "lets better news win at equal incarnation",
    section: "SWIM §4.2",
    seeds: 600,
    file: members,
    find: "return strength[claim.status] > strength[known.status];",
    replace: "return strength[claim.status] < strength[known.status];",
  },
  {
    name: "lets any incarnation win",
    section: "SWIM §4.2",
    seeds: 10,
    file: members,
    find: "return claim.incarnation > known.incarnation;\n  return strength",
    replace: "return true;\n  return strength",
  },
  {
    name: "never ends a suspicion",
    section: "SWIM §4.2",
    seeds: 10,
    file: members,
    find: "if (nowMs - entry.sinceMs < lastsMs) continue;",
    replace: "if (nowMs >= entry.sinceMs) continue;",
  },
  {
    name: "forgets the tombstone of a removed member",
    section: "removal",
    seeds: 10,
    file: members,
    find: "    this.#admitted = admitted;\n",
    replace: "",
  },
  {
    name: "keeps the record of a removed member",
    section: "removal",
    seeds: 10,
    file: records,
    find: "    this.#records = kept;\n",
    replace: "",
  },
  {
    name: "compares digests by the owner alone",
    section: "anti-entropy",
    seeds: 10,
    file: records,
    find: "isNewer(record, known.get(record.owner))",
    replace: "!known.has(record.owner)",
  },
  {
    name: "compares records by version, without the epoch",
    section: "records",
    seeds: 10,
    file: records,
    find: "return a.epoch === b.epoch ? a.version > b.version : a.epoch > b.epoch;",
    replace: "return a.version > b.version;",
  },
  {
    name: "exchanges nothing from time to time",
    section: "anti-entropy",
    seeds: 10,
    file: "gossip/record-exchange.ts",
    find: "if (peer !== undefined && !signal.aborted) this.begin(peer);",
    replace: "",
  },
  {
    name: "takes no claims about others in from an exchange",
    section: "anti-entropy",
    seeds: 10,
    file: runner,
    find: 'claims.filter(({ status, nodeId }) => status !== "suspect" || nodeId',
    replace: "claims.filter(({ nodeId }) => nodeId",
  },
  {
    name: "publishes under numbers that others hold for older ones",
    section: "records",
    seeds: 60,
    file: runner,
    find: "    this.#goAbove([...digest, ...records]);\n",
    replace: "",
  },
  {
    name: "sends only the first of several changes",
    section: "records",
    seeds: 300,
    file: runner,
    find: "    this.#isPublishDue = true;\n",
    replace:
      "    if (this.#recordTable.records.size > 1) return;\n    this.#isPublishDue = true;\n",
  },
  {
    name: "suspects on its own word alone",
    section: "SWIM §4.1",
    seeds: 150,
    file: detector,
    find: 'if (answers.includes("answered")) return "answered";',
    replace: "",
  },
  {
    name: "lets others forget a goodbye for a failure",
    section: "SWIM §4.2",
    seeds: 100,
    file: members,
    find: "  failed: 2,\n  left: 3,",
    replace: "  failed: 3,\n  left: 2,",
  },
  {
    name: "takes a record that its owner has not signed",
    section: "records",
    seeds: 10,
    file: runner,
    find: "if (signer.verify(owner, signedBytes(record), record.signature)) {",
    replace: "if (signer.verify(owner, signedBytes(record), record.signature) || true) {",
  },
];
