import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { onCore, startProcess } from "./processes.ts";

/** A proxy that listens on loopback and routes the host to the backends. */
export type Contender = AsyncDisposable & {
  readonly name: string;
  readonly port: number;
  readonly pid: number;
};

export type ProxyRig = {
  readonly directory: string;
  readonly host: string;
  readonly backendPorts: readonly number[];
  readonly signal: AbortSignal;
};

/** What proxies are measured on; what asks and what answers share the other core. */
export const proxyCore = 0;
const loadCore = 1;

/** An nginx on the core of the load, so fast that it is never what is measured. */
export async function startBackends(
  rig: ProxyRig & { readonly nginx: string; readonly sizes: readonly number[] },
): Promise<AsyncDisposable> {
  const files = join(rig.directory, "files");
  await mkdir(files);
  for (const size of rig.sizes) await writeFile(join(files, String(size)), "x".repeat(size));
  const listen = rig.backendPorts.map((port) => `listen 127.0.0.1:${port} backlog=4096;`);
  const servers = `server { ${listen.join(" ")} location / { root ${files}; } }`;
  const command = await nginxCommand(rig, "backends", `sendfile on; ${servers}`);
  const { directory, signal, backendPorts } = rig;
  return await startProcess({
    command: onCore(loadCore, command),
    logPath: join(directory, "backends.log"),
    port: backendPorts.at(-1) ?? 0,
    signal,
  });
}

export async function startNginx(
  rig: ProxyRig & { readonly nginx: string; readonly port: number },
): Promise<Contender> {
  const { directory, signal, port, host } = rig;
  const servers = rig.backendPorts.map((backend) => `server 127.0.0.1:${backend};`).join(" ");
  const command = await nginxCommand(
    rig,
    "nginx",
    `upstream app { ${servers} keepalive 256; keepalive_requests 1000000000; }
  proxy_buffer_size 8k; proxy_buffers 32 8k;
  server { listen 127.0.0.1:${port} default_server; return 404; }
  server {
    listen 127.0.0.1:${port} backlog=4096; server_name ${host};
    location / {
      proxy_pass http://app; proxy_http_version 1.1;
      proxy_set_header Connection ""; proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
    }
  }`,
  );
  const running = await startProcess({
    command: onCore(proxyCore, command),
    logPath: join(directory, "nginx.log"),
    port,
    signal,
  });
  return {
    name: "nginx",
    port,
    pid: running.pid,
    [Symbol.asyncDispose]: () => running[Symbol.asyncDispose](),
  };
}

async function nginxCommand(
  { directory, nginx }: { readonly directory: string; readonly nginx: string },
  name: string,
  http: string,
): Promise<readonly string[]> {
  const prefix = join(directory, name);
  await mkdir(prefix);
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    .map((kind) => `${kind}_temp_path ${prefix}/${kind};`)
    .join(" ");
  const file = join(prefix, "nginx.conf");
  await writeFile(
    file,
    `daemon off; master_process off; worker_processes 1; pid ${prefix}/pid; error_log stderr crit;
events { worker_connections 8192; multi_accept on; }
http {
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600s; tcp_nodelay on;
  server_tokens off; open_file_cache max=100; open_file_cache_valid 600s; ${temporary}
  ${http}
}
`,
  );
  return [nginx, "-e", "stderr", "-p", prefix, "-c", file];
}

/** One thread, connections kept on both sides, the same headers added as ours adds. */
export async function startHaproxy(
  rig: ProxyRig & { readonly haproxy: string; readonly port: number },
): Promise<Contender> {
  const { directory, signal, port, host, backendPorts } = rig;
  const file = join(directory, "haproxy.cfg");
  const servers = backendPorts.map((backend, place) => `  server s${place} 127.0.0.1:${backend}`);
  await writeFile(
    file,
    `global
  nbthread 1
  maxconn 4000
defaults
  mode http
  timeout connect 1s
  timeout client 60s
  timeout server 60s
  timeout http-request 10s
  timeout http-keep-alive 60s
  option forwardfor
  http-reuse always
frontend edge
  bind 127.0.0.1:${port} backlog 4096
  http-request set-header X-Forwarded-Proto http
  use_backend app if { hdr(host),field(1,:) -i ${host} }
backend app
  balance roundrobin
${servers.join("\n")}
`,
  );
  const running = await startProcess({
    command: onCore(proxyCore, [rig.haproxy, "-db", "-f", file]),
    logPath: join(directory, "haproxy.log"),
    port,
    signal,
  });
  return {
    name: "haproxy",
    port,
    pid: running.pid,
    [Symbol.asyncDispose]: () => running[Symbol.asyncDispose](),
  };
}
