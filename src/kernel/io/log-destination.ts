import { writeSync } from "node:fs";

/**
 * Where log lines go. A line that cannot be written, on a full disk say, is dropped: a
 * process must not wait for its log, nor end with it.
 */
export function logDestination(descriptor: number): { write(line: string): void } {
  return {
    write: (line) => {
      try {
        writeSync(descriptor, line);
      } catch {
        // There is nobody left to tell.
      }
    },
  };
}
