/** A user's program: what it says must hold by the declarations alone. */

import { BazisWsClient, CLOSE_CODES, ERROR_CODES } from "bazis-ws-channels";
import type { DataEvent, EventMap, Position, State, UserId } from "bazis-ws-channels";

type Order = { type: "order"; number: number };

const position: Position = { user: "e.1", common: "c.1" };
const client = new BazisWsClient<Order>({
  url: new URL("wss://example.test/ws"),
  position,
  getToken: async ({ reason, rejected, signal }) => {
    const response = await fetch(`/token?reason=${reason}&again=${rejected !== null}`, { signal });
    return response.ok ? response.text() : null;
  },
});

const numbers: number[] = [];
const stop: () => void = client.on("data", (event: DataEvent<Order>) => {
  if (!event.replayed) numbers.push(event.detail.number);
});
client.on("presence", ({ detail }) => {
  const user: UserId = detail.user;
  console.log(user, detail.is_online, detail.last_seen);
});
client.on("missed", ({ detail }) => console.log(detail.reason === "not_recovered"));
client.on("state", ({ detail }) => {
  const state: State = detail.state;
  if (state === "signed_out" && detail.reason === "no_session") stop();
  if (detail.code === CLOSE_CODES.TOO_MUCH) console.log(detail.retryInMs);
});
client.on("error", ({ detail }) => {
  if (detail.code === ERROR_CODES.SERVER_BUSY) console.log(detail.retry_after);
});
const untyped = new BazisWsClient();
untyped.on("data", (event) => console.log(event.detail.anything.goes));

// @ts-expect-error: no such event
client.on("datas", () => {});
// @ts-expect-error: an order has no colour
client.on("data", (event) => console.log(event.detail.colour));
// @ts-expect-error: getToken gives a string or null
new BazisWsClient({ getToken: async () => undefined });
// @ts-expect-error: the position is the client's own
client.position = position;

export type Events = EventMap<Order>;
client.watch([1, "a"]);
client.connect();
