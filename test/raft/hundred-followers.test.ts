import t from "tap";
import { type NodeId, nodeId } from "../../src/kernel/index.ts";
import { encodeFrame, encodeMessage } from "../../src/raft/message-codec.ts";
import type { RaftTransport } from "../../src/raft/transport.ts";
import {
  bytesOf,
  leaderAmong,
  MemoryNetwork,
  startCluster,
  startNode,
  type TestNode,
  whenStatus,
} from "./runners.ts";

/** A hundred nodes share two cores here, so their time runs slower than the other tests'. */
const timing = { tickMs: 50, heartbeatTicks: 2, electionTicks: 20 };
const valueBytes = 200;

/** Counts what one node sends: messages to members, and frames to whom it feeds. */
class CountedNetwork extends MemoryNetwork {
  readonly sent = new Map<NodeId, { messages: number; bytes: number }>();

  override transport(self: NodeId): RaftTransport {
    const inner = super.transport(self);
    const counted = { messages: 0, bytes: 0 };
    this.sent.set(self, counted);
    const count = (bytes: number) => {
      counted.messages += 1;
      counted.bytes += bytes;
    };
    return {
      ...inner,
      send: (to, messages) => {
        count(encodeFrame(messages.map(encodeMessage)).byteLength);
        inner.send(to, messages);
      },
      onStream: (handler) =>
        inner.onStream((from, stream) =>
          handler(from, {
            send: (frame, options) => {
              count(frame.byteLength);
              return stream.send(frame, options);
            },
            frames: () => stream.frames(),
            close: () => stream.close(),
            abort: (reason) => stream.abort(reason),
          }),
        ),
    };
  }

  /** What a node sends while `run` runs. */
  async during(node: NodeId, run: () => Promise<void>) {
    const before = { ...(this.sent.get(node) ?? { messages: 0, bytes: 0 }) };
    await run();
    const after = this.sent.get(node) ?? before;
    return { messages: after.messages - before.messages, bytes: after.bytes - before.bytes };
  }
}

async function whenAllHave(nodes: readonly TestNode[], count: number): Promise<void> {
  for (const node of nodes) await whenStatus(node, () => node.machine.texts.length >= count);
}

t.test("five voters and a hundred followers", { timeout: 60_000 }, async (t) => {
  const network = new CountedNetwork();
  const voterNames = ["a", "b", "c", "d", "e"];
  const followerNames = Array.from({ length: 100 }, (_, number) => `f${number}`);
  const ids = [...voterNames, ...followerNames].map(nodeId);
  const overrides = { timing, feeders: () => ids };
  const voters = await startCluster(network, voterNames, overrides);
  const followers: TestNode[] = [];
  for (const name of followerNames) followers.push(await startNode(network, name, overrides));
  const all = [...voters, ...followers];
  t.teardown(() => Promise.all(all.map(({ runner }) => runner[Symbol.asyncDispose]())));
  const leader = leaderAmong(voters);
  // At first they know no voters, and some are fed by others for a moment.
  const feeders = voters.filter((node) => node !== leader).map(({ id }) => id);
  for (const node of followers) {
    await whenStatus(node, ({ feeder }) => feeder !== undefined && feeders.includes(feeder));
  }
  const signal = AbortSignal.timeout(40_000);
  let written = 0;
  const write = async (text = String(written).padEnd(valueBytes, ".")) => {
    written += 1;
    await leader.runner.propose(bytesOf(text), { signal });
  };

  await t.test("a write reaches all", async (t) => {
    const from = performance.now();
    await write();
    await whenAllHave(all, written);
    t.comment(`one write was applied by all 105 within ${Math.round(performance.now() - from)} ms`);
  });

  await t.test("a write costs the leader what its voters cost, not its followers", async (t) => {
    const writes = 50;
    const cost = await network.during(leader.id, async () => {
      for (let count = 0; count < writes; count += 1) {
        await write();
        await whenAllHave(all, written);
      }
    });
    const messages = cost.messages / writes;
    t.comment(
      `the leader sends ${messages.toFixed(1)} messages, ${Math.round(cost.bytes / writes)} bytes ` +
        `for a write of ${valueBytes} bytes`,
    );
    // Four voters get the entry and its commit; heartbeats make up the rest.
    t.ok(messages < 16, `${messages} messages a write`);
  });

  await t.test("the feeders of half of them die: nothing is lost", async (t) => {
    const byFeeder = Map.groupBy(followers, ({ runner }) => runner.status.get().feeder);
    const dead = [...byFeeder.keys()]
      .filter((node) => node !== undefined && node !== leader.id)
      .sort((a, b) => (byFeeder.get(b)?.length ?? 0) - (byFeeder.get(a)?.length ?? 0))
      .slice(0, 2);
    const orphans = dead.flatMap((node) => byFeeder.get(node) ?? []);
    const rest = all.filter(({ id }) => !dead.includes(id));
    const from = performance.now();
    const writing = Promise.all(Array.from({ length: 20 }, () => write()));
    for (const node of dead) if (node !== undefined) network.down.add(node);
    await writing;
    await write();
    await whenAllHave(rest, written);
    t.comment(
      `${orphans.length} followers lost their feeder; all had every write ` +
        `${Math.round(performance.now() - from)} ms later`,
    );
    t.ok(orphans.length >= 40);
    const expected = leader.machine.texts;
    t.equal(expected.length, written);
    for (const { machine, id } of rest) t.strictSame(machine.texts, expected, id);
    for (const { runner, id } of orphans) {
      const { feeder } = runner.status.get();
      t.ok(feeder !== undefined && !dead.includes(feeder), `${id} has another feeder`);
    }
  });
});
