import type { Socket } from "node:net";

/**
 * Joins two sockets until both directions have ended, each with its own half-close and its
 * own back-pressure. Resolves when both are closed; never rejects.
 */
export async function relay(left: Socket, right: Socket): Promise<void> {
  await Promise.all([pump(left, right), pump(right, left)]);
}

function pump(from: Socket, to: Socket): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  from.on("data", (chunk: Buffer) => {
    if (!to.write(chunk)) from.pause();
  });
  to.on("drain", () => from.resume());
  from.once("end", () => to.end());
  const onClose = () => {
    // What is already on its way to the other side still goes there.
    to.destroySoon();
    resolve();
  };
  if (from.destroyed) onClose();
  else from.once("close", onClose);
  from.resume();
  return promise;
}
