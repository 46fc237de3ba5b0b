/** Replay against a model of the server: many random histories, each with its seed. */

import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, it } from "node:test";

import { World } from "./fakes.mjs";

/** @type {World} */
let world;
beforeEach(() => {
  world = new World();
});
afterEach(() => world.end());

/** mulberry32: the same numbers for the same seed. */
function randomOf(seed) {
  let a = seed;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Two kinds of streams, one session on the newest socket; keeps what the contract says. */
class ModelServer {
  kept = 4;
  user = 1;
  epochs = new Map();
  streams = new Map();
  session = null;

  stream(name) {
    if (!this.streams.has(name)) this.streams.set(name, []);
    return this.streams.get(name);
  }

  names(user) {
    return { user: `u${user}`, common: "c" };
  }

  place(name, top = this.stream(name).length) {
    return `${name}-${this.epochs.get(name) ?? 0}.${top}`;
  }

  position(user) {
    const { user: own, common } = this.names(user);
    return { user: this.place(own), common: this.place(common) };
  }

  /** What follows `place`, or null where that is not known any more. */
  after(name, place) {
    const [epoch, offset] = place.split(".");
    const all = this.stream(name);
    const isOld = all.length - Number(offset) > this.kept;
    if (epoch !== `${name}-${this.epochs.get(name) ?? 0}` || isOld) return null;
    return all.slice(Number(offset)).map((_, n) => [Number(offset) + n + 1, name]);
  }

  /** Sign in, as a handshake or a message asks. @returns {object[]} the frames to send */
  signIn(user, since) {
    const names = this.names(user);
    const missing = since && ["user", "common"].map((key) => this.after(names[key], since[key]));
    const recovered = since ? missing.every((each) => each !== null) : null;
    const replay = recovered ? missing.flat() : [];
    this.session = { user };
    const position = recovered ? since : this.position(user);
    const subscribed = { type: "subscribed", user, expires_in: null, recovered, position };
    return [
      { ...subscribed, replayed: replay.length },
      ...replay.map(([offset, name]) => ({ ...this.frame(offset, name), replayed: true })),
    ];
  }

  frame(offset, name) {
    const key = name === "c" ? "common" : "user";
    const position = { [key]: this.place(name, offset) };
    return { type: "data", data: [name, offset], position };
  }

  publish(name) {
    const offset = this.stream(name).push(name);
    const followed = this.session === null ? [] : Object.values(this.names(this.session.user));
    return followed.includes(name) ? [this.frame(offset, name)] : [];
  }
}

/** What an application knows: the last message of each stream, until it loads its state again. */
class Application {
  seen = new Map();
  told = 0;

  constructor(client, server) {
    client.on("subscribed", ({ detail }) => {
      if (detail.user !== this.user) this.load(server, detail.user);
      this.user = detail.user;
    });
    client.on("missed", () => {
      this.told += 1;
      this.load(server, client.user);
    });
    client.on("data", ({ detail: [name, offset] }) => {
      assert.equal(offset, this.seen.get(name) + 1, `${name}: a hole, or twice`);
      this.seen.set(name, offset);
    });
  }

  load(server, user) {
    this.seen = new Map(
      Object.values(server.names(user)).map((name) => [name, server.stream(name).length]),
    );
  }
}

async function run(seed) {
  const random = randomOf(seed);
  const server = new ModelServer();
  let issued = 0;
  const getToken = () => `t${server.user}.${++issued}`;
  const userOf = (token) => Number(token.match(/^t(\d+)/)[1]);
  const client = world.makeClient({ getToken });
  const application = new Application(client, server);
  const answered = new WeakMap();

  /** Answer handshakes and tokens; the link may break behind any frame. */
  const serve = (breaks) => {
    const { socket } = world;
    const say = (frames) => {
      for (const frame of frames) {
        if (socket.readyState !== 1) return;
        socket.serverSends(frame);
        if (breaks && random() < 0.2) lose();
      }
    };
    if (socket.readyState === 0) {
      socket.readyState = 1;
      socket.onopen?.({});
      const text = new URL(socket.url).searchParams.get("since");
      const [user, common] = text?.split("~") ?? [];
      say(server.signIn(userOf(socket.protocols[1]), text && { user, common }));
    }
    for (const { token, since } of socket.sent.slice(answered.get(socket) ?? 0)) {
      if (token && socket.readyState === 1) say(server.signIn(userOf(token), since));
    }
    answered.set(socket, socket.sent.length);
  };
  const lose = () => {
    server.session = null;
    if (world.socket.readyState < 3) world.socket.serverCloses(1006);
  };
  const publish = () => {
    const name = random() < 0.4 ? "c" : `u${server.user}`;
    const { socket } = world;
    const frames = server.publish(name);
    if (socket.readyState === 1) frames.forEach((frame) => socket.serverSends(frame));
  };
  const steps = [
    [10, publish],
    [3, lose],
    [3, () => world.advance(2_000, 500)],
    [2, () => client.connect()],
    [1, () => server.epochs.set("c", (server.epochs.get("c") ?? 0) + 1)],
    [1, () => ((server.user = 3 - server.user), client.renew())],
    [1, () => {
      server.session = null;
      world.socket.serverSends({ type: "error", code: "expired_token", detail: "" });
    }],
  ];
  const total = steps.reduce((sum, [weight]) => sum + weight, 0);

  client.connect();
  await world.flush();
  for (let n = 0; n < 60; n++) {
    let choice = random() * total;
    const [, step] = steps.find(([weight]) => (choice -= weight) < 0);
    await step();
    await world.flush();
    serve(random() < 0.3);
    await world.flush();
  }
  for (let n = 0; n < 20 && (client.state !== "live" || !server.session); n++) {
    await world.advance(21_000, 3_000);
    serve(false);
  }
  assert.equal(client.state, "live");
  for (const [name, offset] of application.seen) {
    assert.equal(offset, server.stream(name).length, `${name}: the end is missing`);
  }
  return application.told;
}

describe("whatever happens, an application has every message once, or is told", () => {
  for (let seed = 1; seed <= 60; seed++) {
    it(`seed ${seed}`, () => run(seed));
  }
});
