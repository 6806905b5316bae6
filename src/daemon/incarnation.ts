import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { writeSecretFile } from "../network/io/secret-file.ts";

/** This node's incarnation, kept over restarts: a lower one than before would be ignored by all. */
export function fileIncarnation(directory: string): {
  load(): number;
  save(value: number): void;
} {
  const file = join(directory, "incarnation");
  return {
    load: () => {
      if (!existsSync(file)) return 0;
      const value = Number(readFileSync(file, "utf8"));
      return Number.isSafeInteger(value) && value >= 0 ? value : 0;
    },
    save: (value) => writeSecretFile(file, String(value)),
  };
}
