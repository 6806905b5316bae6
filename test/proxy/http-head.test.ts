import t from "tap";
import { keptFields, parseRequestHead, parseResponseHead } from "../../src/proxy/http-head.ts";

function parse(text: string) {
  const bytes = Buffer.from(text, "latin1");
  return parseRequestHead(bytes, 0, bytes.length);
}

const get = "GET / HTTP/1.1\r\n";
const host = "Host: a.example\r\n";
const longName = "x".repeat(17_000);

/** What must be refused, with the status that the client is told. */
const malformed: readonly (readonly [name: string, text: string, status: number])[] = [
  [
    "length and chunked",
    `${get}${host}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n`,
    400,
  ],
  [
    "chunked and length",
    `${get}${host}Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n`,
    400,
  ],
  ["two equal lengths", `${get}${host}Content-Length: 1\r\nContent-Length: 1\r\n\r\n`, 400],
  ["two lengths", `${get}${host}Content-Length: 1\r\nContent-Length: 2\r\n\r\n`, 400],
  ["a list of lengths", `${get}${host}Content-Length: 1, 1\r\n\r\n`, 400],
  ["a length with a plus", `${get}${host}Content-Length: +1\r\n\r\n`, 400],
  ["a length with a minus", `${get}${host}Content-Length: -1\r\n\r\n`, 400],
  ["a hexadecimal length", `${get}${host}Content-Length: 0x10\r\n\r\n`, 400],
  ["an empty length", `${get}${host}Content-Length:\r\n\r\n`, 400],
  ["a length with a blank inside", `${get}${host}Content-Length: 1 0\r\n\r\n`, 400],
  ["a length that overflows", `${get}${host}Content-Length: 99999999999999999999\r\n\r\n`, 400],
  ["another encoding", `${get}${host}Transfer-Encoding: gzip\r\n\r\n`, 501],
  ["an encoding list", `${get}${host}Transfer-Encoding: gzip, chunked\r\n\r\n`, 501],
  ["chunked, identity", `${get}${host}Transfer-Encoding: chunked, identity\r\n\r\n`, 501],
  [
    "an encoding that only begins as chunked",
    `${get}${host}Transfer-Encoding: chunkedx\r\n\r\n`,
    501,
  ],
  ["an empty encoding", `${get}${host}Transfer-Encoding:\r\n\r\n`, 501],
  ["a quoted encoding", `${get}${host}Transfer-Encoding: "chunked"\r\n\r\n`, 501],
  [
    "chunked twice",
    `${get}${host}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n`,
    400,
  ],
  [
    "chunked with a control octet before",
    `${get}${host}Transfer-Encoding: \x0bchunked\r\n\r\n`,
    400,
  ],
  [
    "chunked with a control octet behind",
    `${get}${host}Transfer-Encoding: chunked\x0c\r\n\r\n`,
    400,
  ],
  ["chunked in HTTP/1.0", `GET / HTTP/1.0\r\n${host}Transfer-Encoding: chunked\r\n\r\n`, 400],
  ["a space before the colon", `${get}${host}Content-Length : 1\r\n\r\n`, 400],
  ["a tab before the colon", `${get}${host}Content-Length\t: 1\r\n\r\n`, 400],
  ["a folded line", `${get}${host}A: b\r\n c\r\n\r\n`, 400],
  ["a line folded by a tab", `${get}${host}A: b\r\n\tc\r\n\r\n`, 400],
  ["a space before the first field", `${get} ${host}\r\n`, 400],
  ["a bare LF after the request line", `GET / HTTP/1.1\n${host}\r\n`, 400],
  ["a bare LF after a field", `${get}Host: a\nB: c\r\n\r\n`, 400],
  ["a bare LF as the last line", `${get}${host}\n`, 400],
  ["a bare CR in a value", `${get}${host}A: b\rc\r\n\r\n`, 400],
  ["a bare CR as the last line", `${get}${host}\rA: b\r\n\r\n`, 400],
  ["a bare CR in the request line", `GET / HTTP/1.1\r${host}\r\n`, 400],
  ["NUL in a value", `${get}${host}A: b\0c\r\n\r\n`, 400],
  ["NUL in a name", `${get}${host}A\0: b\r\n\r\n`, 400],
  ["a control octet in a value", `${get}${host}A: b\x07\r\n\r\n`, 400],
  ["DEL in a value", `${get}${host}A: b\x7f\r\n\r\n`, 400],
  ["an 8-bit octet in a name", `${get}${host}\xe4: b\r\n\r\n`, 400],
  ["an empty name", `${get}${host}: b\r\n\r\n`, 400],
  ["a line without a colon", `${get}${host}nonsense\r\n\r\n`, 400],
  ["no Host in HTTP/1.1", `${get}A: b\r\n\r\n`, 400],
  ["Host twice", `${get}${host}${host}\r\n`, 400],
  ["an empty Host", `${get}Host:\r\n\r\n`, 400],
  ["Host with a slash", `${get}Host: a/b\r\n\r\n`, 400],
  ["Host with an at sign", `${get}Host: a@b\r\n\r\n`, 400],
  ["Host with a blank", `${get}Host: a b\r\n\r\n`, 400],
  ["two spaces before the target", `GET  / HTTP/1.1\r\n${host}\r\n`, 400],
  ["two spaces behind the target", `GET /  HTTP/1.1\r\n${host}\r\n`, 400],
  ["a tab in the request line", `GET\t/ HTTP/1.1\r\n${host}\r\n`, 400],
  ["a space behind the version", `GET / HTTP/1.1 \r\n${host}\r\n`, 400],
  ["a leading space", ` GET / HTTP/1.1\r\n${host}\r\n`, 400],
  ["HTTP/2.0", `GET / HTTP/2.0\r\n${host}\r\n`, 505],
  ["HTTP/1.2", `GET / HTTP/1.2\r\n${host}\r\n`, 505],
  ["HTTP/11.1", `GET / HTTP/11.1\r\n${host}\r\n`, 505],
  ["a lower-case version", `GET / http/1.1\r\n${host}\r\n`, 400],
  ["HTTP/0.9", "GET /\r\n\r\n", 400],
  ["a control octet in the target", `GET /\x01 HTTP/1.1\r\n${host}\r\n`, 400],
  ["an 8-bit octet in the target", `GET /\xe4 HTTP/1.1\r\n${host}\r\n`, 400],
  ["a fragment in the target", `GET /a#b HTTP/1.1\r\n${host}\r\n`, 400],
  ["a target without a slash", `GET a HTTP/1.1\r\n${host}\r\n`, 400],
  ["an asterisk with GET", `GET * HTTP/1.1\r\n${host}\r\n`, 400],
  ["another authority than Host", `GET http://b.example/ HTTP/1.1\r\n${host}\r\n`, 400],
  ["an authority with user information", `GET http://u@a.example/ HTTP/1.1\r\n${host}\r\n`, 400],
  ["CONNECT", `CONNECT a.example:443 HTTP/1.1\r\n${host}\r\n`, 405],
  ["a method with a bracket", `GE(T / HTTP/1.1\r\n${host}\r\n`, 400],
  ["an endless method", `${"G".repeat(30)} / HTTP/1.1\r\n${host}\r\n`, 400],
  ["Connection that names Content-Length", `${get}${host}Connection: Content-Length\r\n\r\n`, 400],
  ["Connection that names Host", `${get}${host}Connection: close, Host\r\n\r\n`, 400],
  ["Connection with a bad token", `${get}${host}Connection: a b\r\n\r\n`, 400],
  ["another expectation", `${get}${host}Expect: wonders\r\n\r\n`, 417],
  ["a head that is too large", `${get}${host}A: ${longName}\r\n\r\n`, 431],
  ["a head that is too large and not at its end", `${get}${host}A: ${longName}`, 431],
  ["a target that is too long", `GET /${longName}`, 414],
  ["too many fields", `${get}${host}${"A: b\r\n".repeat(101)}\r\n`, 431],
];

t.test("a request head that two programs could read in two ways is refused", async (t) => {
  t.ok(malformed.length >= 62);
  for (const [name, text, status] of malformed) {
    t.strictSame(parse(text), { kind: "malformed", status }, name);
  }
});

const good: readonly (readonly [name: string, text: string])[] = [
  ["a bare GET", `${get}${host}\r\n`],
  ["a body with a length", `POST / HTTP/1.1\r\n${host}Content-Length: 5\r\n\r\nhello`],
  ["a chunked body", `POST / HTTP/1.1\r\n${host}Transfer-Encoding: Chunked\r\n\r\n`],
  ["blanks round a value", `${get}${host}A: \t b \t\r\n\r\n`],
  ["an empty value", `${get}${host}A:\r\n\r\n`],
  ["8-bit octets in a value", `${get}${host}A: \xe4\xff\r\n\r\n`],
  ["an IPv6 host with a port", `${get}Host: [::1]:8080\r\n\r\n`],
  ["HTTP/1.0 without Host", "GET / HTTP/1.0\r\n\r\n"],
  ["OPTIONS with an asterisk", `OPTIONS * HTTP/1.1\r\n${host}\r\n`],
  ["absolute-form that agrees with Host", `GET http://A.example/x?y HTTP/1.1\r\n${host}\r\n`],
  ["a method of its own", `PROPFIND / HTTP/1.1\r\n${host}\r\n`],
  [
    "Expect: 100-continue",
    `PUT / HTTP/1.1\r\n${host}Content-Length: 9\r\nExpect: 100-Continue\r\n\r\n`,
  ],
];

t.test("a proper request head is read, and asks for more while it is cut", async (t) => {
  for (const [name, text] of good) {
    t.equal(parse(text).kind, "request", name);
    const end = text.indexOf("\r\n\r\n") + 4;
    for (let cut = 0; cut < end; cut += 1) {
      const bytes = Buffer.from(text, "latin1");
      const { kind } = parseRequestHead(bytes, 0, cut);
      if (kind !== "incomplete") t.fail(`${name}, cut at ${cut}, is ${kind}`);
    }
  }
});

t.test("the absolute form is passed on in origin-form", async (t) => {
  const head = parse(`GET http://a.example?x HTTP/1.1\r\n${host}\r\n`);
  t.match(head, { kind: "request", target: "/?x", startLine: "GET /?x HTTP/1.1\r\n" });
});

t.test("hop-by-hop, forwarding and named fields do not travel on", async (t) => {
  const text =
    `${get}${host}A: 1\r\nConnection: close, X-Hop\r\nX-Hop: 2\r\nKeep-Alive: 3\r\nB: 4\r\n` +
    "X-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nX-Forwarded-Proto: https\r\n" +
    "X-Forwarded-Host: evil\r\nTE: trailers\r\nTrailer: x\r\nProxy-Authorization: y\r\n" +
    "Upgrade: websocket\r\nHTTP2-Settings: z\r\nC: 5\r\n\r\n";
  const head = parse(text);
  if (head.kind !== "request") throw new Error("The head was not read.");
  t.equal(keptFields(Buffer.from(text), head), `${host}A: 1\r\nB: 4\r\nC: 5\r\n`);
  t.equal(head.asksClose, true);
  t.equal(head.upgrade, undefined, "an Upgrade that Connection does not name is none");
});

const badAnswers: readonly (readonly [name: string, text: string])[] = [
  [
    "length and chunked",
    "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
  ],
  ["two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n"],
  ["another encoding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"],
  ["another protocol", "SSH-2.0-OpenSSH_9.2\r\n\r\n"],
  ["a status of two digits", "HTTP/1.1 20 OK\r\n\r\n\r\n\r\n"],
  ["a status below 100", "HTTP/1.1 099 OK\r\n\r\n"],
  ["a bare LF", "HTTP/1.1 200 OK\nA: b\r\n\r\n"],
  ["HTTP/2", "HTTP/2.0 200 OK\r\n\r\n"],
];

t.test("an answer that is not proper is a 502", async (t) => {
  for (const [name, text] of badAnswers) {
    const bytes = Buffer.from(text, "latin1");
    t.strictSame(
      parseResponseHead(bytes, 0, bytes.length),
      { kind: "malformed", status: 502 },
      name,
    );
  }
});
