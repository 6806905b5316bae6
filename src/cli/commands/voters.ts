import { voterCounts } from "../../cluster/voter-counts.ts";
import { CliError } from "../cli-error.ts";
import { type Session, show } from "../session.ts";

/** `skein voters [COUNT]`: how many nodes vote, and how many of them may fail. */
export async function voters(session: Session, count: string | undefined): Promise<void> {
  const { client, signal } = session;
  if (count !== undefined) {
    const maxVoters = voterCounts.find((allowed) => String(allowed) === count);
    if (maxVoters === undefined) {
      throw new CliError(
        "usage",
        `"${count}" is no number of voters. Take ${voterCounts.join(", ")}: an even number bears no more failures.`,
      );
    }
    await client.call("setMaxVoters", { body: { maxVoters }, signal });
  }
  const { quorum } = await client.call("status", { signal });
  show(session, quorum, (now) => {
    const bears = Math.floor((now.voters - 1) / 2);
    return `${now.voters} vote, at most ${now.maxVoters} are to; ${now.votersAlive} are reachable, ${bears} may fail at a time\n`;
  });
}
