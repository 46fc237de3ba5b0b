/** The pill that says how the connection is. */

import { byId } from "./dom.js";

const WORDS = {
  idle: "Not connected",
  connecting: "Connecting…",
  live: "Live",
  waiting: "Connection lost",
  signed_out: "Signed out",
  stopped: "Refused by the server",
  closed: "Signed out",
};

/** @param {import("../bazis_ws_channels/client.js").BazisWsClient} client */
export function showConnection(client) {
  const pill = byId("connection");
  const text = byId("connection-text");
  const retry = byId("retry");
  let ticking = 0;

  const show = ({ state, retryInMs }) => {
    clearInterval(ticking);
    pill.hidden = false;
    pill.dataset.state = state;
    text.textContent = WORDS[state];
    retry.hidden = state !== "waiting";
    // A screen reader hears of changes, not of every second.
    const words = WORDS[state];
    if (byId("connection-live").textContent !== words) byId("connection-live").textContent = words;
    if (state !== "waiting") return;
    const until = performance.now() + retryInMs;
    const tick = () => {
      const seconds = Math.max(0, Math.ceil((until - performance.now()) / 1000));
      text.textContent = `Connection lost, retrying in ${seconds} s`;
    };
    tick();
    ticking = setInterval(tick, 250);
  };

  client.on("state", (event) => show(event.detail));
  retry.onclick = () => client.connect();
}
