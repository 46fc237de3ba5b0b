/**
 * The browser's side of bazis_ws_channels: one class, no dependencies.
 *
 *     import { BazisWsClient } from "/static/bazis_ws_channels/client.js";
 *
 *     const client = new BazisWsClient({
 *       url: "/ws",
 *       getToken: async ({ signal }) => {
 *         const response = await fetch("/api/v1/token/", { method: "POST", signal });
 *         return response.ok ? (await response.json()).token : null;
 *       },
 *     });
 *     client.on("data", (event) => console.log(event.detail));
 *     client.watch([1, 2]);
 *     client.connect();
 *
 * Without `getToken` the Django session cookie signs in.
 */

/**
 * @typedef {number | string} UserId
 * A user's primary key as the server writes it: a number for integer keys, else a string.
 *
 * @typedef {"idle" | "connecting" | "live" | "waiting" | "signed_out" | "stopped" | "closed"} State
 * `live`: what is published arrives. `waiting`: lost, a retry is planned. `signed_out`: only
 * another token helps, call `connect()` when there is one. `stopped`: the server refuses this
 * client (4400), for good. `closed`: `close()` was called.
 *
 * @typedef {"connect" | "expiring" | "rejected" | "renew"} TokenReason
 *
 * @typedef {object} TokenRequest
 * @property {TokenReason} reason
 * @property {string | null} rejected  the token that the server refused: it won't be sent again
 * @property {AbortSignal} signal  aborted when the answer no longer matters
 *
 * @typedef {object} Options
 * @property {string | URL} [url]  absolute or relative; default `/ws` on the page's host
 * @property {(request: TokenRequest) => string | null | Promise<string | null>} [getToken]
 *   null: nobody is signed in, stop. A rejection: not now, ask again later.
 * @property {number} [minDelayMs]  shortest wait before a reconnection
 * @property {number} [maxDelayMs]  longest one
 * @property {number} [longDelayMs]  shortest wait after 4413 and 4429; the longest is twice that
 * @property {number} [stableMs]  a session shorter than this does not reset the backoff
 * @property {number} [pingIntervalMs]  silence after which a ping is sent
 * @property {number} [pongTimeoutMs]  silence after a ping that means a dead link
 * @property {number} [openTimeoutMs]
 * @property {number} [tokenTimeoutMs]
 * @property {typeof globalThis.WebSocket} [WebSocket]  for runtimes that have none of their own
 *
 * @typedef {object} StateDetail
 * @property {State} state
 * @property {State} previous
 * @property {number | null} retryInMs  while `waiting`
 * @property {number | null} code  the close code that led here; 1006 for a dead link
 *
 * @typedef {object} EventMap
 * @property {CustomEvent<any>} data  what was published, as it was published
 * @property {CustomEvent<{user: UserId, is_online: boolean, last_seen: string | null}>} presence
 * @property {CustomEvent<{user: UserId, expires_in: number | null}>} subscribed
 * @property {CustomEvent<{code: string, detail: string}>} error
 *   the server's errors, and `token_unavailable`, `socket_unavailable` of the client itself
 * @property {CustomEvent<Record<string, any>>} message  every frame, those above included
 * @property {CustomEvent<StateDetail>} state
 */

const DEFAULTS = Object.freeze({
  minDelayMs: 500,
  maxDelayMs: 20_000,
  longDelayMs: 60_000,
  stableMs: 5_000,
  pingIntervalMs: 20_000,
  pongTimeoutMs: 10_000,
  openTimeoutMs: 15_000,
  tokenTimeoutMs: 20_000,
});

const SUBPROTOCOL = "bazis-ws";
const CLOSE = Object.freeze({ lost: 1006, bad: 4400, token: 4401, big: 4413, many: 4429 });
const TOKEN_ERRORS = new Set(["expired_token", "invalid_token", "user_not_found"]);
/** What a subprotocol may hold (RFC 7230 token); every JWT does, an opaque token may not. */
const SUBPROTOCOL_SAFE = /^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/;
const WATCH_CHUNK = 100;
/** The renewal is asked for this long before the end, or at 80 % of a short life. */
const RENEW_MARGIN_MS = 60_000;
/** Longer timers fire at once: setTimeout keeps its delay in 32 bits. */
const MAX_TIMER_MS = 2 ** 31 - 1;
const SUPERSEDED = new Error("a newer request took the place of this one");

/** @param {string | URL} [url] */
function socketUrl(url = "/ws") {
  const absolute = new URL(url, globalThis.location?.href);
  absolute.protocol = absolute.protocol.replace(/^http/, "ws");
  absolute.hash = ""; // the WebSocket constructor throws on one
  return absolute.href;
}

export class BazisWsClient extends EventTarget {
  /** @type {Required<Omit<Options, "getToken">> & Pick<Options, "getToken">} */
  #options;
  /** @type {State} */
  #state = "idle";
  /** @type {WebSocket | null} */
  #socket = null;
  /** @type {Map<string, ReturnType<typeof setTimeout>>} */
  #timers = new Map();
  /** @type {AbortController | null} */
  #asking = null;
  /** @type {AbortController | null} */
  #listening = null;
  /** @type {string | null} */
  #token = null;
  /** @type {string | null} */
  #rejected = null;
  /** @type {number | null} */
  #expiresAt = null;
  /** @type {number | null} */
  #renewAt = null;
  /** A token went out on the open socket and nothing was said of it yet. */
  #unanswered = false;
  /** @type {UserId | null} */
  #user = null;
  /** @type {Set<UserId>} */
  #watched = new Set();
  /** @type {number | null} */
  #liveSince = null;
  #heardAt = 0;
  #attempt = 0;
  #renewals = 0;
  #notBefore = 0;

  /** @param {Options} [options] */
  constructor(options = {}) {
    super();
    const given = Object.entries(options).filter(([, value]) => value !== undefined);
    this.#options = {
      ...DEFAULTS,
      WebSocket: globalThis.WebSocket,
      ...Object.fromEntries(given),
      url: socketUrl(options.url),
    };
  }

  /** What the connection is doing. @returns {State} */
  get state() {
    return this.#state;
  }

  /** The signed-in user's id, as of the last `subscribed`. @returns {UserId | null} */
  get user() {
    return this.#user;
  }

  /** The ids followed now. @returns {UserId[]} */
  get watched() {
    return [...this.#watched];
  }

  /**
   * Listen with a typed event; the same as `addEventListener`.
   *
   * @template {keyof EventMap} K
   * @param {K} type
   * @param {(event: EventMap[K]) => void} listener
   * @returns {() => void} stops listening
   */
  on(type, listener) {
    const callback = /** @type {EventListener} */ (/** @type {unknown} */ (listener));
    this.addEventListener(type, callback);
    return () => this.removeEventListener(type, callback);
  }

  /**
   * Start, start again after `signed_out`, or cut a wait short. Never shortens the wait that a
   * 4429 asked for. Throws after `close()` or a 4400.
   */
  connect() {
    if (this.#state === "closed" || this.#state === "stopped") {
      throw new Error(`cannot connect a client that is ${this.#state}; make a new one`);
    }
    if (this.#state === "idle" || this.#state === "signed_out") {
      this.#listen();
      this.#attempt = 0;
      this.#begin(Math.max(0, this.#notBefore - Date.now()));
    } else {
      this.#hurry();
    }
  }

  /** Close for good: no event follows the last `state`. */
  close() {
    if (this.#state !== "closed") this.#end("closed", null);
  }

  /** Ask `getToken` now, and send what it gives: the user has changed, or the rights have. */
  renew() {
    if (this.#state === "live" && this.#options.getToken) this.#renew("renew");
    else this.#token = null; // the next attempt asks
  }

  /**
   * Follow the online status of these users; kept across reconnections.
   *
   * @param {Iterable<UserId>} users
   */
  watch(users) {
    const added = [...new Set(users)].filter((user) => !this.#watched.has(user));
    for (const user of added) this.#watched.add(user);
    this.#sendUsers("watch", added);
  }

  /** @param {Iterable<UserId>} users */
  unwatch(users) {
    this.#sendUsers("unwatch", [...users].filter((user) => this.#watched.delete(user)));
  }

  /**
   * Send a message of the project's own (a subclass of the consumer reads it).
   *
   * @param {Record<string, unknown>} message
   * @returns {boolean} false when there is no live session: nothing is queued
   */
  send(message) {
    return this.#state === "live" && this.#write(message);
  }

  // --- signing in ---------------------------------------------------------------------------

  /** @param {number} delayMs */
  #begin(delayMs) {
    if (delayMs > 0) this.#schedule(delayMs, null);
    else this.#authenticate("connect");
  }

  /**
   * Get a token if one is needed, then send it on the open socket or open one with it.
   *
   * @param {TokenReason} reason
   */
  async #authenticate(reason) {
    this.#disarm("retry");
    this.#setState("connecting");
    if (this.#state !== "connecting") return; // a listener closed it
    if (this.#options.getToken && !this.#tokenIsGood()) {
      const token = await this.#askToken(reason);
      if (token === undefined || this.#state !== "connecting") return; // overtaken
      if (token instanceof Error) return this.#schedule(this.#backoff(), null);
      if (token === null || token === this.#rejected) {
        return this.#end("signed_out", this.#rejected === null ? null : CLOSE.token);
      }
      this.#token = token;
      this.#expiresAt = null;
    }
    if (this.#isOpen()) this.#sendToken();
    else this.#open();
  }

  #tokenIsGood() {
    if (this.#token === null || this.#token === this.#rejected) return false;
    return this.#expiresAt === null || Date.now() < this.#expiresAt - this.#options.minDelayMs;
  }

  /**
   * @param {TokenReason} reason
   * @returns {Promise<string | null | undefined | Error>} null: signed out; undefined:
   *   superseded; an Error, already told: not now
   */
  async #askToken(reason) {
    this.#asking?.abort(SUPERSEDED);
    const asking = new AbortController();
    this.#asking = asking;
    const { signal } = asking;
    this.#arm("token", this.#options.tokenTimeoutMs, () => {
      asking.abort(new Error("getToken took too long"));
    });
    const aborted = new Promise((_, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason), { once: true });
    });
    try {
      const request = { reason, rejected: this.#rejected, signal };
      const asked = (async () => this.#options.getToken?.(request))();
      const token = await Promise.race([asked, aborted]);
      if (signal.aborted) return undefined;
      return typeof token === "string" && token !== "" ? token : null;
    } catch (error) {
      if (signal.reason === SUPERSEDED) return undefined;
      this.#emit("error", { code: "token_unavailable", detail: String(error) });
      // A listener may have closed or restarted the client.
      return signal.reason === SUPERSEDED ? undefined : new Error(String(error));
    } finally {
      if (this.#asking === asking) {
        this.#asking = null;
        this.#disarm("token");
      }
    }
  }

  /**
   * A new token for the running session. The old one stays good until its end, so nothing that
   * goes wrong here disturbs the session.
   *
   * @param {TokenReason} reason
   */
  async #renew(reason) {
    this.#disarm("renew");
    const token = await this.#askToken(reason);
    if (token === undefined || this.#state !== "live") return;
    if (token === null) return this.#end("signed_out", null);
    if (token instanceof Error || token === this.#token) {
      // The same token again would be answered with a shorter `expires_in`, over and over.
      if (this.#renewAt === null) return;
      this.#armRenewal(Math.max(this.#renewAt, Date.now() + this.#delay(this.#renewals++)));
      return;
    }
    this.#token = token;
    this.#sendToken();
  }

  #sendToken() {
    this.#unanswered = this.#write({ token: this.#token });
  }

  /** @param {number | null} expiresInMs */
  #planRenewal(expiresInMs) {
    this.#disarm("renew");
    this.#renewals = 0;
    this.#expiresAt = this.#renewAt = null;
    if (expiresInMs === null) return;
    this.#expiresAt = Date.now() + expiresInMs;
    if (!this.#options.getToken) return;
    const margin = Math.min(RENEW_MARGIN_MS, expiresInMs * 0.2) * (0.5 + Math.random() / 2);
    this.#renewAt = Date.now() + Math.max(this.#options.minDelayMs, expiresInMs - margin);
    this.#armRenewal(this.#renewAt);
  }

  /** @param {number} at */
  #armRenewal(at) {
    const left = at - Date.now();
    if (left > MAX_TIMER_MS) this.#arm("renew", MAX_TIMER_MS, () => this.#armRenewal(at));
    else this.#arm("renew", left, () => this.#renew("expiring"));
  }

  // --- the socket ---------------------------------------------------------------------------

  #open() {
    this.#drop(); // one that is still closing
    const token = this.#token;
    const offered = token !== null && SUBPROTOCOL_SAFE.test(token) ? [SUBPROTOCOL, token] : [];
    let socket;
    try {
      socket = new this.#options.WebSocket(String(this.#options.url), offered);
    } catch (error) {
      // The page may not open this socket at all (mixed content, a wrong URL): no use retrying.
      this.#emit("error", { code: "socket_unavailable", detail: String(error) });
      if (this.#state === "connecting") this.#end("stopped", null);
      return;
    }
    this.#socket = socket;
    this.#arm("open", this.#options.openTimeoutMs, () => this.#lost(CLOSE.lost));
    socket.onopen = () => this.#opened(token !== null && offered.length === 0 ? token : null);
    socket.onmessage = (event) => this.#heard(event.data);
    socket.onclose = (event) => this.#lost(event.code);
  }

  /** @param {string | null} token  one that the handshake could not carry */
  #opened(token) {
    this.#disarm("open");
    this.#heardAt = Date.now();
    this.#arm("ping", this.#options.pingIntervalMs, () => this.#checkSilence());
    if (token !== null) this.#sendToken();
  }

  #isOpen() {
    return this.#socket?.readyState === 1;
  }

  /** @param {unknown} message */
  #write(message) {
    if (!this.#isOpen()) return false;
    this.#socket?.send(JSON.stringify(message));
    return true;
  }

  /**
   * @param {"watch" | "unwatch"} type
   * @param {UserId[]} users
   */
  #sendUsers(type, users) {
    if (this.#state !== "live") return; // a new session sends the whole list
    for (let start = 0; start < users.length; start += WATCH_CHUNK) {
      this.#write({ type, users: users.slice(start, start + WATCH_CHUNK) });
    }
  }

  /** @param {unknown} text */
  #heard(text) {
    this.#heardAt = Date.now();
    this.#disarm("pong");
    let message;
    try {
      message = JSON.parse(/** @type {string} */ (text));
    } catch {
      return;
    }
    if (message === null || typeof message !== "object" || Array.isArray(message)) return;
    if (message.type === "subscribed") this.#subscribed(message);
    else if (message.type === "data") this.#emit("data", message.data);
    else if (message.type === "presence") this.#emit("presence", message);
    else if (message.type === "error") this.#refused(message);
    this.#emit("message", message);
  }

  /** @param {any} message */
  #subscribed(message) {
    const isNew = this.#state !== "live" || message.user !== this.#user;
    const seconds = Number.isFinite(message.expires_in) ? message.expires_in : null;
    this.#user = message.user;
    this.#rejected = null;
    this.#unanswered = false;
    this.#liveSince ??= Date.now();
    this.#planRenewal(seconds === null ? null : seconds * 1000);
    if (isNew) {
      this.#setState("live");
      this.#sendUsers("watch", [...this.#watched]);
    }
    this.#emit("subscribed", message);
  }

  /** @param {any} message */
  #refused(message) {
    const socket = this.#socket;
    this.#emit("error", message);
    if (socket !== this.#socket) return; // a listener closed it
    if (message.code === "logged_out") this.#reject();
    if (!TOKEN_ERRORS.has(message.code)) return;
    // The session is over, the socket is not: it waits for another token.
    const renewed = this.#state === "live" && this.#unanswered;
    this.#sessionOver();
    if (renewed && message.code === "expired_token") {
      this.#setState("connecting"); // the old one's end: the answer to the new one follows
      return;
    }
    this.#reject();
    if (!this.#options.getToken) this.#end("signed_out", CLOSE.token);
    else if (this.#attempt++ === 0) this.#authenticate("rejected");
    else this.#schedule(this.#backoff(), null);
  }

  #reject() {
    this.#rejected = this.#token;
    this.#unanswered = false;
  }

  // --- losing it, and coming back -----------------------------------------------------------

  /** @param {number} code */
  #lost(code) {
    // Without a word on the token sent last, the close is about the one before.
    const refused = code === CLOSE.token && !this.#unanswered;
    this.#drop();
    this.#sessionOver();
    if (code === CLOSE.bad) return this.#end("stopped", code);
    if (code === CLOSE.many || code === CLOSE.big) return this.#penalty(code);
    if (refused) this.#reject();
    if (refused && !this.#options.getToken) return this.#end("signed_out", code);
    // A token is being fetched, or will be: that goes on and opens the next socket.
    if (this.#timers.has("retry") || (this.#asking && this.#state === "connecting")) return;
    this.#schedule(this.#backoff(), code);
  }

  /** Forget the session, if there was one. */
  #sessionOver() {
    const since = this.#liveSince;
    this.#liveSince = null;
    this.#disarm("renew");
    // A session that ended at once does not count: a server in a crash loop accepts us too.
    if (since !== null && Date.now() - since >= this.#options.stableMs) this.#attempt = 0;
    if (this.#state === "live") this.#asking?.abort(SUPERSEDED); // it was a renewal
  }

  /** @param {number} code */
  #penalty(code) {
    this.#asking?.abort(SUPERSEDED);
    const delay = this.#options.longDelayMs * (1 + Math.random());
    this.#notBefore = Date.now() + delay;
    this.#schedule(delay, code);
  }

  /** The next wait: full jitter, so that a crowd of clients does not come back as one. */
  #backoff() {
    const delay = this.#delay(this.#attempt++);
    if (globalThis.navigator?.onLine !== false) return delay;
    return Math.max(delay, this.#options.maxDelayMs); // the "online" event comes first, if true
  }

  /** @param {number} attempt */
  #delay(attempt) {
    const { minDelayMs, maxDelayMs } = this.#options;
    const ceiling = Math.min(maxDelayMs, minDelayMs * 2 ** (attempt + 1));
    return minDelayMs + Math.random() * (ceiling - minDelayMs);
  }

  /**
   * @param {number} delayMs
   * @param {number | null} code
   */
  #schedule(delayMs, code) {
    const reason = this.#rejected === null ? "connect" : "rejected";
    this.#arm("retry", delayMs, () => this.#authenticate(reason));
    this.#setState("waiting", code, delayMs);
  }

  #hurry() {
    if (this.#state !== "waiting" || Date.now() < this.#notBefore) return;
    this.#authenticate(this.#rejected === null ? "connect" : "rejected");
  }

  #checkSilence() {
    const silence = Date.now() - this.#heardAt;
    const { pingIntervalMs } = this.#options;
    const heardSince = silence >= 0 && silence < pingIntervalMs;
    if (!heardSince) this.#ping();
    const left = heardSince ? pingIntervalMs - silence : pingIntervalMs;
    this.#arm("ping", left, () => this.#checkSilence());
  }

  /** Whatever comes within the time is an answer. */
  #ping() {
    if (!this.#write({ type: "ping" }) || this.#timers.has("pong")) return;
    this.#arm("pong", this.#options.pongTimeoutMs, () => this.#lost(CLOSE.lost));
  }

  #listen() {
    this.#listening?.abort();
    this.#listening = new AbortController();
    const { signal } = this.#listening;
    const network = () => {
      this.#ping(); // the link may be gone with the network that carried it
      if (globalThis.navigator?.onLine !== false) this.#hurry();
    };
    globalThis.addEventListener?.("online", network, { signal });
    globalThis.addEventListener?.("offline", network, { signal });
    const shown = () => {
      // Timers of a hidden or sleeping page run late: look at the link at once.
      if (globalThis.document?.visibilityState === "visible") this.#ping();
    };
    globalThis.document?.addEventListener("visibilitychange", shown, { signal });
  }

  // --- small parts --------------------------------------------------------------------------

  /**
   * @param {State} state
   * @param {number | null} code
   */
  #end(state, code) {
    for (const name of [...this.#timers.keys()]) this.#disarm(name);
    this.#asking?.abort(SUPERSEDED);
    this.#listening?.abort();
    this.#liveSince = this.#token = this.#expiresAt = null;
    this.#drop();
    this.#setState(state, code);
  }

  #drop() {
    const socket = this.#socket;
    this.#socket = null;
    this.#unanswered = false;
    this.#disarm("open", "ping", "pong");
    if (!socket) return;
    // A dead link may take minutes to tell of its end: don't wait for it, don't hear of it.
    socket.onopen = socket.onmessage = socket.onclose = null;
    if (socket.readyState <= 1) socket.close(1000);
  }

  /**
   * @param {State} state
   * @param {number | null} code
   * @param {number | null} retryInMs
   */
  #setState(state, code = null, retryInMs = null) {
    const previous = this.#state;
    this.#state = state;
    if (state === previous && state !== "waiting") return;
    this.#emit("state", { state, previous, retryInMs, code });
  }

  /**
   * @param {keyof EventMap} type
   * @param {unknown} detail
   */
  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  /**
   * @param {string} name
   * @param {number} delayMs
   * @param {() => void} callback
   */
  #arm(name, delayMs, callback) {
    this.#disarm(name);
    const run = () => {
      this.#timers.delete(name);
      callback();
    };
    this.#timers.set(name, setTimeout(run, Math.min(delayMs, MAX_TIMER_MS)));
  }

  /** @param {string[]} names */
  #disarm(...names) {
    for (const name of names) {
      clearTimeout(this.#timers.get(name));
      this.#timers.delete(name);
    }
  }
}
