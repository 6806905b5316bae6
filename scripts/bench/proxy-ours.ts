import { join } from "node:path";
import { nodeId, serviceKey, silentLogger, taskId } from "../../src/kernel/index.ts";
import { systemClock } from "../../src/kernel/io/system.ts";
import { createCluster } from "../../src/network/io/credentials.ts";
import type { Endpoint, RoutePlan } from "../../src/proxy/index.ts";
import { ControlConnection } from "../../src/proxy/io/control-connection.ts";
import { startProxy } from "../../src/proxy/io/proxy-client.ts";
import { root } from "../run.ts";
import { UnableToRun } from "./errors.ts";
import { moveToCore } from "./processes.ts";
import { type Contender, type ProxyRig, proxyCore } from "./proxy-peers.ts";

/** The proxy process as a daemon starts and feeds it, with a host route as of an ingress. */
export async function startOurProxy(
  rig: ProxyRig & { readonly port: number; readonly edgePort: number },
): Promise<Contender> {
  const { directory, port, edgePort, signal } = rig;
  const socketPath = join(directory, "proxy.sock");
  const self = nodeId("n1");
  const nowMs = systemClock.now();
  const { tlsKeyPem, tlsCertificatePem, caPem } = await createCluster({
    clusterId: "bench",
    self,
    nowMs,
  });
  const client = await startProxy({
    socketPath,
    command: [process.execPath, join(root, "src", "main.mjs"), "proxy", "--socket", socketPath],
    configuration: {
      nodeId: self,
      listenAddress: "127.0.0.1",
      edgePort,
      httpPort: port,
      tls: { key: tlsKeyPem, cert: tlsCertificatePem, ca: caPem },
      // Of the daemon; nobody asks for them here.
      libp2p: { host: "127.0.0.1", port: edgePort },
      apiSocketPath: join(directory, "api.sock"),
    },
    logger: silentLogger,
    clock: systemClock,
  });
  try {
    const { problems } = await client.setTable(routesOf(rig), { signal });
    if (problems[0] !== undefined) throw new UnableToRun(problems[0].message);
    const pid = await pidOf(socketPath, signal);
    moveToCore(proxyCore, pid);
    return { name: "ours", port, pid, [Symbol.asyncDispose]: () => client.stop() };
  } catch (error) {
    await client.stop();
    throw error;
  }
}

function routesOf({ host, backendPorts }: ProxyRig): RoutePlan {
  const service = serviceKey("default", "app");
  const endpoints = backendPorts.map(
    (port, place): Endpoint => ({
      taskId: taskId(`t${place}`),
      target: 80,
      via: { kind: "local", address: "127.0.0.1", port },
    }),
  );
  return {
    stateIndex: 1,
    publishedPorts: [],
    hostRoutes: [{ host, path: "/", backend: { service, endpoints } }],
    local: [],
    silentNodes: [],
  };
}

async function pidOf(socketPath: string, signal: AbortSignal): Promise<number> {
  using connection = await ControlConnection.open(socketPath);
  const { pid } = await connection.request({ kind: "hello" }, { signal });
  return pid;
}
