import t from "tap";
import { nodeId } from "../../src/kernel/index.ts";
import { simpleConfiguration } from "../../src/raft/configuration.ts";
import { CoreCluster } from "./core-cluster.ts";

function quietCluster(): CoreCluster {
  const cluster = new CoreCluster({ voters: ["a", "b", "c"], announcement: "on_request" });
  cluster.elect("a");
  cluster.raft("a").announceCommit();
  cluster.drain("a");
  cluster.deliver();
  return cluster;
}

t.test("a commit costs no message of its own until it is asked for", async (t) => {
  const cluster = quietCluster();
  cluster.propose("a", "x");
  cluster.deliver();
  t.strictSame(cluster.texts("a"), ["x"], "the leader answers without waiting for it");
  t.strictSame(cluster.texts("b"), []);
  t.equal(cluster.raft("a").isAnnouncementDue, true);
  cluster.raft("a").announceCommit();
  cluster.drain("a");
  t.equal(cluster.raft("a").isAnnouncementDue, false);
  cluster.deliver();
  t.strictSame([cluster.texts("b"), cluster.texts("c")], [["x"], ["x"]]);
});

t.test("the next append carries the commit, and nothing is left to announce", async (t) => {
  const cluster = quietCluster();
  cluster.propose("a", "x");
  cluster.deliver();
  cluster.propose("a", "y");
  cluster.raft("a").announceCommit();
  cluster.drain("a");
  t.equal(cluster.take().length, 2, "one append to each member, no announcement beside it");
});

t.test(
  "a member where somebody waits hears of the commit at once, the other does not",
  async (t) => {
    const cluster = quietCluster();
    cluster.raft("a").propose([Buffer.from("x")], { awaitedBy: nodeId("b") });
    cluster.drain("a");
    cluster.deliver();
    t.strictSame([cluster.texts("b"), cluster.texts("c")], [["x"], []]);
    cluster.propose("a", "y");
    cluster.deliver();
    t.strictSame(cluster.texts("b"), ["x"], "nobody waits there any more");
    t.strictSame(cluster.texts("c"), ["x"], "what the append carried");
  },
);

t.test("a tick announces what nobody asked for", async (t) => {
  const cluster = quietCluster();
  cluster.propose("a", "x");
  cluster.deliver();
  cluster.tick("a");
  cluster.deliver();
  t.strictSame([cluster.texts("b"), cluster.texts("c")], [["x"], ["x"]]);
});

t.test("a member that a change removes hears of that change's commit", async (t) => {
  const cluster = quietCluster();
  const target = { voters: [nodeId("a"), nodeId("b")], learners: [] };
  cluster.raft("a").proposeConfiguration(target);
  cluster.drain("a");
  cluster.deliver();
  t.strictSame(cluster.raft("a").configuration, simpleConfiguration(target));
  t.equal(cluster.raft("c").commitIndex, cluster.raft("a").commitIndex);
});
