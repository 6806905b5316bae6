import t from "tap";
import { Balancer, EndpointHealth } from "../../src/proxy/balancer.ts";

type Named = { readonly name: string; readonly health: EndpointHealth };

function endpoints(...names: readonly string[]): readonly Named[] {
  return names.map((name) => ({ name, health: new EndpointHealth() }));
}

function three(): readonly [Named, Named, Named] {
  const [a, b, c] = endpoints("a", "b", "c");
  if (a === undefined || b === undefined || c === undefined) throw new Error("three are made");
  return [a, b, c];
}

function take(balancer: Balancer<Named>, count: number, nowMs: number): string {
  return Array.from({ length: count }, () => balancer.next(nowMs)?.name ?? "-").join("");
}

t.test("goes round all endpoints in turn", async (t) => {
  t.equal(take(new Balancer(endpoints("a", "b", "c"), 1), 7, 0), "bcabcab");
  t.equal(take(new Balancer<Named>([], 0), 1, 0), "-");
});

t.test("passes over an endpoint that refused, and spreads its share evenly", async (t) => {
  const [a, b, c] = three();
  const balancer = new Balancer([a, b, c], 0);
  b.health.failed(0);
  t.equal(take(balancer, 6, 100), "acacac");
});

t.test("probes it once per pause, and lets it back in when that succeeds", async (t) => {
  const [a, b] = three();
  const balancer = new Balancer([a, b], 0);
  a.health.failed(0);
  t.equal(take(balancer, 3, 260), "abb", "one probe after 250 ms");
  t.equal(take(balancer, 2, 300), "bb", "and no second one meanwhile");
  a.health.succeeded();
  t.equal(take(balancer, 4, 310), "abab");
});

t.test("pauses grow from 250 ms to 5 s", async (t) => {
  const health = new EndpointHealth();
  const pauses = Array.from({ length: 7 }, () => {
    health.failed(1000);
    return health.skipUntilMs - 1000;
  });
  t.strictSame(pauses, [250, 500, 1000, 2000, 4000, 5000, 5000]);
});

t.test("a retry goes where the request has not been yet", async (t) => {
  const all = endpoints("a", "b", "c");
  const balancer = new Balancer(all, 0);
  const tried = new Set<Named>();
  const order = all.map(() => {
    const next = balancer.next(0, tried);
    if (next !== undefined) tried.add(next);
    return next?.name;
  });
  t.strictSame(order.toSorted(), ["a", "b", "c"]);
  t.equal(balancer.next(0, tried), undefined);
});

t.test("when all are ejected, the one that is free first is the last chance", async (t) => {
  const [a, b] = three();
  a.health.failed(0);
  a.health.failed(0);
  b.health.failed(0);
  t.equal(new Balancer([a, b], 0).next(10)?.name, "b");
});

t.test("keeps its turn when the endpoints change", async (t) => {
  const balancer = new Balancer(endpoints("a", "b", "c"), 0);
  t.equal(take(balancer, 2, 0), "ab");
  balancer.replace(endpoints("x", "y"));
  t.equal(take(balancer, 4, 0), "xyxy");
});
