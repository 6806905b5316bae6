import t from "tap";
import { Cell, type NodeId, nodeId, silentLogger } from "../../src/kernel/index.ts";
import { systemClock } from "../../src/kernel/io/system.ts";
import type { PeerNetwork, PeerStream } from "../../src/network/index.ts";
import { createPeerTransport, type PeerMessage } from "../../src/raft/index.ts";

/** One direction of a stream in memory. */
class FrameQueue {
  #frames: Uint8Array[] = [];
  #error: Error | undefined;
  #isEnded = false;
  #wake: () => void = () => undefined;

  push(frame: Uint8Array): void {
    if (this.#error !== undefined) throw this.#error;
    this.#frames.push(frame);
    this.#wake();
  }

  end(error?: Error): void {
    this.#isEnded = true;
    this.#error ??= error;
    this.#wake();
  }

  async *read(): AsyncGenerator<Uint8Array> {
    for (;;) {
      const frame = this.#frames.shift();
      if (frame !== undefined) yield frame;
      else if (this.#error !== undefined) throw this.#error;
      else if (this.#isEnded) return;
      else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }
}

type StreamHandler = Parameters<PeerNetwork["handleStream"]>[1];

/** Peers that share one process; streams can be refused or broken. */
class Peers {
  readonly handlers = new Map<NodeId, StreamHandler>();
  readonly open: PeerStream[] = [];
  opened = 0;
  refusals = 0;
  readonly connected = new Cell<ReadonlySet<NodeId>>(new Set());

  network(self: NodeId): PeerNetwork {
    return {
      self,
      connected: this.connected,
      drop: () => undefined,
      request: async (_to, _protocol, body) => body,
      handle: () => undefined,
      openStream: async (to) => {
        if (this.refusals > 0) {
          this.refusals -= 1;
          throw new Error("unreachable");
        }
        const [there, back] = [new FrameQueue(), new FrameQueue()];
        const [near, far] = [streamOf(there, back), streamOf(back, there)];
        this.open.push(near);
        this.opened += 1;
        const handler = this.handlers.get(to);
        handler?.(self, far).catch((error: Error) => far.abort(error));
        return near;
      },
      handleStream: (_protocol, handler) => {
        this.handlers.set(self, handler);
      },
      publish: async () => undefined,
      subscribe: () => undefined,
      [Symbol.asyncDispose]: async () => undefined,
    };
  }
}

function streamOf(out: FrameQueue, incoming: FrameQueue): PeerStream {
  return {
    send: async (frame) => out.push(frame),
    frames: () => incoming.read(),
    close: async () => {
      out.end();
      incoming.end();
    },
    abort: (reason) => {
      out.end(reason);
      incoming.end(reason);
    },
  };
}

const [a, b] = [nodeId("a"), nodeId("b")];

function heartbeat(term: number): PeerMessage {
  return { kind: "heartbeat", term, commitIndex: 0, readContext: 0 };
}

function start(peers: Peers) {
  const options = { clock: systemClock, logger: silentLogger };
  const sender = createPeerTransport({ network: peers.network(a), ...options });
  const receiver = createPeerTransport({ network: peers.network(b), ...options });
  const terms = new Cell<readonly number[]>([]);
  receiver.onMessages((from, messages) => {
    const heard = messages.flatMap((message) => ("term" in message ? [message.term] : []));
    if (from === a) terms.set([...terms.get(), ...heard]);
  });
  const heard = async (term: number) => {
    while (!terms.get().includes(term))
      await systemClock.sleep(1, {
        signal: AbortSignal.timeout(5_000),
      });
  };
  const stop = async () => {
    await sender[Symbol.asyncDispose]();
    await receiver[Symbol.asyncDispose]();
  };
  return { sender, terms, heard, stop };
}

t.test("messages arrive in order over one stream", async (t) => {
  const peers = new Peers();
  const { sender, terms, heard, stop } = start(peers);
  for (let term = 1; term <= 100; term += 1) sender.send(b, [heartbeat(term)]);
  await heard(100);
  sender.send(b, [heartbeat(101)]);
  await heard(101);
  t.strictSame(
    terms.get(),
    Array.from({ length: 101 }, (_, position) => position + 1),
  );
  t.equal(peers.opened, 1);
  await stop();
});

t.test("a broken stream is opened again", async (t) => {
  const peers = new Peers();
  const { sender, heard, stop } = start(peers);
  sender.send(b, [heartbeat(1)]);
  await heard(1);
  peers.open[0]?.abort(new Error("cable pulled"));
  await systemClock.sleep(100, { signal: AbortSignal.timeout(1_000) });
  sender.send(b, [heartbeat(2)]);
  await heard(2);
  t.equal(peers.opened, 2);
  await stop();
});

t.test("an unreachable peer costs a bounded queue and is tried again with a pause", async (t) => {
  const peers = new Peers();
  peers.refusals = 2;
  const { sender, heard, stop } = start(peers);
  for (let number = 0; number < 3_000; number += 1) sender.send(b, [heartbeat(1)]);
  t.ok(sender.droppedMessages() >= 900, "the oldest were dropped");
  const sending = new AbortController();
  const keepSending = (async () => {
    while (!sending.signal.aborted) {
      sender.send(b, [heartbeat(7)]);
      await systemClock.sleep(10, sending).catch(() => undefined);
    }
  })();
  await heard(7);
  sending.abort();
  await keepSending;
  t.equal(peers.refusals, 0);
  await stop();
});

t.test("a connection that comes up ends the pause after failures", async (t) => {
  const peers = new Peers();
  peers.refusals = 6;
  const { sender, heard, stop } = start(peers);
  const sending = new AbortController();
  const keepSending = (async () => {
    while (!sending.signal.aborted) {
      sender.send(b, [heartbeat(7)]);
      // Flaps, so that every pause ends as soon as it has begun.
      peers.connected.set(new Set([b]));
      peers.connected.set(new Set());
      await systemClock.sleep(5, sending).catch(() => undefined);
    }
  })();
  const startMs = systemClock.monotonic();
  await heard(7);
  // The pauses after six failures are 50, 100, ... 1600 ms: above three seconds together.
  t.ok(systemClock.monotonic() - startMs < 1_600, "sooner than the last pause alone");
  sending.abort();
  await keepSending;
  await stop();
});

t.test("a connection that is gone is told, once and to no closed transport", async (t) => {
  const peers = new Peers();
  const { sender, stop } = start(peers);
  const gone: string[] = [];
  sender.onDisconnect((node) => gone.push(node));
  peers.connected.set(new Set([b, nodeId("c")]));
  t.strictSame(gone, []);
  peers.connected.set(new Set([b]));
  t.strictSame(gone, ["c"]);
  await stop();
  peers.connected.set(new Set());
  t.strictSame(gone, ["c"]);
});
