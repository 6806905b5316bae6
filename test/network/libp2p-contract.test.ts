import t from "tap";
import { testPeerNetwork } from "./peer-network.contract.ts";
import { startNodes } from "./real-nodes.ts";

t.test("over libp2p", async (t) => {
  testPeerNetwork(t, startNodes);
});
