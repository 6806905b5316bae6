/**
 * Counts connections that have not shown yet what they are: few per source and not many in
 * all, so that one host cannot take the places of everybody else.
 */
export class Newcomers {
  readonly #limits: { readonly max: number; readonly maxPerSource: number };
  readonly #bySource = new Map<string, number>();
  #count = 0;

  constructor(limits: { readonly max: number; readonly maxPerSource: number }) {
    this.#limits = limits;
  }

  get count(): number {
    return this.#count;
  }

  /** Takes a place and gives the function that frees it, once; undefined when there is none. */
  enter(address: string | undefined): (() => void) | undefined {
    const source = sourceOf(address);
    const count = this.#bySource.get(source) ?? 0;
    const { max, maxPerSource } = this.#limits;
    if (this.#count >= max || count >= maxPerSource) return undefined;
    this.#bySource.set(source, count + 1);
    this.#count += 1;
    let isInside = true;
    return () => {
      if (!isInside) return;
      isInside = false;
      this.#leave(source);
    };
  }

  #leave(source: string): void {
    this.#count -= 1;
    const left = (this.#bySource.get(source) ?? 0) - 1;
    if (left > 0) this.#bySource.set(source, left);
    else this.#bySource.delete(source);
  }
}

/** One host: an IPv4 address, or the 64 bits of an IPv6 address that one network is given. */
export function sourceOf(address: string | undefined): string {
  const text = (address ?? "").replace(/^::ffff:(?=\d+\.)/, "").replace(/%.*$/, "");
  if (!text.includes(":")) return text;
  const [head = "", tail] = text.split("::");
  const groups = head === "" ? [] : head.split(":");
  const after = tail === undefined || tail === "" ? [] : tail.split(":");
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - groups.length - after.length);
  const all = [...groups, ...Array.from({ length: zeros }, () => "0"), ...after];
  return all.slice(0, 4).join(":");
}
