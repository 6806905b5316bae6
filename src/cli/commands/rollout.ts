import { followRollout } from "../follow.ts";
import { findService, type Session, show } from "../session.ts";

/** `skein rollout pause NAME` */
export async function pauseRollout(session: Session, text: string): Promise<void> {
  const { namespace, name } = await findService(session, text);
  const params = { namespace, name };
  const { signal } = session;
  const paused = await session.client.call("steerRollout", {
    params,
    body: { action: "pause" },
    signal,
  });
  show(session, paused, () => `paused ${namespace}/${name}; go on with: skein rollout resume\n`);
}

/** `skein rollout resume NAME`: and follows it to its end. */
export async function resumeRollout(
  session: Session,
  text: string,
  { detach }: { readonly detach?: boolean },
): Promise<void> {
  const { namespace, name } = await findService(session, text);
  const params = { namespace, name };
  const { signal } = session;
  const resumed = await session.client.call("steerRollout", {
    params,
    body: { action: "resume" },
    signal,
  });
  show(session, resumed, () => `resumed ${namespace}/${name}\n`);
  if (!detach) await followRollout(session, new Set([name]), { namespace, isUpdate: true });
}
