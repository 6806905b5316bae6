import { execFile, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { cp, mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { messageOf } from "../../src/kernel/index.ts";

const execute = promisify(execFile);

/** Built here, because no registry is needed then. */
export const testImage = "skein-contract-test:1";

export async function docker(...argv: readonly string[]): Promise<string> {
  const environment = { ...process.env, DOCKER_BUILDKIT: "0" };
  const { stdout } = await execute("docker", [...argv], { env: environment, timeout: 60_000 });
  return stdout.trim();
}

/** Builds the test image; tells why the Docker tests cannot run here, where they cannot. */
export async function whyNoDocker(): Promise<string | undefined> {
  try {
    await docker("version", "--format", "{{.Server.Version}}");
  } catch (error) {
    return `no container engine answers: ${messageOf(error).split("\n").at(-1)}`;
  }
  try {
    await buildTestImage();
    return undefined;
  } catch (error) {
    return `the test image cannot be built from /bin/busybox: ${messageOf(error)}`;
  }
}

async function buildTestImage(): Promise<void> {
  if ((await docker("images", "-q", testImage)) !== "") return;
  const context = await mkdtemp(join(tmpdir(), "skein-image-"));
  try {
    await cp(await realBusybox(), join(context, "busybox"), { dereference: true });
    await writeFile(
      join(context, "Dockerfile"),
      [
        "FROM scratch",
        "COPY busybox /bin/busybox",
        'RUN ["/bin/busybox", "--install", "-s", "/bin"]',
        "ENV PATH=/bin",
      ].join("\n"),
    );
    await docker("build", "-q", "-t", testImage, context);
  } finally {
    await rm(context, { recursive: true });
  }
}

async function realBusybox(): Promise<string> {
  const { stdout } = await execute("sh", ["-c", "command -v busybox"]);
  return stdout.trim();
}

/** Stands in front of the engine's socket and can be cut off. */
export async function proxySocket(path: string) {
  const sockets = new Set<Socket>();
  let isCut = false;
  const server = createServer((client) => {
    if (isCut) {
      client.destroy();
      return;
    }
    const engine = connect("/var/run/docker.sock");
    for (const socket of [client, engine]) {
      sockets.add(socket);
      socket.on("error", () => undefined);
      socket.on("close", () => {
        client.destroy();
        engine.destroy();
        sockets.delete(socket);
      });
    }
    client.pipe(engine).pipe(client);
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  return {
    cut() {
      isCut = true;
      for (const socket of sockets) socket.destroy();
    },
    mend() {
      isCut = false;
    },
    close() {
      this.cut();
      server.close();
    },
  };
}

const registryProgram = "/usr/bin/docker-registry";

export function whyNoRegistry(): string | false {
  return existsSync(registryProgram) ? false : `${registryProgram} is not installed`;
}

/** A registry on loopback, which engines trust without TLS. */
export async function startRegistry(): Promise<AsyncDisposable & { readonly port: number }> {
  const folder = await mkdtemp(join(tmpdir(), "skein-registry-"));
  const port = await freePort();
  const configuration = {
    version: 0.1,
    storage: { filesystem: { rootdirectory: join(folder, "data") } },
    http: { addr: `127.0.0.1:${port}` },
  };
  const file = join(folder, "config.yml"); // JSON is YAML.
  await writeFile(file, JSON.stringify(configuration));
  const registry = spawn(registryProgram, ["serve", file], { stdio: "ignore" });
  const deadline = AbortSignal.timeout(10_000);
  while (
    !(await fetch(`http://127.0.0.1:${port}/v2/`).then(
      (r) => r.ok,
      () => false,
    ))
  ) {
    deadline.throwIfAborted();
    await new Promise((next) => setTimeout(next, 50));
  }
  return {
    port,
    async [Symbol.asyncDispose]() {
      const ended = new Promise((resolve) => registry.once("exit", resolve));
      registry.kill();
      await ended;
      await rm(folder, { recursive: true });
    },
  };
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (typeof address !== "object" || address === null) throw new Error("no port is free");
  return address.port;
}
