/** The edge of the browser, faked: sockets, the clock, the network's and the page's events. */

import { mock } from "node:test";

import { BazisWsClient } from "../../bazis_ws_channels/static/bazis_ws_channels/client.js";

const EVENTS = ["data", "presence", "subscribed", "missed", "error", "message", "state"];

/** One side of a connection; the test plays the server. */
export class FakeSocket {
  static all = [];
  static answersPings = false;

  constructor(url, protocols) {
    Object.assign(this, { url, protocols, readyState: 0, sent: [], closedWith: null });
    FakeSocket.all.push(this);
  }

  send(text) {
    if (this.readyState !== 1) throw new Error("send on a socket that is not open");
    const message = JSON.parse(text);
    if (message.type === "ping" && FakeSocket.answersPings) {
      queueMicrotask(() => this.serverSends({ type: "pong" }));
    } else {
      this.sent.push(message);
    }
  }

  close(code) {
    this.closedWith = code;
    this.readyState = 2; // a dead link never says more
  }

  serverOpens() {
    this.readyState = 1;
    this.onopen?.({});
  }

  serverSends(message) {
    const text = typeof message === "string" ? message : JSON.stringify(message);
    this.onmessage?.({ data: text });
  }

  serverCloses(code, reason = "") {
    this.readyState = 3;
    this.onclose?.({ code, reason });
  }

  /** `more`: what replay adds (position, recovered, replayed). */
  serverSubscribes(user = 1, expires_in = null, more = {}) {
    if (this.readyState === 0) this.serverOpens();
    this.serverSends({ type: "subscribed", user, expires_in, ...more });
  }
}

/** A page with one client; `world.advance()` is the only way that time passes. */
export class World {
  constructor() {
    mock.timers.enable({ apis: ["setTimeout", "Date"], now: 1_000_000 });
    const { setTimeout } = globalThis;
    globalThis.setTimeout = (callback, ms) => setTimeout(callback, ms > 2 ** 31 - 1 ? 1 : ms);
    this.random = mock.method(Math, "random", () => 0.5);
    Object.assign(FakeSocket, { all: [], answersPings: false });
    this.page = new EventTarget();
    this.onLine = true;
    const world = this;
    const navigator = {
      get onLine() {
        return world.onLine;
      },
    };
    this.document = Object.assign(new EventTarget(), { visibilityState: "visible" });
    const globals = {
      addEventListener: this.page.addEventListener.bind(this.page),
      document: this.document,
      location: new URL("https://example.test/chat/"),
      navigator,
    };
    this.saved = {};
    for (const [name, value] of Object.entries(globals)) {
      this.saved[name] = Object.getOwnPropertyDescriptor(globalThis, name);
      Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
    }
  }

  end() {
    this.client?.close();
    mock.restoreAll();
    mock.timers.reset();
    for (const [name, descriptor] of Object.entries(this.saved)) {
      if (descriptor) Object.defineProperty(globalThis, name, descriptor);
      else delete globalThis[name];
    }
  }

  /** Make the client, and note what it tells. */
  makeClient(options = {}) {
    this.events = [];
    this.asked = [];
    if (Array.isArray(options.getToken)) options = { ...options, getToken: this.tokens(options) };
    this.client = new BazisWsClient({ WebSocket: FakeSocket, ...options });
    for (const type of EVENTS) {
      this.client.on(type, ({ detail }) => this.events.push([type, detail]));
    }
    return this.client;
  }

  /** A getToken that gives these one after another (an Error: throws), then the last again. */
  tokens({ getToken: answers }) {
    let next = 0;
    return async (request) => {
      this.asked.push({ reason: request.reason, rejected: request.rejected });
      const answer = answers[Math.min(next++, answers.length - 1)];
      if (answer instanceof Error) throw answer;
      return answer;
    };
  }

  /** Connect and let the server accept. */
  async live(options = {}, user = 1, expiresIn = null) {
    this.makeClient({ getToken: ["t1"], ...options }).connect();
    await this.flush();
    this.socket.serverSubscribes(user, expiresIn);
    return this.socket;
  }

  get socket() {
    return FakeSocket.all.at(-1);
  }

  get sockets() {
    return FakeSocket.all.length;
  }

  told(type) {
    return this.events.filter(([each]) => each === type).map(([, detail]) => detail);
  }

  /** Lose the link, and let the wait for the next one pass. */
  async reconnect(code = 1006) {
    this.socket.serverCloses(code);
    await this.advance(this.lastState.retryInMs + 50);
    return this.socket;
  }

  get lastState() {
    return this.told("state").at(-1);
  }

  flush() {
    return new Promise((resolve) => setImmediate(resolve));
  }

  /** Let time pass, in steps small enough for what awaits between two timers. */
  async advance(ms, step = 50) {
    for (let left = ms; left > 0; left -= step) {
      mock.timers.tick(Math.min(step, left));
      await this.flush();
    }
    await this.flush();
  }
}
