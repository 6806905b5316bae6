import { systemClock as clock } from "../kernel/io/system.ts";
import type { Credentials } from "../network/io/credentials.ts";
import type { Libp2pNetwork } from "../network/io/libp2p-network.ts";
import type { ProxyConfiguration } from "../proxy/index.ts";
import { ProxyClient } from "../proxy/io/proxy-client.ts";
import type { Base } from "./base.ts";
import type { Settings } from "./settings.ts";

export async function startProxy(base: Base, network: Libp2pNetwork): Promise<ProxyClient> {
  const { mainPath, paths, credentials, logger } = base;
  return await ProxyClient.start({
    socketPath: paths.proxySocket,
    command: [process.execPath, mainPath, "proxy", "--socket", paths.proxySocket],
    logPath: paths.proxyLog,
    configuration: proxyConfiguration(base, network, credentials),
    logger: logger.child({ part: "proxy" }),
    clock,
  });
}

export function proxyConfiguration(
  { settings, paths, self }: Base,
  network: Libp2pNetwork,
  { tlsKeyPem, tlsCertificatePem, caPem }: Credentials,
): ProxyConfiguration {
  return {
    nodeId: self,
    listenAddress: settings.listen.host,
    edgePort: settings.listen.port,
    httpPort: settings.httpPort,
    tls: {
      key: tlsKeyPem,
      // The CA goes with it, so that clients who pin it by fingerprint can see it.
      cert: `${tlsCertificatePem}\n${caPem}`,
      ca: caPem,
    },
    libp2p: { host: "127.0.0.1", port: network.listenPort },
    apiSocketPath: paths.remoteApiSocket,
    detourSocketPath: paths.detourSocket,
  };
}

/** Where this node's own one port is reached from here. */
export function ownEdge({ listen }: Settings): { readonly host: string; readonly port: number } {
  const here = listen.host === "0.0.0.0" ? "127.0.0.1" : listen.host === "::" ? "::1" : listen.host;
  return { host: here, port: listen.port };
}
