import { z } from "zod";
import type { DockerEngine } from "./docker-engine.ts";
import { engineStatusOf } from "./docker-engine.ts";

/** A registry that does not answer must not hold up who only wants to deploy. */
const registryTimeoutMs = 5_000;

const localSchema = z.object({ RepoDigests: z.array(z.string()).nullish() });
const remoteSchema = z.object({
  Descriptor: z.object({ digest: z.string().regex(/^sha256:[a-f0-9]{64}$/) }),
});

/**
 * The image by its digest. A copy that is present decides, and one without a digest was made
 * here: then there is nothing that another machine could fetch.
 */
export async function pinDockerImage(
  engine: DockerEngine,
  image: string,
  { signal }: { readonly signal: AbortSignal },
): Promise<string | undefined> {
  if (image.includes("@") || image.includes("..")) return undefined;
  const what = `The image ${image} cannot be looked up`;
  try {
    const found = await engine.call(what, () => engine.docker.getImage(image).inspect(), {
      signal,
    });
    const digests = localSchema.safeParse(found).data?.RepoDigests ?? [];
    return digestAmong(image, digests);
  } catch (error) {
    signal.throwIfAborted();
    if (engineStatusOf(error) !== 404) return undefined;
  }
  try {
    const told = await engine.call(what, () => engine.docker.getImage(image).distribution(), {
      signal,
      timeoutMs: registryTimeoutMs,
    });
    const digest = remoteSchema.safeParse(told).data?.Descriptor.digest;
    return digest === undefined ? undefined : `${image}@${digest}`;
  } catch {
    signal.throwIfAborted();
    return undefined;
  }
}

/** Of `example/web@sha256:…` texts, the one of the image's own repository. */
export function digestAmong(image: string, digests: readonly string[]): string | undefined {
  const repository = repositoryOf(image);
  for (const each of digests) {
    const [name = "", digest = ""] = each.split("@");
    const isOwn = repositoryOf(name) === repository;
    if (isOwn && /^sha256:[a-f0-9]{64}$/.test(digest)) return `${image}@${digest}`;
  }
  return undefined;
}

/** Without the tag, and without what engines leave out of the names of the central registry. */
function repositoryOf(image: string): string {
  const withoutTag = image.replace(/:[\w][\w.-]*$/, "");
  return withoutTag.replace(/^(?:docker\.io|index\.docker\.io)\//, "").replace(/^library\//, "");
}
