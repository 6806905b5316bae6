/** Nothing could be measured; the message says why and what to do about it. */
export class UnableToRun extends Error {
  override readonly name = "UnableToRun";
}
