import t from "tap";
import { DialSlots } from "../../src/network/dial-slots.ts";

/** Dials that have begun, by name, and how each ends. */
class Dials {
  readonly slots = new DialSlots();
  readonly begun = new Map<string, () => void>();

  /** Gives what hurries it. */
  add(name: string, isDoubtful: boolean): () => void {
    const { begun, hurry } = this.slots.enter(isDoubtful);
    void begun.then((leave) => this.begun.set(name, leave));
    return hurry;
  }

  async names(): Promise<string> {
    await new Promise(setImmediate);
    return [...this.begun.keys()].join(" ");
  }

  end(name: string): void {
    this.begun.get(name)?.();
    this.begun.delete(name);
  }
}

t.test("some dials begin at a time, the next when one ends, in the order of asking", async (t) => {
  const dials = new Dials();
  for (const name of ["a", "b", "c", "d", "e", "f"]) dials.add(name, false);
  t.equal(await dials.names(), "a b c d");
  dials.end("b");
  t.equal(await dials.names(), "a c d e");
  for (const name of ["a", "c", "d", "e"]) dials.end(name);
  t.equal(await dials.names(), "f");
});

t.test("nodes that are gone do not keep others waiting", async (t) => {
  const dials = new Dials();
  for (const name of ["gone1", "gone2", "gone3", "gone4"]) dials.add(name, true);
  dials.add("a", false);
  dials.add("b", false);
  t.equal(await dials.names(), "gone1 gone2 a b");
  dials.end("a");
  t.equal(await dials.names(), "gone1 gone2 b", "the place is kept for others");
  dials.add("c", false);
  t.equal(await dials.names(), "gone1 gone2 b c");
  dials.end("gone1");
  t.equal(await dials.names(), "gone2 b c gone3");
});

t.test("all that is free goes to whom nothing is held against", async (t) => {
  const dials = new Dials();
  for (const name of ["a", "b", "c", "d"]) dials.add(name, false);
  dials.add("gone", true);
  t.equal(await dials.names(), "a b c d");
  dials.end("a");
  t.equal(await dials.names(), "b c d gone");
});

t.test(
  "what somebody waits for begins with the next end, and no more than every second time",
  async (t) => {
    const dials = new Dials();
    for (const name of ["a", "b", "c", "d", "e", "f"]) dials.add(name, false);
    for (const name of ["needed1", "needed2"]) dials.add(name, false)();
    t.equal(await dials.names(), "a b c d");
    dials.end("a");
    t.equal(await dials.names(), "b c d needed1");
    dials.end("b");
    t.equal(await dials.names(), "c d needed1 e");
    dials.end("c");
    t.equal(await dials.names(), "d needed1 e needed2");
    dials.end("d");
    t.equal(await dials.names(), "needed1 e needed2 f");
  },
);

t.test("a needed one that is in doubt does not pass the bound of those in doubt", async (t) => {
  const dials = new Dials();
  for (const name of ["gone1", "gone2", "gone3"]) dials.add(name, true);
  dials.add("needed", true)();
  dials.add("a", false);
  t.equal(await dials.names(), "gone1 gone2 a");
  dials.end("gone1");
  t.equal(await dials.names(), "gone2 a needed");
  dials.end("gone2");
  t.equal(await dials.names(), "a needed gone3");
});
