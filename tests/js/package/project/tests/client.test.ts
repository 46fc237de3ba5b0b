import { BazisWsClient } from "bazis-ws-channels";
import { expect, it } from "vitest";

import { ServerSocket } from "./server";

it("works in a test environment, from the installed package", () => {
  const WebSocket = ServerSocket as unknown as typeof globalThis.WebSocket;
  const client = new BazisWsClient({ url: "ws://example.test/ws", WebSocket });
  const seen: unknown[] = [];
  client.on("data", (event) => seen.push([event.detail, event.replayed]));
  client.connect();
  ServerSocket.last.accepts();
  ServerSocket.last.says({ type: "data", data: { number: 1 }, replayed: true });
  expect(seen).toEqual([[{ number: 1 }, true]]);
  client.close();
});
