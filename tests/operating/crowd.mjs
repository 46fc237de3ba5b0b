/**
 * Many tabs in one process: each is the package's own client.js, and says on standard output what
 * happens to it, one JSON array a line: [client, milliseconds, what, ...].
 *
 * Started with --experimental-websocket, which gives Node 20 the WebSocket of browsers. The
 * argument is a file with [{url, token, watch}, ...]. It ends with standard input.
 */

import { readFileSync } from "node:fs";
import { BazisWsClient } from "../../bazis_ws_channels/static/bazis_ws_channels/client.js";

const clients = JSON.parse(readFileSync(process.argv[2], "utf8")).map(({ url, token, watch }, number) => {
  const client = new BazisWsClient({ url, getToken: () => token });
  const say = (...what) => process.stdout.write(`${JSON.stringify([number, performance.now(), ...what])}\n`);
  client.on("state", ({ detail }) => say("state", detail.state, detail.code));
  client.on("message", ({ detail: { type, data, position, replayed } }) => {
    if (type === "data") say("data", Object.keys(position)[0], data, replayed === true);
  });
  client.on("subscribed", ({ detail }) => say("subscribed", detail.recovered));
  client.on("missed", ({ detail }) => say("missed", detail.reason));
  client.on("error", ({ detail }) => say("error", detail.code));
  client.on("presence", ({ detail }) => say("presence", detail.user, detail.is_online));
  client.watch(watch);
  client.connect();
  return client;
});

process.stdin.resume().on("end", () => {
  for (const client of clients) client.close();
});
