import { http } from "../../kernel/io/http.ts";

/** An answer of the proxy's own: plain text, and the connection ends with it. */
export function answerText(status: number, message?: string): string {
  const title = http.STATUS_CODES[status] ?? "Error";
  const body = `${status} ${title}\n${message === undefined ? "" : `${message}\n`}`;
  const retry = status === 503 ? "Retry-After: 1\r\n" : "";
  return (
    `HTTP/1.1 ${status} ${title}\r\nContent-Type: text/plain; charset=utf-8\r\n` +
    `Content-Length: ${Buffer.byteLength(body)}\r\n${retry}Connection: close\r\n\r\n${body}`
  );
}
