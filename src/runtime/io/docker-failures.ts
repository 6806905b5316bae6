import type { ContainerRequest } from "../container-runtime.ts";
import { RuntimeError } from "../errors.ts";
import { engineReasonOf, engineStatusOf } from "./docker-engine.ts";
import { notFound } from "./docker-images.ts";

/** Finds the code that the agent decides by; the engine only has status codes and prose. */
export function explainRunFailure({ template, name }: ContainerRequest, error: unknown): unknown {
  const status = engineStatusOf(error);
  if (status === undefined) return error;
  const reason = engineReasonOf(error);
  if (/no such image/i.test(reason)) {
    return notFound(template.image, "it has not been pulled", error);
  }
  if (/port is already allocated|address already in use/i.test(reason)) {
    const port = /:(\d+)(?=[^\d]*(?:port is already|bind: address|failed|: ))/.exec(reason)?.[1];
    const wanted = template.hostPorts.map(({ published }) => published).join(", ");
    return new RuntimeError(
      "port_in_use",
      `The port ${port ?? wanted} of this machine is taken, so the container ${name} cannot start: free it, or publish another.`,
      { cause: error },
    );
  }
  const isOfTheRequest =
    status < 500 ||
    /OCI runtime|executable file not found|no such file|network .* not found|mount/i.test(reason);
  const code = isOfTheRequest ? "invalid_request" : "engine_failed";
  return new RuntimeError(code, `The container ${name} cannot be started: ${reason}`, {
    cause: error,
  });
}
