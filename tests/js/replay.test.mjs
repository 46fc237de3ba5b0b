import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, it } from "node:test";

import { World } from "./fakes.mjs";

/** @type {World} */
let world;
beforeEach(() => {
  world = new World();
});
afterEach(() => world.end());

const error = (code, more = {}) => ({ type: "error", code, detail: code, ...more });
const at = (user, common) => ({ user, common });
const START = at("e.1", "c.1");

/** A live client whose server records: the session begins at `START`. */
async function recorded(options = {}) {
  const socket = await world.live(options);
  socket.serverSubscribes(1, null, { position: START, recovered: null, replayed: 0 });
  return socket;
}

const sinceOf = (socket) => new URL(socket.url).search;
const data = (value, position, more = {}) => ({ type: "data", data: value, position, ...more });

describe("the position", () => {
  it("is what the server said last, stream by stream", async () => {
    const socket = await recorded();
    assert.deepEqual(world.client.position, START);
    socket.serverSends(data("a", { user: "e.2" }));
    assert.deepEqual(world.client.position, at("e.2", "c.1"));
    socket.serverSends(data("b", { common: "c.2" }));
    assert.deepEqual(world.client.position, at("e.2", "c.2"));
    socket.serverSends({ type: "of_the_future", position: { user: "e.3" } });
    assert.deepEqual(world.client.position, at("e.3", "c.2"));
  });

  it("moves after the listeners have run", async () => {
    const socket = await recorded();
    const seen = [];
    for (const type of ["data", "message"]) {
      world.client.on(type, () => seen.push(world.client.position.user));
    }
    socket.serverSends(data("a", { user: "e.2" }));
    assert.deepEqual(seen, ["e.1", "e.1"]);
    assert.equal(world.client.position.user, "e.2");
  });

  it("has moved before a listener can reconnect", async () => {
    const socket = await recorded({ getToken: undefined });
    world.client.on("data", () => {
      socket.serverCloses(1006);
      world.client.connect();
    });
    socket.serverSends(data("a", { user: "e.2" }));
    assert.equal(world.sockets, 2);
    assert.equal(sinceOf(world.socket), "?since=e.2~c.1");
    assert.deepEqual(world.client.position, at("e.2", "c.1"));
  });

  it("ignores what is no position", async () => {
    const socket = await recorded();
    const bad = [null, 5, "e.9~c.9", [], {}, { user: 7 }, { user: "" }, { common: "a b" }];
    bad.push({ user: "x".repeat(65) }, { user: "é" }, { user: { a: 1 } });
    for (const position of bad) socket.serverSends(data("a", position));
    assert.deepEqual(world.client.position, START);
    assert.equal(world.told("data").length, bad.length);
    const inherited = '{"__proto__": {"user": "e.9"}, "other": "x"}';
    socket.serverSends(`{"type": "data", "data": 1, "position": ${inherited}}`);
    assert.deepEqual(world.client.position, START);
  });

  it("can't be changed from outside", async () => {
    await recorded();
    const position = world.client.position;
    assert.throws(() => Object.assign(position, { user: "e.9" }), TypeError);
    assert.deepEqual(world.client.position, START);
  });
});

describe("resuming", () => {
  it("sends the position in the URL beside a token in the subprotocol", async () => {
    const socket = await recorded();
    socket.serverSends(data("a", { user: "e.2" }));
    await world.reconnect();
    assert.equal(world.socket.url, "wss://example.test/ws?since=e.2~c.1");
    assert.deepEqual(world.socket.protocols, ["bazis-ws", "t1"]);
  });

  it("sends it in the URL for a Django session, behind the URL's own query", async () => {
    await recorded({ getToken: undefined, url: "/ws?room=5" });
    await world.reconnect();
    assert.equal(world.socket.url, "wss://example.test/ws?room=5&since=e.1~c.1");
  });

  it("sends it with a token that only a message can carry", async () => {
    world.makeClient({ getToken: ["opaque token=="] }).connect();
    await world.flush();
    world.socket.serverSubscribes(1, null, { position: START, recovered: null });
    assert.deepEqual(world.socket.sent, [{ token: "opaque token==" }]);
    await world.reconnect();
    assert.equal(world.socket.url, "wss://example.test/ws");
    world.socket.serverOpens();
    assert.deepEqual(world.socket.sent, [{ token: "opaque token==", since: START }]);
  });

  it("sends it with the token that follows an expired one on the same socket", async () => {
    const socket = await recorded({ getToken: ["t1", "t2"] });
    socket.serverSends(error("expired_token"));
    await world.flush();
    assert.deepEqual(socket.sent, [{ token: "t2", since: START }]);
    socket.serverSubscribes(1, null, { position: START, recovered: true, replayed: 0 });
    assert.deepEqual(world.told("missed"), []);
  });

  it("does not send it when renewing: nothing is lost then", async () => {
    const socket = await recorded({ getToken: ["t1", "t2"] });
    world.client.renew();
    await world.flush();
    assert.deepEqual(socket.sent, [{ token: "t2" }]);
    socket.serverSubscribes(1, 60, { position: at("e.5", "c.5"), recovered: null });
    assert.deepEqual(world.told("missed"), []);
    assert.deepEqual(world.client.position, at("e.5", "c.5"));
  });

  it("marks what is replayed, and goes on from the middle of a replay", async () => {
    await recorded();
    const marks = [];
    world.client.on("data", (event) => marks.push([event.detail, event.replayed]));
    await world.reconnect();
    world.socket.serverSubscribes(1, null, { position: START, recovered: true, replayed: 2 });
    world.socket.serverSends(data("a", { user: "e.2" }, { replayed: true }));
    await world.reconnect();
    assert.equal(sinceOf(world.socket), "?since=e.2~c.1");
    const resumed = { position: at("e.2", "c.1"), recovered: true, replayed: 1 };
    world.socket.serverSubscribes(1, null, resumed);
    world.socket.serverSends(data("b", { user: "e.3" }, { replayed: true }));
    world.socket.serverSends(data("c", { user: "e.4" }));
    assert.deepEqual(marks, [["a", true], ["b", true], ["c", false]]);
    assert.deepEqual(world.told("missed"), []);
  });

  it("gives nothing of a session that has ended, and nothing of it to the next", async () => {
    const socket = await recorded({ getToken: ["t1", "t2"] });
    socket.serverSends(error("expired_token"));
    socket.serverSends(data("late", { user: "e.9" }, { replayed: true }));
    await world.flush();
    assert.deepEqual(socket.sent, [{ token: "t2", since: START }]);
    socket.serverSubscribes(2, null, { position: at("x.1", "c.1"), recovered: false });
    assert.deepEqual(world.told("data"), []);
    assert.deepEqual(world.client.position, at("x.1", "c.1"));
  });

  it("works as ever with a server that knows no positions", async () => {
    await world.live();
    for (const more of [{}, { recovered: null, replayed: 0 }, { recovered: null }]) {
      world.socket.serverSends(data("a", undefined));
      await world.reconnect();
      assert.equal(sinceOf(world.socket), "");
      world.socket.serverSubscribes(1, null, more);
    }
    assert.deepEqual(world.told("missed"), []);
    assert.equal(world.client.position, null);
  });
});

describe("missed", () => {
  it("is told once when the server could not replay", async () => {
    await recorded();
    await world.reconnect();
    const fresh = at("f.1", "c.9");
    world.socket.serverSubscribes(1, null, { position: fresh, recovered: false, replayed: 0 });
    assert.deepEqual(world.told("missed"), [{ reason: "not_recovered" }]);
    assert.deepEqual(world.client.position, fresh);
    await world.reconnect();
    assert.equal(sinceOf(world.socket), "?since=f.1~c.9");
    world.socket.serverSubscribes(1, null, { position: fresh, recovered: true, replayed: 0 });
    assert.equal(world.told("missed").length, 1);
  });

  it("is told in the live session that follows, after `subscribed`", async () => {
    await recorded();
    await world.reconnect();
    const before = world.events.length;
    world.client.on("missed", () => assert.equal(world.client.state, "live"));
    world.socket.serverSubscribes(1, null, { position: START, recovered: false });
    const order = world.events.slice(before).map(([type]) => type);
    assert.deepEqual(order, ["state", "subscribed", "missed", "message"]);
  });

  it("is told once when a live connection lost messages", async () => {
    const socket = await recorded();
    socket.serverSends({ type: "missed", position: at("g.1", "h.1") });
    assert.deepEqual(world.told("missed"), [{ reason: "lost" }]);
    assert.deepEqual(world.client.position, at("g.1", "h.1"));
  });

  it("is told when a server that records no more can't answer for the gap", async () => {
    await recorded();
    await world.reconnect();
    world.socket.serverSubscribes(1, null, { recovered: null });
    assert.deepEqual(world.told("missed"), [{ reason: "not_resumed" }]);
    await world.reconnect();
    assert.equal(sinceOf(world.socket), "");
    world.socket.serverSubscribes(1);
    assert.equal(world.told("missed").length, 1);
  });

  it("is told when a renewal crossed the end of the session", async () => {
    const socket = await recorded({ getToken: ["t1", "t2"] });
    world.client.renew();
    await world.flush();
    socket.serverSends(error("expired_token")); // t1's, which crossed t2
    socket.serverSubscribes(1, 60, { position: at("e.4", "c.4"), recovered: null });
    assert.deepEqual(world.told("missed"), [{ reason: "not_resumed" }]);
    assert.deepEqual(world.client.position, at("e.4", "c.4"));
  });

  it("survives a listener that closes the client", async () => {
    await recorded();
    await world.reconnect();
    world.client.on("missed", () => world.client.close());
    world.socket.serverSubscribes(1, null, { position: START, recovered: false });
    assert.equal(world.events.at(-1)[0], "state");
    assert.equal(world.client.state, "closed");
  });
});

describe("the position is dropped", () => {
  it("when the user changes", async () => {
    const socket = await recorded({ getToken: ["t1", "t2"] });
    world.client.renew();
    await world.flush();
    socket.serverSubscribes(2, null, { position: { user: "x.1" }, recovered: null });
    assert.deepEqual(world.client.position, { user: "x.1" });
    assert.deepEqual(world.told("missed"), []);
  });

  it("when the client signs out", async () => {
    await recorded({ getToken: ["t1", null, "t2"] });
    world.client.renew();
    await world.flush();
    assert.equal(world.client.state, "signed_out");
    assert.equal(world.client.position, null);
    world.client.connect();
    await world.flush();
    assert.equal(sinceOf(world.socket), "");
    world.socket.serverSubscribes(1, null, { position: at("e.7", "c.7"), recovered: null });
    assert.deepEqual(world.told("missed"), []);
  });

  it("when the server logs the user out; the gap until the next session is told", async () => {
    const socket = await recorded({ getToken: ["t1", "t2"] });
    socket.serverSends(error("logged_out", { position: { user: "e.8" } }));
    assert.equal(world.client.position, null);
    socket.serverSends(data("late", { user: "e.9" }));
    assert.deepEqual(world.told("data"), []);
    assert.equal(world.client.position, null);
    await world.reconnect(4401);
    assert.equal(sinceOf(world.socket), "");
    world.socket.serverSubscribes(1, null, { position: at("e.9", "c.9"), recovered: null });
    assert.deepEqual(world.told("missed"), [{ reason: "not_resumed" }]);
  });

  it("but kept over a loss of any other kind", async () => {
    await recorded({ getToken: ["t1", "t2", "t3"] });
    for (const code of [1001, 1006, 4500, 4503]) {
      await world.reconnect(code);
      assert.equal(sinceOf(world.socket), "?since=e.1~c.1", String(code));
      world.socket.serverSubscribes(1, null, { position: START, recovered: true });
    }
  });
});

describe("the option `position`", () => {
  it("joins the first session to the state that the page was loaded with", async () => {
    world.makeClient({ getToken: ["t1"], position: START }).connect();
    await world.flush();
    assert.equal(sinceOf(world.socket), "?since=e.1~c.1");
    world.socket.serverSubscribes(1, null, { position: START, recovered: true, replayed: 1 });
    world.socket.serverSends(data("a", { user: "e.2" }, { replayed: true }));
    assert.deepEqual(world.told("data"), ["a"]);
    assert.deepEqual(world.told("missed"), []);
  });

  it("that is too old is told as missed", async () => {
    world.makeClient({ getToken: ["t1"], position: START }).connect();
    await world.flush();
    world.socket.serverSubscribes(1, null, { position: at("f.1", "c.1"), recovered: false });
    assert.deepEqual(world.told("missed"), [{ reason: "not_recovered" }]);
  });

  it("may be null or missing: nothing is recorded", async () => {
    for (const position of [null, undefined]) {
      const client = world.makeClient({ getToken: undefined, position });
      client.connect();
      assert.equal(sinceOf(world.socket), "");
      client.close();
    }
  });

  for (const position of ["e.1~c.1", 5, [], { user: 5 }, { user: "a b" }, {}]) {
    it(`that is ${JSON.stringify(position)} is refused at once`, () => {
      assert.throws(() => world.makeClient({ position }), /position/);
    });
  }
});
