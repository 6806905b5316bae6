import t from "tap";
import { IntentWatch, type ToldIntent } from "../../src/daemon/intent-events.ts";
import { Cell, serviceKey } from "../../src/kernel/index.ts";

const intent = (number: number, refusal?: string): ToldIntent => ({
  number,
  change: "scale shop/web=5",
  services: [serviceKey("shop", "web")],
  refusal,
});

t.test("what becomes of queued changes is told, once each", async (t) => {
  const intents = new Cell<readonly ToldIntent[]>([intent(1)]);
  const told: string[] = [];
  const note = ({ reason, message }: { readonly reason: string; readonly message: string }) =>
    told.push(`${reason}: ${message}`);
  using watch = new IntentWatch({ intents, node: () => "n1", note });
  intents.set([intent(1), intent(2)]);
  intents.set([intent(1), intent(2), intent(3)]);
  intents.set([intent(2), intent(3)]);
  intents.set([intent(2, "It has changed since."), intent(3)]);
  intents.set([intent(2, "It has changed since."), intent(3)]);
  watch.cancelling(2);
  intents.set([intent(3)]);
  watch.cancelling(3)();
  intents.set([]);
  t.strictSame(told, [
    "IntentQueued: Queued change 2 (scale shop/web=5) waits here for a quorum.",
    "IntentQueued: Queued change 3 (scale shop/web=5) waits here for a quorum.",
    "IntentAgreed: Queued change 1 (scale shop/web=5) was agreed.",
    "IntentRefused: Queued change 2 (scale shop/web=5) was not made: It has changed since.",
    "IntentCancelled: Queued change 2 (scale shop/web=5) was taken back.",
    "IntentAgreed: Queued change 3 (scale shop/web=5) was agreed.",
  ]);
});
