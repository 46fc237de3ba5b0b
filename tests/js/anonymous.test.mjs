/** Visitors who are not signed in: their token, and sessions without a user. */

import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, it } from "node:test";

import { anonymousToken } from "../../bazis_ws_channels/static/bazis_ws_channels/client.js";
import { World } from "./fakes.mjs";

describe("anonymousToken", () => {
  let saved;
  const tab = () => {
    const kept = new Map();
    return {
      getItem: (key) => kept.get(key) ?? null,
      setItem: (key, value) => void kept.set(key, String(value)),
    };
  };
  const setStorage = (descriptor) =>
    Object.defineProperty(globalThis, "sessionStorage", { ...descriptor, configurable: true });

  beforeEach(() => {
    saved = Object.getOwnPropertyDescriptor(globalThis, "sessionStorage");
    setStorage({ value: tab() });
  });
  afterEach(() => {
    if (saved) Object.defineProperty(globalThis, "sessionStorage", saved);
    else delete globalThis.sessionStorage;
  });

  it("is random, and of the letters that the server takes", () => {
    const tokens = new Set();
    for (let n = 0; n < 100; n++) {
      setStorage({ value: tab() });
      tokens.add(anonymousToken());
    }
    assert.equal(tokens.size, 100);
    for (const token of tokens) assert.match(token, /^[0-9a-f]{32}$/);
  });

  it("stays the same in its tab, and is another in the next", () => {
    const first = anonymousToken();
    assert.equal(anonymousToken(), first);
    setStorage({ value: tab() });
    assert.notEqual(anonymousToken(), first);
  });

  it("is never one that pages share because they have no storage", () => {
    setStorage({
      get() {
        throw new DOMException("no storage here", "SecurityError");
      },
    });
    assert.throws(anonymousToken, /no storage here/);
    setStorage({ value: undefined });
    assert.throws(anonymousToken, TypeError);
  });
});

describe("a session without a user", () => {
  /** @type {World} */
  let world;
  beforeEach(() => {
    world = new World();
  });
  afterEach(() => world.end());
  const visitor = "0123456789abcdef0123456789abcdef";
  const options = { getToken: [visitor] };

  it("is a session", async () => {
    const socket = await world.live(options, null);
    assert.deepEqual(socket.protocols, ["bazis-ws", visitor]);
    assert.equal(world.client.state, "live");
    assert.equal(world.client.user, null);
    socket.serverSends({ type: "data", data: { step: 1 } });
    assert.deepEqual(world.told("data"), [{ step: 1 }]);
  });

  it("comes back with the same token, and resumes the broadcasts alone", async () => {
    const socket = await world.live(options, null);
    socket.serverSends({ type: "data", data: 1, position: { common: "1.aaaaaaaa" } });
    const again = await world.reconnect();
    assert.equal(again.url, "wss://example.test/ws?since=~1.aaaaaaaa");
    assert.deepEqual(again.protocols, ["bazis-ws", visitor]);
    const more = { position: { common: "1.aaaaaaaa" }, recovered: true, replayed: 0 };
    again.serverSubscribes(null, null, more);
    assert.deepEqual(world.told("missed"), []);
    assert.equal(world.asked.length, 1);
  });

  it("sends no watch, and what is watched is sent once somebody signs in", async () => {
    const socket = await world.live({ getToken: [visitor, "a.b.c"] }, null);
    world.client.watch([1, 2]);
    world.client.unwatch([2]);
    assert.deepEqual(socket.sent, []);
    world.client.renew();
    await world.flush();
    assert.deepEqual(socket.sent, [{ token: "a.b.c" }]);
    socket.serverSubscribes(7, 60);
    assert.deepEqual(socket.sent.slice(1), [{ type: "watch", users: [1] }]);
    assert.equal(world.client.user, 7);
    assert.deepEqual(world.told("missed"), []);
  });

  it("is another one with another token", async () => {
    const other = visitor.replace("0", "f");
    const socket = await world.live({ getToken: [visitor, other] }, null);
    socket.serverSends({ type: "data", data: 1, position: { common: "1.aaaaaaaa" } });
    world.client.renew();
    await world.flush();
    assert.deepEqual(socket.sent, [{ token: other }]);
    const more = { position: { common: "3.cccccccc" }, recovered: null, replayed: 0 };
    socket.serverSubscribes(null, null, more);
    assert.deepEqual(world.told("missed"), [{ reason: "not_resumed" }]);
    assert.deepEqual(world.client.position, { common: "3.cccccccc" });
    assert.equal(world.client.state, "live");
  });

  it("follows a user who signs out", async () => {
    const socket = await world.live({ getToken: ["a.b.c", visitor] }, 7);
    world.client.watch([1]);
    socket.serverSends({ type: "error", code: "logged_out", detail: "" });
    await world.reconnect(4401);
    assert.deepEqual(world.asked.at(-1), { reason: "rejected", rejected: "a.b.c" });
    world.socket.serverSubscribes(null);
    assert.deepEqual(world.socket.sent, []);
    assert.equal(world.client.user, null);
    assert.equal(world.client.state, "live");
  });

  it("is no session where the server allows none", async () => {
    world.makeClient(options).connect();
    await world.flush();
    world.socket.serverOpens();
    world.socket.serverSends({ type: "error", code: "invalid_token", detail: "" });
    await world.flush();
    assert.deepEqual([world.client.state, world.lastState.reason], [
      "signed_out",
      "token_rejected",
    ]);
  });
});
