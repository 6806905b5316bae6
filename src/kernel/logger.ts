type Fields = Readonly<Record<string, unknown>>;

/** Events with fields; the message is lower-case and never interpolated. pino fits. */
export interface Logger {
  debug(fields: Fields, message: string): void;
  info(fields: Fields, message: string): void;
  warn(fields: Fields, message: string): void;
  error(fields: Fields, message: string): void;
  child(fields: Record<string, unknown>): Logger;
}

/** A logger that says nothing, for tests and the simulator. */
export const silentLogger: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => silentLogger,
};
