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

describe("a busy server", () => {
  const busy = (retry_after) => {
    world.socket.serverSends(error("server_busy", { retry_after }));
    world.socket.serverCloses(4503);
  };

  it("is left alone for as long as it asks, and a little longer", async () => {
    world.makeClient({ getToken: ["t1"] }).connect();
    await world.flush();
    world.socket.serverOpens();
    busy(8);
    assert.equal(world.lastState.code, 4503);
    assert.ok(world.lastState.retryInMs >= 8_000 && world.lastState.retryInMs <= 10_000);
    world.client.connect();
    world.page.dispatchEvent(new Event("online"));
    await world.advance(7_900);
    assert.equal(world.sockets, 1);
    await world.advance(2_200);
    assert.equal(world.sockets, 2);
  });

  it("is never asked faster than the growing delay", async () => {
    await world.live();
    const waits = [];
    for (let n = 0; n < 4; n++) {
      busy(0.01);
      waits.push(world.lastState.retryInMs);
      await world.advance(world.lastState.retryInMs + 50);
      world.socket.serverOpens();
    }
    assert.deepEqual(waits, [750, 1250, 2250, 4250]);
  });

  for (const nonsense of [undefined, null, -5, "8", {}, 1e300]) {
    it(`may say ${JSON.stringify(nonsense)} for retry_after`, async () => {
      await world.live();
      busy(nonsense);
      const longest = nonsense === 1e300 ? 3_600_000 * 1.25 : 750;
      assert.ok(world.lastState.retryInMs <= longest, String(world.lastState.retryInMs));
    });
  }

  it("holds up one wait, not those after it", async () => {
    await world.live();
    busy(30);
    await world.advance(40_000, 500);
    world.socket.serverSubscribes();
    world.socket.serverCloses(4503);
    assert.ok(world.lastState.retryInMs <= 2_000, String(world.lastState.retryInMs));
  });

  it("also holds up a retry that was planned already", async () => {
    let count = 0;
    world.makeClient({ getToken: async () => `t${++count}` }).connect();
    await world.flush();
    world.socket.serverOpens();
    world.socket.serverSends(error("invalid_token"));
    await world.flush();
    world.socket.serverSends(error("invalid_token"));
    assert.equal(world.client.state, "waiting");
    busy(60);
    await world.advance(59_000, 1_000);
    assert.equal(world.sockets, 1);
    await world.advance(20_000, 1_000);
    assert.equal(world.sockets, 2);
  });
});

describe("an auth timeout", () => {
  it("does not sign out a client whose token nobody has looked at", async () => {
    world.makeClient({ getToken: ["t1"] }).connect();
    for (let n = 1; n <= 3; n++) {
      await world.flush();
      world.socket.serverOpens();
      world.socket.serverSends(error("auth_timeout"));
      world.socket.serverCloses(4401);
      assert.equal(world.client.state, "waiting");
      assert.ok(world.lastState.retryInMs > 0);
      await world.advance(world.lastState.retryInMs + 50);
      assert.deepEqual(world.socket.protocols, ["bazis-ws", "t1"]);
      assert.equal(world.sockets, n + 1);
    }
    assert.equal(world.asked.length, 1);
    world.socket.serverSubscribes();
    assert.equal(world.client.state, "live");
  });

  it("nor one whose token went as a message", async () => {
    world.makeClient({ getToken: ["opaque token=="] }).connect();
    await world.flush();
    world.socket.serverOpens();
    world.socket.serverSends(error("auth_timeout"));
    world.socket.serverCloses(4401);
    assert.equal(world.client.state, "waiting");
  });

  it("says nothing of the next socket: a bare 4401 there is a refusal", async () => {
    world.makeClient({ getToken: ["t1"] }).connect();
    await world.flush();
    world.socket.serverOpens();
    world.socket.serverSends(error("auth_timeout"));
    await world.reconnect(4401);
    world.socket.serverOpens();
    await world.reconnect(4401);
    assert.equal(world.client.state, "signed_out");
    assert.equal(world.lastState.reason, "token_rejected");
  });

  for (const code of ["expired_token", "invalid_token", "user_not_found", "logged_out"]) {
    it(`after ${code} leaves the token refused`, async () => {
      await world.live({ getToken: ["t1"] });
      world.socket.serverSends(error(code));
      world.socket.serverSends(error("auth_timeout"));
      world.socket.serverCloses(4401);
      await world.advance(2_000);
      assert.equal(world.client.state, "signed_out");
      assert.equal(world.lastState.reason, "token_rejected");
      assert.equal(world.sockets, 1);
    });
  }
});

describe("getToken that gives what is no token", () => {
  const cases = [
    [undefined, /returned undefined/],
    ["", /returned an empty string/],
    [5, /returned a number/],
    [true, /returned a boolean/],
    [["t1"], /returned an array/],
    [{ access: "secret", refresh: "secret" }, /returned an object with the keys access, refresh/],
    [{}, /returned an object without keys/],
    [new Response("{}"), /returned a Response/],
    [() => "t1", /returned a function/],
    [Object.create(null), /returned an object without keys/],
  ];
  for (const [value, expected] of cases) {
    it(`says so: ${expected.source}`, async () => {
      world.makeClient({ getToken: () => value }).connect();
      await world.flush();
      const [told] = world.told("error");
      assert.equal(told.code, "token_unusable");
      assert.match(told.detail, expected);
      assert.doesNotMatch(told.detail, /secret/);
      assert.equal(world.client.state, "signed_out");
      assert.equal(world.lastState.reason, "token_unusable");
      assert.equal(world.sockets, 0);
    });
  }

  it("does not disturb a session whose token is still good", async () => {
    const socket = await world.live({ getToken: ["t1", undefined, "t2"] }, 1, 600);
    world.client.renew();
    await world.flush();
    assert.equal(world.told("error")[0].code, "token_unusable");
    assert.equal(world.client.state, "live");
    socket.serverSends({ type: "pong" });
    await world.advance(15_000, 500);
    assert.equal(world.client.state, "live");
  });

  it("says nothing more when a listener closes the client", async () => {
    world.makeClient({ getToken: () => undefined });
    world.client.on("error", () => world.client.close());
    world.client.connect();
    await world.flush();
    assert.deepEqual(world.told("state").map(({ state }) => state), ["connecting", "closed"]);
  });
});

describe("signed_out says why", () => {
  it("no_token: getToken gave null, before any session or in one", async () => {
    world.makeClient({ getToken: [null, "t1", null] }).connect();
    await world.flush();
    assert.deepEqual(world.lastState, {
      state: "signed_out", previous: "connecting", retryInMs: null, code: null, reason: "no_token",
    });
    world.client.connect();
    await world.flush();
    world.socket.serverSubscribes();
    assert.equal("reason" in world.lastState, false);
    world.client.renew();
    await world.flush();
    assert.equal(world.lastState.reason, "no_token");
  });

  it("token_rejected: the token that comes has been refused", async () => {
    await world.live({ getToken: ["t1"] });
    world.socket.serverSends(error("invalid_token"));
    await world.flush();
    assert.equal(world.lastState.reason, "token_rejected");
    assert.equal(world.lastState.code, 4401);
  });

  it("no_session: no Django session, and no getToken", () => {
    world.makeClient().connect();
    world.socket.serverOpens();
    world.socket.serverSends(error("auth_timeout"));
    world.socket.serverCloses(4401);
    assert.equal(world.lastState.reason, "no_session");
  });
});

describe("what is under way", () => {
  /** A getToken that gives t1, then keeps its callers waiting. */
  const slow = (signals) => async ({ reason, signal }) => {
    signals.push(signal);
    return reason === "connect" ? "t1" : new Promise(() => {});
  };

  it("is given up with the session that it would have renewed", async () => {
    const signals = [];
    await world.live({ getToken: slow(signals) });
    world.client.renew();
    await world.flush();
    world.socket.serverCloses(1006);
    assert.equal(signals[1].aborted, true);
  });

  it("is given up when the server asks for a long wait", async () => {
    const signals = [];
    const socket = await world.live({ getToken: slow(signals) });
    socket.serverSends(error("expired_token"));
    await world.flush();
    socket.serverCloses(4429);
    assert.equal(signals[1].aborted, true);
    assert.equal(world.lastState.retryInMs, 90_000);
  });

  it("ends when the server accepts a token after all", async () => {
    let count = 0;
    world.makeClient({ getToken: async () => `t${++count}` }).connect();
    await world.flush();
    world.socket.serverOpens();
    for (let n = 0; n < 2; n++) {
      world.socket.serverSends(error("invalid_token"));
      await world.flush();
    }
    assert.equal(world.client.state, "waiting");
    world.socket.serverSubscribes();
    assert.equal(world.client.state, "live");
    const told = world.events.length;
    await world.advance(10_000);
    assert.equal(world.events.length, told);
    assert.equal(count, 2);
  });

  it("does not go on when a listener closes the client while it starts", () => {
    world.makeClient();
    world.client.on("state", () => world.client.close());
    world.client.connect();
    assert.equal(world.sockets, 0);
    assert.equal(world.client.state, "closed");
  });

  it("is the new socket's affair when a listener of an error reconnects", async () => {
    const socket = await world.live({ getToken: undefined });
    world.client.on("error", () => {
      socket.serverCloses(1006);
      world.client.connect();
    });
    socket.serverSends(error("expired_token"));
    assert.equal(world.client.state, "connecting");
    assert.equal(world.sockets, 2);
  });
});
