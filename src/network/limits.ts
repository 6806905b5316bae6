import { NetworkError } from "./errors.ts";

/** The most that one request or one answer may carry. */
export const maxBodyBytes = 2 ** 20;
/** The most that one frame of a stream may carry. */
export const maxFrameBytes = 4 * 2 ** 20;
/** The most that one published message may carry: gossip cuts off whoever sends far more. */
export const maxMessageBytes = 16 * 2 ** 10;

/** @throws NetworkError `too_large` */
export function checkSize(
  bytes: Uint8Array,
  { what, maxBytes }: { readonly what: string; readonly maxBytes: number },
): void {
  if (bytes.byteLength <= maxBytes) return;
  throw new NetworkError(
    "too_large",
    `A ${what} of ${bytes.byteLength} bytes is over the limit of ${maxBytes}. Send it in parts.`,
  );
}
