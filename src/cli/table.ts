/**
 * Lays out rows under headings, two spaces between columns. Cells keep their text whole;
 * the last column is not padded, so that copying a line gives no trailing blanks.
 */
/** With a digest shortened to what tells it apart. */
export function shortImage(image: string): string {
  return image.replace(/(@sha256:[a-f0-9]{12})[a-f0-9]+$/, "$1");
}

export function table(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [headings, ...rows];
  const widths = headings.map((_, column) =>
    Math.max(...all.map((row) => (row[column] ?? "").length)),
  );
  return all
    .map((row) =>
      row
        .map((cell, column) =>
          column === row.length - 1 ? cell : cell.padEnd(widths[column] ?? 0),
        )
        .join("  ")
        .trimEnd(),
    )
    .map((line) => `${line}\n`)
    .join("");
}

/** `1.5` for 1500 thousandths of a core. */
export function cores(millis: number): string {
  return String(Math.round(millis / 100) / 10);
}

/** Binary units with one digit: `1.5G`. */
export function bytes(count: number): string {
  const units = ["B", "K", "M", "G", "T"];
  let value = count;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? value : Math.round(value * 10) / 10}${units[unit]}`;
}

/** How long until then, in the units of {@link age}. */
export function remaining(until: string, nowMs: number): string {
  return age(new Date(nowMs).toISOString(), Date.parse(until));
}

/** How long ago, in the one or two units that matter: `3m`, `2h`, `5d`. */
export function age(since: string, nowMs: number): string {
  const seconds = Math.max(0, Math.round((nowMs - Date.parse(since)) / 1_000));
  if (seconds < 120) return `${seconds}s`;
  if (seconds < 7_200) return `${Math.floor(seconds / 60)}m`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3_600)}h`;
  return `${Math.floor(seconds / 86_400)}d`;
}
