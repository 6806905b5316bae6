import { electionMsOf, type RaftStatus, type RaftTiming } from "../raft/index.ts";

/** What `skein status` says of a disk on which the log's writes take too long; none where all is well. */
export function diskWarnings(
  { slowWriteMs }: Pick<RaftStatus, "slowWriteMs">,
  { timing, directory }: { readonly timing: RaftTiming; readonly directory: string },
): readonly string[] {
  if (slowWriteMs === undefined) return [];
  const electionMs = electionMsOf(timing);
  return [
    `a write to the replicated log in ${directory} took ${slowWriteMs} ms on this node, and a leader is replaced after ${electionMs} ms of silence: use a faster disk, or start all daemons with a slower --timing`,
  ];
}
