import t from "tap";
import { Cell, whenCell } from "../../src/kernel/index.ts";

t.test("Cell", async (t) => {
  t.test("tells its subscribers of a change, and not of the same value again", async (t) => {
    const cell = new Cell(1);
    let told = 0;
    cell.subscribe(() => {
      told += 1;
    });
    cell.set(2);
    cell.set(2);
    t.equal(told, 1);
  });

  t.test("whenCell resolves with the first value that fits", async (t) => {
    const cell = new Cell(1);
    const waiting = whenCell(cell, (value) => value > 2, {
      signal: t.context.signal ?? new AbortController().signal,
    });
    cell.set(2);
    cell.set(3);
    t.equal(await waiting, 3);
  });

  t.test("whenCell rejects when the signal aborts", async (t) => {
    const controller = new AbortController();
    const waiting = whenCell(new Cell(1), () => false, { signal: controller.signal });
    controller.abort(new Error("enough"));
    await t.rejects(waiting, { message: "enough" });
  });
});
