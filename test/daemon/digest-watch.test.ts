import t from "tap";
import { emptyClusterState, type Observations } from "../../src/cluster/index.ts";
import { watchDigests } from "../../src/daemon/digest-watch.ts";
import { Cell, nodeId, silentLogger } from "../../src/kernel/index.ts";
import { clusterNode } from "../builders.ts";

const [n1, n2] = [nodeId("n1"), nodeId("n2")];

function observationsOf(digest: { readonly index: number; readonly value: number }): Observations {
  const report = {
    nodeId: n2,
    skeinVersion: "0.1.0",
    runtime: "memory" as const,
    runtimeVersion: "",
    platform: { os: "linux", arch: "amd64" },
    capacity: { cpuMillis: 1, memoryBytes: 1 },
    httpPort: 80,
    routesIndex: 0,
    appliedIndex: 0,
    digest,
    tasks: [],
  };
  return { members: new Map(), reports: new Map([[n2, report]]) };
}

t.test("a node with another digest is named with the index, once, until it agrees", async (t) => {
  const own = new Map([[10, 111]]);
  const nodes = new Map([n1, n2].map((id) => [id, clusterNode(id)]));
  const observations = new Cell(observationsOf({ index: 10, value: 111 }));
  const errors: unknown[] = [];
  using watch = watchDigests({
    self: n1,
    store: {
      state: new Cell({ ...emptyClusterState, nodes }),
      digest: undefined,
      digestAt: (index) => own.get(index),
    },
    observations,
    logger: { ...silentLogger, error: (fields) => errors.push(fields) },
  });
  t.strictSame(watch.warnings(), []);
  observations.set(observationsOf({ index: 20, value: 5 }));
  t.strictSame(watch.warnings(), [], "an index that this node has no digest of says nothing");
  own.set(20, 222);
  observations.set(observationsOf({ index: 20, value: 5 }));
  observations.set(observationsOf({ index: 20, value: 5 }));
  t.match(watch.warnings(), [/index 20 differs between n1 and n2/]);
  t.strictSame(errors, [{ node: "n1", other: "n2", index: 20 }]);
  observations.set(observationsOf({ index: 10, value: 111 }));
  t.strictSame(watch.warnings(), []);
});
