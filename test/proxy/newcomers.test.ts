import t from "tap";
import { Newcomers, sourceOf } from "../../src/proxy/newcomers.ts";

t.test("one source cannot take the places of the others", async (t) => {
  const newcomers = new Newcomers({ max: 5, maxPerSource: 2 });
  const leave = newcomers.enter("10.0.0.1");
  t.ok(newcomers.enter("10.0.0.1"));
  t.equal(newcomers.enter("10.0.0.1"), undefined, "a third of one source");
  t.ok(newcomers.enter("10.0.0.2"));
  leave?.();
  leave?.();
  t.equal(newcomers.count, 2, "a place is freed once");
  t.ok(newcomers.enter("10.0.0.1"));
  t.equal(newcomers.enter("10.0.0.1"), undefined);
  t.ok(newcomers.enter("10.0.0.2"));
  t.ok(newcomers.enter("10.0.0.3"));
  t.equal(newcomers.enter("10.0.0.4"), undefined, "no more in all");
});

t.test("a source is an IPv4 address or an IPv6 network", async (t) => {
  const sources: readonly (readonly [string | undefined, string])[] = [
    ["10.0.0.1", "10.0.0.1"],
    ["::ffff:10.0.0.1", "10.0.0.1"],
    ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2"],
    ["2001:db8:1:2::9", "2001:db8:1:2"],
    ["2001:db8::9", "2001:db8:0:0"],
    ["fe80::1%eth0", "fe80:0:0:0"],
    ["::1", "0:0:0:0"],
    ["::", "0:0:0:0"],
    [undefined, ""],
  ];
  for (const [address, source] of sources) t.equal(sourceOf(address), source, String(address));
});
