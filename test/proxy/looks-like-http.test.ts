import t from "tap";
import { looksLikeHttp } from "../../src/proxy/io/published-port.ts";

t.test("the first octets of a connection tell HTTP from the rest", (t) => {
  const cases: readonly (readonly [string, boolean])[] = [
    ["GET / HTTP/1.1\r\n", true],
    ["PROPFIND /dav HTTP/1.1\r\n", true],
    ["G", true],
    ["POS", true],
    ["\r\n\r\nGET / HTTP/1.1", true],
    ["\r\n", true],
    ["GETTING STARTED", false],
    ["PRI * HTTP/2.0\r\n\r\n", false],
    ["SSH-2.0-OpenSSH", false],
    ["*1\r\n$4\r\nPING\r\n", false],
    ["\x16\x03\x01\x02", false],
    ["\x00\x00\x00\x08", false],
    ["get / http/1.1", false],
    ["", false],
  ];
  for (const [text, wanted] of cases) {
    t.equal(looksLikeHttp(Buffer.from(text, "latin1")), wanted, JSON.stringify(text));
  }
  t.end();
});
