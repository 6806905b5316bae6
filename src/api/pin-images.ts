import { type ClusterState, keyOf } from "../cluster/index.ts";
import type { ServiceSpec } from "../spec/index.ts";

/** The image with its digest; undefined where nobody can tell it. */
export type PinImage = (
  image: string,
  options: { readonly signal: AbortSignal },
) => Promise<string | undefined>;

/**
 * Services whose images mean the same for ever: with the digest that their tag stands for.
 * While a file names the tag that runs already, what runs is kept: a tag that was moved in
 * its registry changes nothing behind anybody's back.
 */
export async function withPinnedImages(
  specs: readonly ServiceSpec[],
  { services }: ClusterState,
  { pin, signal }: { readonly pin: PinImage; readonly signal: AbortSignal },
): Promise<readonly ServiceSpec[]> {
  const pins = new Map<string, Promise<string | undefined>>();
  const pinned = (image: string) => {
    const known = pins.get(image) ?? pin(image, { signal });
    pins.set(image, known);
    return known;
  };
  /** The image to keep for one that a file names, where `before` is what runs in its place. */
  const kept = async (image: string, before: string | undefined) => {
    if (isPinned(image) || image.startsWith("/")) return image;
    const isSame = before !== undefined && tagOf(before) === image;
    return isSame ? before : ((await pinned(image)) ?? image);
  };
  return await Promise.all(
    specs.map(async (spec) => {
      const { template } = spec;
      const before = services.get(keyOf(spec))?.spec.template;
      const image = await kept(template.image, before?.image);
      const { pod } = template;
      if (pod === undefined) return { ...spec, template: { ...template, image } };
      const others = await Promise.all(
        pod.others.map(async (other) => {
          const same = before?.pod?.others.find(({ name }) => name === other.name);
          return { ...other, image: await kept(other.image, same?.image) };
        }),
      );
      return { ...spec, template: { ...template, image, pod: { ...pod, others } } };
    }),
  );
}

/** Whether it names a digest, and so one image only. */
export function isPinned(image: string): boolean {
  return image.includes("@");
}

/** The image as its file may name it, without the digest. */
function tagOf(image: string): string {
  return image.split("@")[0] ?? image;
}
