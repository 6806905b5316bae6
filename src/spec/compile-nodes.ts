import type { Diagnostics } from "./diagnostics.ts";
import type { Section } from "./section.ts";
import type { ServiceSpec } from "./service-spec.ts";
import { shortened } from "./tree.ts";

type Constraint = ServiceSpec["placement"]["constraints"][number];

/** The words that images use for the machines that nodes name otherwise. */
const architectures: Readonly<Record<string, string>> = { x86_64: "amd64", aarch64: "arm64" };

/** `platform: linux/arm64` as constraints: an image for one platform runs on no other. */
export function compilePlatform(service: Section): readonly Constraint[] {
  const platform = service.text("platform");
  if (platform === undefined) return [];
  const match = /^(linux|windows)(?:\/([a-z0-9_]+))?(?:\/v\d+)?$/.exec(platform);
  if (match === null) {
    service.reject("platform", "`OS/ARCH`, such as `linux/amd64`");
    return [];
  }
  const [, os = "", arch] = match;
  const constraints: Constraint[] = [{ key: "node.platform.os", operator: "==", value: os }];
  if (arch !== undefined) {
    const value = architectures[arch] ?? arch;
    constraints.push({ key: "node.platform.arch", operator: "==", value });
  }
  return constraints;
}

/** `x-machines`: any of the machines named. */
export function compileMachines(service: Section, diagnostics: Diagnostics): readonly Constraint[] {
  const names = service.texts("x-machines").flatMap(({ text, position }) => {
    if (/^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62})$/.test(text)) return [text];
    diagnostics.problem(position, `\`${shortened(text)}\` is not the name of a machine`);
    return [];
  });
  const [first, ...others] = [...new Set(names)].sort();
  if (first === undefined) return [];
  if (others.length === 0) return [{ key: "node.hostname", operator: "==", value: first }];
  return [{ key: "node.hostname", operator: "in", value: [first, ...others].join(",") }];
}
