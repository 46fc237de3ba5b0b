/** The pill that says how the connection is, and whether presence can be known. */

import { byId } from "./dom.js";

const HEALTH_MS = 5_000;
const WORDS = {
  idle: "Not connected",
  connecting: "Connecting…",
  live: "Live",
  waiting: "Connection lost",
  signed_out: "Signed out",
  stopped: "Refused by the server",
  closed: "Signed out",
};

/**
 * While Redis hangs the socket stays open, but nobody knows who is online. The package's health
 * view tells within a second.
 */
async function redisAnswers() {
  try {
    const response = await fetch("/health/", { cache: "no-store" }); // 200 or 503
    return (await response.json()).redis !== false;
  } catch {
    return true; // a server that is gone shows in the connection's state
  }
}

/** Tells in event `known` whether presence `isKnown`. */
export class Connection extends EventTarget {
  #client;
  #ticking = 0;
  #asking = 0;
  #isKnown = true;

  /** @param {import("../bazis_ws_channels/client.js").BazisWsClient} client */
  constructor(client) {
    super();
    this.#client = client;
    client.on("state", ({ detail }) => this.#change(detail));
    byId("retry").onclick = () => client.connect();
    this.#asking = setInterval(() => this.#ask(), HEALTH_MS);
  }

  /** Ask once before there is a connection. */
  async load() {
    this.#know(await redisAnswers());
  }

  get isKnown() {
    return this.#isKnown;
  }

  end() {
    clearInterval(this.#ticking);
    clearInterval(this.#asking);
    byId("connection").hidden = true;
    byId("connection-live").textContent = "";
  }

  /** @param {import("../bazis_ws_channels/client.js").StateDetail} detail */
  #change({ state, retryInMs }) {
    byId("desk").dataset.live = String(state === "live");
    byId("retry").hidden = state !== "waiting";
    if (state === "live") this.#ask();
    this.#know(state === "live" || (state === "connecting" && this.#isKnown));
    this.#show();
    clearInterval(this.#ticking);
    if (state === "waiting") this.#countDown(performance.now() + (retryInMs ?? 0));
  }

  async #ask() {
    if (this.#client.state !== "live" || document.hidden) return;
    const answers = await redisAnswers();
    if (this.#client.state === "live") this.#know(answers);
  }

  /** @param {boolean} isKnown */
  #know(isKnown) {
    if (isKnown === this.#isKnown) return;
    this.#isKnown = isKnown;
    this.#show();
    this.dispatchEvent(new Event("known"));
  }

  #show() {
    const { state } = this.#client;
    const isUnknown = state === "live" && !this.#isKnown;
    const words = isUnknown ? "Live, presence unknown" : WORDS[state];
    byId("connection").hidden = false;
    byId("connection").dataset.state = isUnknown ? "unknown" : state;
    byId("connection-text").textContent = words;
    // A screen reader hears of changes, not of every second.
    if (byId("connection-live").textContent !== words) byId("connection-live").textContent = words;
  }

  /** @param {number} until */
  #countDown(until) {
    const tick = () => {
      const seconds = Math.max(0, Math.ceil((until - performance.now()) / 1000));
      byId("connection-text").textContent = `Connection lost, retrying in ${seconds} s`;
    };
    tick();
    this.#ticking = setInterval(tick, 250);
  }
}
