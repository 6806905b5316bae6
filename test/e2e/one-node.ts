import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { DemoNode } from "../../scripts/demo/cluster.ts";
import { testImage, whyNoDocker } from "../runtime/docker-fixture.ts";

/** Why nothing can be run on a real engine here; false where it can. */
export async function whyNoNode(): Promise<string | false> {
  return (await whyNoDocker()) ?? false;
}

/** A daemon on loopback with the real container engine, to be used by its command line. */
export class OneNode implements AsyncDisposable {
  readonly node: DemoNode;
  readonly #directory: string;
  #files = 0;

  private constructor(directory: string, address: string) {
    this.#directory = directory;
    this.node = new DemoNode({ name: "n1", address, directory, runtime: "docker" });
  }

  static async start(directory: string, address: string): Promise<OneNode> {
    mkdirSync(directory, { recursive: true });
    const one = new OneNode(directory, address);
    await one.node.start(undefined);
    return one;
  }

  /** `skein up` of services that run lines of shell, in the namespace `kinds`. */
  async up(services: Readonly<Record<string, object>>, ...flags: readonly string[]) {
    const withImage = Object.entries(services).map(([name, service]) => [
      name,
      { image: testImage, stop_grace_period: "1s", ...service },
    ]);
    this.#files += 1;
    const file = join(this.#directory, `compose-${this.#files}.yaml`);
    const all = Object.fromEntries(withImage);
    const manifest = { name: "kinds", services: all, volumes: { data: {} } };
    writeFileSync(file, JSON.stringify(manifest));
    return await this.node.skein("up", "-f", file, ...flags);
  }

  async until(what: string, limitMs: number, test: () => Promise<boolean>): Promise<void> {
    const deadline = performance.now() + limitMs;
    while (!(await test())) {
      if (performance.now() > deadline) throw new Error(`after ${limitMs} ms still not: ${what}`);
      await sleep(100);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.node.skein("down", "-n", "kinds");
    await this.node.remove();
  }
}

/** A command of the test image's shell. */
export function shell(line: string): { readonly command: readonly string[] } {
  // A `$` of the shell's own is doubled, or it would be a variable of the manifest.
  return { command: ["/bin/sh", "-c", line.replaceAll("$", "$$$$")] };
}
