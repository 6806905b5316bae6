import type { Diagnostics } from "./diagnostics.ts";
import type { Section } from "./section.ts";
import type { Amounts } from "./service-spec.ts";

type Resources = { readonly limits: Amounts; readonly reservations: Amounts };

/** `deploy.resources` with its short forms `cpus`, `mem_limit` and `mem_reservation`. */
export function compileResources(
  service: Section,
  deploy: Section | undefined,
  diagnostics: Diagnostics,
): Resources {
  const resources = deploy?.child("resources");
  const limits = resources?.child("limits");
  const reservations = resources?.child("reservations");

  const agreed = (
    long: number | undefined,
    short: { readonly key: string; readonly value: number | undefined },
  ) => {
    if (long !== undefined && short.value !== undefined && long !== short.value) {
      const what = `\`${short.key}\` and \`deploy.resources\` do not say the same`;
      diagnostics.problem(service.positionOf(short.key), what, "keep one of them");
    }
    return long ?? short.value;
  };
  const result: Resources = {
    limits: amounts(
      agreed(limits?.cpuMillis("cpus"), { key: "cpus", value: service.cpuMillis("cpus") }),
      agreed(limits?.bytes("memory"), { key: "mem_limit", value: service.bytes("mem_limit") }),
    ),
    reservations: amounts(
      reservations?.cpuMillis("cpus"),
      agreed(reservations?.bytes("memory"), {
        key: "mem_reservation",
        value: service.bytes("mem_reservation"),
      }),
    ),
  };
  checkOrder(result, reservations ?? service, diagnostics);
  return result;
}

/** A task that may not use what is kept free for it is surely a slip. */
function checkOrder(resources: Resources, at: Section, diagnostics: Diagnostics): void {
  const { limits, reservations } = resources;
  for (const [key, word] of [
    ["cpuMillis", "CPUs"],
    ["memoryBytes", "bytes of memory"],
  ] as const) {
    const limit = limits[key];
    const reserved = reservations[key];
    if (limit !== undefined && reserved !== undefined && reserved > limit) {
      diagnostics.problem(
        at.position,
        `more ${word} are reserved than the limit allows`,
        "raise the limit, or reserve less",
      );
    }
  }
}

function amounts(cpuMillis: number | undefined, memoryBytes: number | undefined): Amounts {
  return {
    ...(cpuMillis !== undefined && { cpuMillis }),
    ...(memoryBytes !== undefined && { memoryBytes }),
  };
}
