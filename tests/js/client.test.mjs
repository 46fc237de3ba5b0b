import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, it } from "node:test";

import { FakeSocket, World } from "./fakes.mjs";

/** @type {World} */
let world;
beforeEach(() => {
  world = new World();
});
afterEach(() => world.end());

const error = (code) => ({ type: "error", code, detail: code });

describe("connecting", () => {
  it("offers the token as a subprotocol and never in the URL", async () => {
    world.makeClient({ url: "/ws", getToken: ["head.body.sig"] }).connect();
    await world.flush();
    assert.equal(world.socket.url, "wss://example.test/ws");
    assert.deepEqual(world.socket.protocols, ["bazis-ws", "head.body.sig"]);
  });

  it("takes relative, http and ws URLs, and drops the fragment", () => {
    const urls = { undefined: "wss://example.test/ws", "../ws": "wss://example.test/ws" };
    urls["http://other.test:81/ws?a=1#x"] = "ws://other.test:81/ws?a=1";
    urls["ws://other.test/"] = "ws://other.test/";
    for (const [url, expected] of Object.entries(urls)) {
      const client = world.makeClient({ url: url === "undefined" ? undefined : url });
      client.connect();
      assert.equal(world.socket.url, expected);
      client.close();
    }
    assert.throws(() => world.makeClient({ url: "http://" }), TypeError);
  });

  it("is live at `subscribed`, not at the open socket", async () => {
    world.makeClient({ getToken: ["t1"] }).connect();
    await world.flush();
    world.socket.serverOpens();
    assert.equal(world.client.state, "connecting");
    world.socket.serverSubscribes(7);
    assert.equal(world.client.state, "live");
    assert.equal(world.client.user, 7);
    assert.deepEqual(world.told("subscribed"), [{ type: "subscribed", user: 7, expires_in: null }]);
  });

  it("connects without a token and without a subprotocol in a Django session", () => {
    world.makeClient().connect();
    assert.deepEqual(world.socket.protocols, []);
    world.socket.serverSubscribes();
    assert.equal(world.client.state, "live");
    assert.deepEqual(world.socket.sent, []);
  });

  it("sends a token that no subprotocol can hold as the first message", async () => {
    world.makeClient({ getToken: ["opaque token=="] }).connect();
    await world.flush();
    assert.deepEqual(world.socket.protocols, []);
    world.socket.serverOpens();
    assert.deepEqual(world.socket.sent, [{ token: "opaque token==" }]);
  });

  it("gives up an opening that takes too long", async () => {
    world.makeClient({ getToken: ["t1"] }).connect();
    await world.flush();
    await world.advance(15_000);
    assert.equal(world.lastState.state, "waiting");
    assert.equal(FakeSocket.all[0].closedWith, 1000);
    await world.advance(1_000);
    assert.equal(world.sockets, 2);
  });

  it("stops where the page may not open the socket at all", async () => {
    class Refusing {
      constructor() {
        throw new DOMException("mixed content", "SecurityError");
      }
    }
    world.makeClient({ getToken: ["t1"], WebSocket: Refusing }).connect();
    await world.flush();
    assert.equal(world.client.state, "stopped");
    assert.equal(world.told("error")[0].code, "socket_unavailable");
  });

  it("opens one socket however often connect() is called", async () => {
    world.makeClient({ getToken: ["t1"] }).connect();
    world.client.connect();
    await world.flush();
    world.client.connect();
    world.socket.serverSubscribes();
    world.client.connect();
    await world.flush();
    assert.equal(world.sockets, 1);
  });
});

describe("messages", () => {
  it("gives data as it was published: any JSON value", async () => {
    const socket = await world.live();
    for (const data of [{ a: [1] }, "text", 0, null, false]) {
      socket.serverSends({ type: "data", data, offset: 3 });
    }
    assert.deepEqual(world.told("data"), [{ a: [1] }, "text", 0, null, false]);
  });

  it("gives presence, errors and messages of types that it does not know", async () => {
    const socket = await world.live();
    const presence = { type: "presence", user: 2, is_online: true, last_seen: null };
    socket.serverSends(presence);
    socket.serverSends(error("forbidden"));
    socket.serverSends({ type: "typing", user: 2 });
    assert.deepEqual(world.told("presence"), [presence]);
    assert.deepEqual(world.told("error"), [error("forbidden")]);
    assert.deepEqual(world.told("message").at(-1), { type: "typing", user: 2 });
    assert.equal(world.client.state, "live");
  });

  it("ignores what is no message", async () => {
    const socket = await world.live();
    const before = world.events.length;
    for (const text of ["", "not json", "[]", "null", "5", '"data"', "{}"]) {
      socket.serverSends(text);
    }
    assert.deepEqual(world.events.slice(before), [["message", {}]]);
    assert.equal(world.client.state, "live");
  });

  it("sends the project's own messages while live, and says when it can't", async () => {
    world.makeClient({ getToken: ["t1"] });
    assert.equal(world.client.send({ type: "typing" }), false);
    world.client.connect();
    await world.flush();
    world.socket.serverSubscribes();
    assert.equal(world.client.send({ type: "typing" }), true);
    assert.deepEqual(world.socket.sent, [{ type: "typing" }]);
  });

  it("unsubscribes a listener with what on() returned", async () => {
    world.makeClient({ getToken: ["t1"] });
    const seen = [];
    const off = world.client.on("data", (event) => seen.push(event.detail));
    world.client.connect();
    await world.flush();
    world.socket.serverSubscribes();
    world.socket.serverSends({ type: "data", data: 1 });
    off();
    world.socket.serverSends({ type: "data", data: 2 });
    assert.deepEqual(seen, [1]);
  });
});

describe("watching", () => {
  it("sends what was asked for before the session, and again after a reconnection", async () => {
    world.makeClient({ getToken: ["t1"] });
    world.client.watch([2, 3]);
    world.client.watch([3, 4]);
    world.client.unwatch([2, 9]);
    world.client.connect();
    await world.flush();
    world.socket.serverSubscribes();
    assert.deepEqual(world.socket.sent, [{ type: "watch", users: [3, 4] }]);
    world.socket.serverCloses(1006);
    await world.advance(1_000);
    assert.deepEqual(world.socket.sent, []);
    world.socket.serverSubscribes();
    assert.deepEqual(world.socket.sent, [{ type: "watch", users: [3, 4] }]);
    assert.deepEqual(world.client.watched, [3, 4]);
  });

  it("sends only changes in a live session", async () => {
    const socket = await world.live();
    world.client.watch([2, 2, 3]);
    world.client.watch([2]);
    world.client.unwatch([3, 8]);
    assert.deepEqual(socket.sent, [
      { type: "watch", users: [2, 3] },
      { type: "unwatch", users: [3] },
    ]);
  });

  it("splits a long list into frames that a server accepts", async () => {
    const socket = await world.live();
    world.client.watch(Array.from({ length: 250 }, (_, n) => n));
    assert.deepEqual(socket.sent.map((message) => message.users.length), [100, 100, 50]);
  });

  it("sends the list again for another user, but not at a renewal", async () => {
    const socket = await world.live();
    world.client.watch([2]);
    socket.serverSubscribes(1);
    assert.equal(socket.sent.length, 1);
    socket.serverSubscribes(5);
    assert.deepEqual(socket.sent.at(-1), { type: "watch", users: [2] });
    assert.equal(socket.sent.length, 2);
  });
});

describe("reconnecting", () => {
  for (const code of [1000, 1001, 1006, 1011, 1012, 4500, 4503]) {
    it(`comes back after ${code} with a growing delay`, async () => {
      await world.live();
      const delays = [];
      for (let n = 0; n < 8; n++) {
        world.socket.serverCloses(code);
        assert.equal(world.lastState.state, "waiting");
        assert.equal(world.lastState.code, code);
        delays.push(world.lastState.retryInMs);
        await world.advance(world.lastState.retryInMs + 50);
        assert.equal(world.sockets, n + 2);
        world.socket.serverOpens(); // a bare open resets nothing
      }
      // Math.random() is 0.5: the middle between 500 ms and a ceiling of 1, 2, 4, ... 20 s.
      const expected = [750, 1250, 2250, 4250, 8250, 10250, 10250, 10250];
      assert.deepEqual(delays, expected);
    });
  }

  it("keeps every delay within 0.5 and 20 s", async () => {
    await world.live();
    for (const [random, expected] of [[0, 500], [0.999999, 20_000]]) {
      world.random.mock.mockImplementation(() => random);
      for (let n = 0; n < 10; n++) {
        world.socket.serverCloses(1006);
        await world.advance(21_000, 250);
        const delay = world.lastState.state === "waiting" ? world.lastState.retryInMs : null;
        assert.ok(delay === null || (delay >= 500 && delay <= 20_000), `${delay}`);
      }
      const waits = world.told("state").filter(({ state }) => state === "waiting");
      assert.ok(Math.abs(waits.at(-1).retryInMs - expected) < 1, `${waits.at(-1).retryInMs}`);
    }
  });

  it("starts the backoff anew only after a session that lasted", async () => {
    await world.live();
    const waits = [];
    for (const lasting of [0, 0, 6_000, 0]) {
      await world.advance(lasting);
      world.socket.serverCloses(1011);
      waits.push(world.lastState.retryInMs);
      await world.advance(world.lastState.retryInMs + 50);
      world.socket.serverSubscribes();
    }
    assert.deepEqual(waits, [750, 1250, 750, 1250]);
  });

  it("connects with the token that it has while that is good", async () => {
    await world.live({ getToken: ["t1", "t2"] }, 1, 3600);
    world.socket.serverCloses(1006);
    await world.advance(1_000);
    assert.deepEqual(world.socket.protocols, ["bazis-ws", "t1"]);
    assert.equal(world.asked.length, 1);
  });

  it("asks for another when that one is over by then", async () => {
    await world.live({ getToken: ["t1", "t2"], minDelayMs: 5_000 }, 1, 4);
    world.socket.serverCloses(1006);
    await world.advance(10_000);
    assert.deepEqual(world.socket.protocols, ["bazis-ws", "t2"]);
  });

  it("never comes back after 4400", async () => {
    await world.live();
    world.socket.serverCloses(4400);
    assert.equal(world.client.state, "stopped");
    world.page.dispatchEvent(new Event("online"));
    await world.advance(600_000, 10_000);
    assert.equal(world.sockets, 1);
    assert.throws(() => world.client.connect(), /stopped/);
  });

  for (const code of [4429, 4413]) {
    it(`waits long after ${code}, whatever happens meanwhile`, async () => {
      await world.live();
      world.socket.serverCloses(code);
      assert.equal(world.lastState.retryInMs, 90_000);
      world.client.connect();
      world.page.dispatchEvent(new Event("online"));
      await world.advance(89_000, 1_000);
      assert.equal(world.sockets, 1);
      await world.advance(2_000);
      assert.equal(world.sockets, 2);
    });
  }

  it("does not hear a socket that it has given up", async () => {
    const socket = await world.live();
    const { onmessage, onclose } = socket;
    await world.advance(30_050);
    assert.equal(world.lastState.code, 1006);
    const told = world.events.length;
    assert.equal(socket.onmessage, null);
    assert.equal(socket.onclose, null);
    assert.ok(onmessage && onclose);
    socket.serverCloses(1006);
    assert.equal(world.events.length, told);
  });
});

describe("a dead link", () => {
  it("pings after a silence and reconnects when nothing answers", async () => {
    const socket = await world.live();
    await world.advance(20_000);
    assert.deepEqual(socket.sent, [{ type: "ping" }]);
    await world.advance(9_900);
    assert.equal(world.client.state, "live");
    await world.advance(200);
    assert.equal(world.client.state, "waiting");
    assert.equal(world.lastState.code, 1006);
    assert.equal(socket.closedWith, 1000);
    await world.advance(1_000);
    assert.equal(world.sockets, 2);
  });

  it("takes any frame for a sign of life", async () => {
    const socket = await world.live();
    for (let n = 0; n < 5; n++) {
      await world.advance(19_000, 500);
      socket.serverSends({ type: "data", data: n });
    }
    assert.deepEqual(socket.sent, []);
    await world.advance(20_000, 500);
    assert.deepEqual(socket.sent, [{ type: "ping" }]);
    socket.serverSends({ type: "data", data: "not a pong, but alive" });
    await world.advance(15_000, 500);
    assert.equal(world.client.state, "live");
  });

  it("pings every 20 s while the server answers", async () => {
    const socket = await world.live();
    for (let n = 1; n <= 5; n++) {
      await world.advance(20_000);
      assert.equal(socket.sent.length, n);
      socket.serverSends({ type: "pong" });
    }
    assert.equal(world.client.state, "live");
    assert.equal(world.sockets, 1);
  });

  it("looks at once when the network changes or the page is shown again", async () => {
    const socket = await world.live();
    world.page.dispatchEvent(new Event("offline"));
    assert.deepEqual(socket.sent, [{ type: "ping" }]);
    socket.serverSends({ type: "pong" });
    world.document.visibilityState = "hidden";
    world.document.dispatchEvent(new Event("visibilitychange"));
    assert.equal(socket.sent.length, 1);
    world.document.visibilityState = "visible";
    world.document.dispatchEvent(new Event("visibilitychange"));
    assert.equal(socket.sent.length, 2);
    await world.advance(10_000);
    assert.equal(world.client.state, "waiting");
  });
});

describe("the network's events", () => {
  it("comes back at once with the network", async () => {
    await world.live();
    for (let n = 0; n < 6; n++) {
      world.socket.serverCloses(1006);
      if (n < 5) await world.advance(world.lastState.retryInMs + 50);
    }
    assert.ok(world.lastState.retryInMs > 5_000);
    const before = world.sockets;
    world.page.dispatchEvent(new Event("online"));
    await world.flush();
    assert.equal(world.sockets, before + 1);
  });

  it("does not wear itself out while there is no network", async () => {
    await world.live();
    world.onLine = false;
    world.socket.serverCloses(1006);
    assert.equal(world.lastState.retryInMs, 20_000);
    world.page.dispatchEvent(new Event("offline"));
    await world.advance(19_000, 500);
    assert.equal(world.sockets, 1);
    world.onLine = true;
    world.page.dispatchEvent(new Event("online"));
    await world.flush();
    assert.equal(world.sockets, 2);
  });

  it("takes the default for an option that is undefined", async () => {
    await world.live({ minDelayMs: undefined, maxDelayMs: 800 });
    world.socket.serverCloses(1006);
    assert.equal(world.lastState.retryInMs, 650);
  });

  it("connect() cuts a wait short", async () => {
    await world.live();
    world.socket.serverCloses(1006);
    world.client.connect();
    await world.flush();
    assert.equal(world.sockets, 2);
    await world.advance(5_000);
    assert.equal(world.sockets, 2);
  });
});

describe("renewing", () => {
  beforeEach(() => {
    FakeSocket.answersPings = true;
  });

  it("sends a new token over the socket before the old one expires", async () => {
    const socket = await world.live({ getToken: ["t1", "t2", "t3"] }, 1, 600);
    await world.advance(554_000, 1_000);
    assert.equal(world.asked.length, 1);
    await world.advance(2_000);
    assert.deepEqual(world.asked[1], { reason: "expiring", rejected: null });
    const tokens = () => socket.sent.filter((message) => message.token);
    assert.deepEqual(tokens(), [{ token: "t2" }]);
    assert.equal(world.client.state, "live");
    socket.serverSubscribes(1, 600);
    assert.equal(world.told("subscribed").length, 2);
  });

  it("renews short-lived tokens in time too", async () => {
    const socket = await world.live({ getToken: ["t1", "t2"] }, 1, 5);
    await world.advance(4_300);
    assert.deepEqual(socket.sent, [{ token: "t2" }]);
  });

  it("survives lifetimes that a timer cannot hold", async () => {
    const month = 40 * 24 * 3600;
    await world.live({ getToken: ["t1", "t2"] }, 1, month);
    await world.advance(30 * 24 * 3600_000, 3600_000);
    assert.equal(world.asked.length, 1);
    await world.advance(11 * 24 * 3600_000, 3600_000);
    assert.equal(world.asked[1].reason, "expiring");
  });

  it("asks again, slower and slower, when there is no new one yet", async () => {
    const failing = new Error("network");
    const socket = await world.live({ getToken: ["t1", failing, "t1", failing, "t2"] }, 1, 600);
    await world.advance(555_000, 1_000);
    assert.equal(world.asked.length, 2);
    assert.equal(world.told("error").at(-1).code, "token_unavailable");
    await world.advance(10_000);
    assert.equal(world.asked.length, 5);
    assert.deepEqual(socket.sent.filter((message) => message.token), [{ token: "t2" }]);
    assert.equal(world.client.state, "live");
  });

  it("does not ask over and over for a token that is good for long", async () => {
    await world.live({ getToken: ["t1"] }, 1, 3600);
    world.client.renew();
    await world.advance(60_000, 1_000);
    assert.equal(world.asked.length, 2);
    assert.equal(world.asked[1].reason, "renew");
  });

  it("renew() takes the place of a change of user", async () => {
    const socket = await world.live({ getToken: ["t1", "t2"] }, 1, 3600);
    world.client.renew();
    await world.flush();
    assert.deepEqual(socket.sent, [{ token: "t2" }]);
    socket.serverSubscribes(2, 3600);
    assert.equal(world.client.user, 2);
  });

  it("signs out when there is nobody any more", async () => {
    const socket = await world.live({ getToken: ["t1", null] }, 1, 10);
    await world.advance(10_000);
    assert.equal(world.client.state, "signed_out");
    assert.equal(socket.closedWith, 1000);
  });

  it("forgets a renewal that a lost link overtook", async () => {
    let answer;
    const getToken = ({ reason }) =>
      reason === "connect" ? "t1" : new Promise((resolve) => (answer = resolve));
    await world.live({ getToken }, 1, 100);
    await world.advance(86_000, 1_000);
    assert.ok(answer);
    world.socket.serverCloses(1006);
    answer("t2");
    await world.advance(1_000);
    assert.equal(world.sockets, 2);
    assert.deepEqual(world.socket.protocols, ["bazis-ws", "t1"]);
  });
});

describe("a token that is refused", () => {
  for (const code of ["expired_token", "invalid_token", "user_not_found"]) {
    it(`answers ${code} in mid-session with another token on the same socket`, async () => {
      const socket = await world.live({ getToken: ["t1", "t2"] });
      world.client.watch([2]);
      socket.serverSends(error(code));
      assert.equal(world.client.state, "connecting");
      await world.flush();
      assert.deepEqual(world.asked[1], { reason: "rejected", rejected: "t1" });
      assert.deepEqual(socket.sent.at(-1), { token: "t2" });
      socket.serverSubscribes();
      assert.deepEqual(socket.sent.at(-1), { type: "watch", users: [2] });
      assert.equal(world.sockets, 1);
    });
  }

  it("stops when the same token comes again", async () => {
    const socket = await world.live({ getToken: ["t1"] });
    socket.serverSends(error("expired_token"));
    await world.flush();
    assert.equal(world.client.state, "signed_out");
    assert.equal(world.lastState.code, 4401);
    await world.advance(600_000, 10_000);
    assert.equal(world.sockets, 1);
    assert.equal(world.asked.length, 2);
  });

  it("reconnects after 4401 with a different token only", async () => {
    await world.live({ getToken: ["t1", "t2", "t2"] });
    world.socket.serverSends(error("logged_out"));
    world.socket.serverCloses(4401);
    await world.advance(1_000);
    assert.deepEqual(world.socket.protocols, ["bazis-ws", "t2"]);
    world.socket.serverCloses(4401);
    await world.advance(5_000);
    assert.equal(world.sockets, 2);
    assert.equal(world.client.state, "signed_out");
  });

  it("does not hammer with ever new tokens that are all refused", async () => {
    let count = 0;
    world.makeClient({ getToken: async () => `t${++count}` }).connect();
    await world.flush();
    world.socket.serverOpens();
    for (let second = 0; second < 120; second++) {
      if (world.socket.readyState === 1) world.socket.serverSends(error("invalid_token"));
      await world.advance(1_000, 250);
    }
    assert.ok(count < 20, `asked ${count} times in two minutes`);
    assert.equal(world.sockets, 1);
  });

  it("stops on 4401 in a Django session", () => {
    world.makeClient().connect();
    world.socket.serverOpens();
    world.socket.serverSends(error("auth_timeout"));
    world.socket.serverCloses(4401);
    assert.equal(world.client.state, "signed_out");
    world.client.connect(); // signed in meanwhile
    world.socket.serverSubscribes();
    assert.equal(world.client.state, "live");
  });

  it("does not blame a renewal for the end of the token before it", async () => {
    const socket = await world.live({ getToken: ["t1", "t2"] }, 1, 3600);
    world.client.renew();
    await world.flush();
    socket.serverSends(error("expired_token")); // t1's, which crossed t2
    await world.flush();
    assert.equal(world.client.state, "connecting");
    assert.equal(world.asked.length, 2);
    socket.serverSubscribes(1, 3600);
    assert.equal(world.client.state, "live");
  });

  it("does not blame a token that the close has crossed", async () => {
    const socket = await world.live({ getToken: ["t1", "t2"] });
    socket.serverSends(error("expired_token"));
    await world.flush();
    assert.deepEqual(socket.sent, [{ token: "t2" }]);
    socket.serverCloses(4401); // the auth timeout of t1
    await world.advance(2_000);
    assert.deepEqual(world.socket.protocols, ["bazis-ws", "t2"]);
    world.socket.serverSubscribes();
    assert.equal(world.client.state, "live");
  });

  it("keeps fetching while the socket gives up waiting", async () => {
    let answer;
    const getToken = ({ reason }) =>
      reason === "connect" ? "t1" : new Promise((resolve) => (answer = resolve));
    const socket = await world.live({ getToken });
    socket.serverSends(error("expired_token"));
    await world.advance(5_000);
    socket.serverSends(error("auth_timeout"));
    socket.serverCloses(4401);
    assert.equal(world.client.state, "connecting");
    answer("t2");
    await world.flush();
    assert.deepEqual(world.socket.protocols, ["bazis-ws", "t2"]);
  });
});

describe("getToken", () => {
  it("is tried again with backoff when it fails", async () => {
    const failing = new Error("network");
    world.makeClient({ getToken: [failing, failing, "t1"] }).connect();
    await world.flush();
    assert.equal(world.lastState.state, "waiting");
    assert.equal(world.lastState.retryInMs, 750);
    await world.advance(800);
    assert.equal(world.lastState.retryInMs, 1250);
    await world.advance(1_300);
    assert.equal(world.sockets, 1);
    assert.equal(world.told("error").length, 2);
    assert.match(world.told("error")[0].detail, /network/);
  });

  for (const nobody of [null, undefined, "", 5]) {
    it(`that gives ${JSON.stringify(nobody)} means signed out`, async () => {
      world.makeClient({ getToken: () => nobody }).connect();
      await world.flush();
      assert.equal(world.client.state, "signed_out");
      assert.equal(world.sockets, 0);
    });
  }

  it("may throw instead of rejecting", async () => {
    world.makeClient({
      getToken: () => {
        throw new Error("at once");
      },
    });
    world.client.connect();
    await world.flush();
    assert.equal(world.client.state, "waiting");
  });

  it("that hangs is given up, told so, and asked again", async () => {
    const signals = [];
    const getToken = ({ signal }) => {
      signals.push(signal);
      return new Promise(() => {});
    };
    world.makeClient({ getToken }).connect();
    await world.advance(20_000);
    assert.equal(signals[0].aborted, true);
    assert.equal(world.client.state, "waiting");
    await world.advance(1_000);
    assert.equal(signals.length, 2);
    assert.equal(signals[1].aborted, false);
  });

  it("is asked again after a sign-in that follows a sign-out", async () => {
    await world.live({ getToken: ["t1", null, "t2"] });
    world.client.renew();
    await world.flush();
    assert.equal(world.client.state, "signed_out");
    world.client.connect();
    await world.flush();
    assert.deepEqual(world.socket.protocols, ["bazis-ws", "t2"]);
  });
});

describe("close()", () => {
  it("is for good: no event, no timer, no socket afterwards", async () => {
    const socket = await world.live({}, 1, 10);
    world.client.close();
    assert.equal(socket.closedWith, 1000);
    assert.deepEqual(world.lastState, {
      state: "closed", previous: "live", retryInMs: null, code: null,
    });
    const told = world.events.length;
    socket.serverCloses(1000);
    world.page.dispatchEvent(new Event("online"));
    world.document.dispatchEvent(new Event("visibilitychange"));
    await world.advance(600_000, 10_000);
    assert.equal(world.events.length, told);
    assert.equal(world.sockets, 1);
    assert.throws(() => world.client.connect(), /closed/);
  });

  for (const moment of ["before connecting", "while asking", "while opening", "while waiting"]) {
    it(`works ${moment}`, async () => {
      world.makeClient({ getToken: ["t1"] });
      if (moment !== "before connecting") world.client.connect();
      if (moment === "while opening" || moment === "while waiting") await world.flush();
      if (moment === "while waiting") world.socket.serverCloses(1006);
      const before = world.sockets;
      world.client.close();
      await world.advance(60_000, 1_000);
      assert.equal(world.sockets, before);
      assert.equal(world.client.state, "closed");
    });
  }

  for (const type of ["state", "subscribed", "data", "error", "message"]) {
    it(`may be called in a listener of ${type}`, async () => {
      world.makeClient({ getToken: ["t1", "t2"] });
      world.client.on(type, () => world.client.close());
      world.client.connect();
      await world.flush();
      world.socket?.serverSubscribes();
      world.socket?.serverSends({ type: "data", data: 1 });
      world.socket?.serverSends(error("expired_token"));
      await world.advance(60_000, 1_000);
      assert.equal(world.client.state, "closed");
      assert.ok(world.sockets <= 1);
    });
  }
});
