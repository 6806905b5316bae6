/** RFC 3339 in UTC. */
export function timeText(ms: number): string {
  // The one use of Date that reads no clock.
  // biome-ignore lint/style/noRestrictedGlobals: formats the given time
  return new Date(ms).toISOString();
}
