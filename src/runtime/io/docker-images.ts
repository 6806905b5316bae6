import { z } from "zod";
import { messageOf } from "../../kernel/index.ts";
import { RuntimeError } from "../errors.ts";
import { type DockerEngine, engineReasonOf, engineStatusOf } from "./docker-engine.ts";
import { readLines } from "./docker-lines.ts";

const pullTimeoutMs = 15 * 60_000;
/** A pull that says nothing for this long will not end well. */
const pullStallMs = 90_000;

const imageReference = /^[a-z0-9][a-z0-9._/:@-]{0,511}$/i;

const progressSchema = z.object({ error: z.string().optional() });

/** Local images first: a registry that is down must not keep present images from starting. */
export async function ensureDockerImage(
  engine: DockerEngine,
  image: string,
  { signal }: { readonly signal: AbortSignal },
): Promise<void> {
  // It becomes part of the path of a request, which it must not be able to leave.
  if (!imageReference.test(image) || image.includes("..")) {
    throw notFound(image, "it is not a valid image reference", undefined);
  }
  if (await isPresent(engine, image, { signal })) return;
  const timeout = AbortSignal.timeout(pullTimeoutMs);
  const stall = new AbortController();
  const timer = setTimeout(() => stall.abort(), pullStallMs);
  const either = AbortSignal.any([signal, timeout, stall.signal]);
  try {
    await pull(engine, image, { signal: either, onProgress: () => timer.refresh() });
  } catch (error) {
    signal.throwIfAborted();
    if (stall.signal.aborted || timeout.aborted) {
      throw notFound(image, "the registry did not deliver it in time", error);
    }
    if (error instanceof RuntimeError && error.code === "engine_unreachable") throw error;
    throw notFound(image, engineReasonOf(error), error);
  } finally {
    clearTimeout(timer);
  }
}

async function isPresent(
  engine: DockerEngine,
  image: string,
  { signal }: { readonly signal: AbortSignal },
): Promise<boolean> {
  try {
    const what = `The image ${image} cannot be looked up`;
    await engine.call(what, () => engine.docker.getImage(image).inspect(), { signal });
    return true;
  } catch (error) {
    if (engineStatusOf(error) === 404) return false;
    throw error;
  }
}

async function pull(
  engine: DockerEngine,
  image: string,
  { signal, onProgress }: { readonly signal: AbortSignal; readonly onProgress: () => void },
): Promise<void> {
  const stream = await engine.stream(
    `The image ${image} cannot be pulled`,
    (abortSignal) => engine.docker.pull(image, { abortSignal }),
    { signal, timeoutMs: pullStallMs },
  );
  for await (const line of readLines(stream)) {
    onProgress();
    // A pull that fails on the way still has status 200: only the last line tells.
    const failure = errorOfProgress(line);
    if (failure !== undefined) throw new Error(failure);
  }
  signal.throwIfAborted();
  if (!(await isPresent(engine, image, { signal }))) {
    throw new Error("the engine ended the pull without the image");
  }
}

function errorOfProgress(line: string): string | undefined {
  try {
    return progressSchema.parse(JSON.parse(line)).error;
  } catch (error) {
    return `the engine's answer was not understood (${messageOf(error)})`;
  }
}

export function notFound(image: string, reason: string, cause: unknown): RuntimeError {
  return new RuntimeError(
    "image_not_found",
    `The image ${image} is not on this machine and cannot be pulled: ${reason}.`,
    { cause },
  );
}
