import t from "tap";
import { HostRouter } from "../../src/proxy/host-router.ts";

const router = new HostRouter(
  ["a.example/", "a.example/api", "a.example/api/v2/", "*.b.example/", "x.b.example/only"].map(
    (value) => {
      const slash = value.indexOf("/");
      return { host: value.slice(0, slash), path: value.slice(slash), value };
    },
  ),
);

const cases: readonly (readonly [host: string, target: string, expected: string | undefined])[] = [
  ["a.example", "/", "a.example/"],
  ["A.Example:8080", "/x?y=/api", "a.example/"],
  ["a.example.", "/api", "a.example/api"],
  ["a.example", "/api?x", "a.example/api"],
  ["a.example", "/api/", "a.example/api"],
  ["a.example", "/apis", "a.example/"],
  ["a.example", "/api/v2/z", "a.example/api/v2/"],
  ["one.b.example", "/", "*.b.example/"],
  ["one.two.b.example", "/", undefined],
  ["b.example", "/", undefined],
  ["x.b.example", "/only/this", "x.b.example/only"],
  ["x.b.example", "/else", "*.b.example/"],
  ["[::1]:80", "/", undefined],
  ["", "/", undefined],
];

t.test("an exact host before a wildcard of one label, the longest path by segments", async (t) => {
  for (const [host, target, expected] of cases) {
    t.equal(router.find(host, target), expected, `${host}${target}`);
  }
});
