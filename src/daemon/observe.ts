import {
  decodeReport,
  type Member,
  type NodeReport,
  type Observations,
  sameValue,
} from "../cluster/index.ts";
import { Cell, type NodeId, type ReadableCell } from "../kernel/index.ts";

/** What gossip carries, as this folder needs it: opaque records and who is alive. */
type Gossiped = {
  readonly members: ReadableCell<ReadonlyMap<NodeId, Member>>;
  readonly records: ReadableCell<ReadonlyMap<NodeId, { readonly body: Uint8Array }>>;
};

/**
 * Turns what gossip carries into {@link Observations}. A body is decoded once; one that
 * cannot be read leaves that node without a report, as if it had said nothing.
 */
export function observe(
  { members, records }: Gossiped,
  decode: typeof decodeReport = decodeReport,
): {
  readonly cell: ReadableCell<Observations>;
  readonly stop: () => void;
} {
  let decoded = new Map<NodeId, { body: Uint8Array; report: NodeReport | undefined }>();

  function read(): Observations {
    const next: typeof decoded = new Map();
    const reports = new Map<NodeId, NodeReport>();
    for (const [node, { body }] of records.get()) {
      const known = decoded.get(node);
      const entry =
        known?.body === body
          ? known
          : { body, report: withKnownTasks(decode(body, node), known?.report) };
      next.set(node, entry);
      if (entry.report !== undefined) reports.set(node, entry.report);
    }
    decoded = next;
    return { members: members.get(), reports };
  }

  const cell = new Cell(read());
  const update = () => cell.set(read());
  const stops = [members.subscribe(update), records.subscribe(update)];
  return {
    cell,
    stop: () => {
      for (const stop of stops) stop();
    },
  };
}

/**
 * Most reports say something new of the node only. The list of tasks stays the very same then,
 * so that whoever looks at the tasks alone sees that there is nothing to do.
 */
function withKnownTasks(
  report: NodeReport | undefined,
  before: NodeReport | undefined,
): NodeReport | undefined {
  if (report === undefined || before === undefined) return report;
  return sameValue(report.tasks, before.tasks) ? { ...report, tasks: before.tasks } : report;
}
