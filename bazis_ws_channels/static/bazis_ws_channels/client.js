/**
 * Browser client of bazis_ws_channels: one class, no dependencies, no build step.
 *
 *     import { BazisWsClient } from "bazis-ws-channels"; // or the URL of this file
 *
 *     const client = new BazisWsClient({
 *       url: "/ws",
 *       getToken: async ({ signal }) => {
 *         const response = await fetch("/api/v1/token/", { method: "POST", signal });
 *         if (response.status === 401) return null; // nobody is signed in
 *         if (!response.ok) throw new Error(`token: ${response.status}`); // asked again later
 *         return (await response.json()).token;
 *       },
 *     });
 *     client.on("data", (event) => console.log(event.detail, event.replayed));
 *     client.on("missed", () => location.reload()); // or load what the page shows again
 *     client.watch([1, 2]);
 *     client.connect();
 *
 * Without `getToken` the Django session cookie signs in. Visitors who are not signed in get
 * messages by `getToken: anonymousToken`. The guide is docs/client.md.
 */

/**
 * @typedef {number | string} UserId
 * A user's primary key as the server writes it: a number for integer keys, else a string.
 *
 * @typedef {"idle" | "connecting" | "live" | "waiting" | "signed_out" | "stopped" | "closed"} State
 * `live`: what is published arrives. `waiting`: the connection is lost and a retry is planned.
 * `signed_out`: only another token helps; call `connect()` when there is one. `stopped`: the
 * server refuses this client (4400), for good. `closed`: `close()` was called.
 *
 * @typedef {"no_token" | "token_unusable" | "token_rejected" | "no_session"} SignedOutReason
 * `no_token`: `getToken` gave null. `token_unusable`: it gave something else than a string.
 * `token_rejected`: it gave the token that the server has refused. `no_session`: there is no
 * `getToken`, and the server accepts no Django session.
 *
 * @typedef {"not_recovered" | "lost" | "not_resumed"} MissedReason
 * `not_recovered`: the server could not replay what was published since the position. `lost`:
 * the live connection lost messages that can't be replayed. `not_resumed`: the session began
 * anew, without a replay, because the server recorded nothing or had ended the one before.
 *
 * @typedef {object} Position
 * Where this client is in the two streams of messages; the values are the server's own affair.
 * @property {string} [user]  what is published to the user
 * @property {string} [common]  what is broadcast
 *
 * @typedef {"connect" | "expiring" | "rejected" | "renew"} TokenReason
 *
 * @typedef {object} TokenRequest
 * @property {TokenReason} reason
 * @property {string | null} rejected  the token that the server refused: it won't be sent again
 * @property {AbortSignal} signal  aborted when the answer no longer matters
 *
 * @typedef {(request: TokenRequest) => string | null | Promise<string | null>} GetToken
 * null: nobody is signed in, stop. A rejection: not now, ask again later.
 *
 * @typedef {object} Options
 * @property {string | URL} [url]  absolute or relative; default `/ws` on the page's host
 * @property {GetToken} [getToken]
 * @property {Position | null} [position]  of the state that the page was loaded with
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
 * @property {SignedOutReason} [reason]  in `signed_out`
 *
 * @typedef {object} PresenceDetail
 * @property {UserId} user
 * @property {boolean} is_online
 * @property {string | null} last_seen  ISO 8601
 *
 * @typedef {object} SubscribedDetail
 * @property {UserId | null} user  null in an anonymous session
 * @property {number | null} expires_in  seconds
 * @property {boolean | null} [recovered]
 * @property {number} [replayed]  how many messages follow as replay
 *
 * @typedef {object} ErrorDetail
 * @property {string} code  one of `ERROR_CODES`, or a newer one
 * @property {string} detail  for the developer's eyes
 * @property {number} [retry_after]  seconds, with `server_busy`
 */

/**
 * @template [Data=any]
 * @typedef {object} EventMap
 * @property {DataEvent<Data>} data  what was published, as it was published
 * @property {CustomEvent<{reason: MissedReason}>} missed  load your state again
 * @property {CustomEvent<PresenceDetail>} presence
 * @property {CustomEvent<SubscribedDetail>} subscribed
 * @property {CustomEvent<ErrorDetail>} error  the server's errors, and the client's own
 * @property {CustomEvent<Record<string, any>>} message  every frame, those above included
 * @property {CustomEvent<StateDetail>} state
 */

/** Close codes of the server. */
export const CLOSE_CODES = Object.freeze({
  BAD_CLIENT: 4400,
  AUTH: 4401,
  TOO_BIG: 4413,
  TOO_MUCH: 4429,
  SERVER_FAILURE: 4500,
  GOING_DOWN: 4503,
});

/** Codes of the `error` event: the server's, then the client's own. */
export const ERROR_CODES = Object.freeze({
  EXPIRED_TOKEN: "expired_token",
  INVALID_TOKEN: "invalid_token",
  USER_NOT_FOUND: "user_not_found",
  AUTH_TIMEOUT: "auth_timeout",
  NOT_AUTHENTICATED: "not_authenticated",
  BAD_MESSAGE: "bad_message",
  FORBIDDEN: "forbidden",
  RATE_LIMITED: "rate_limited",
  TOO_MANY_CONNECTIONS: "too_many_connections",
  MESSAGE_TOO_BIG: "message_too_big",
  LOGGED_OUT: "logged_out",
  SERVER_BUSY: "server_busy",
  INTERNAL_ERROR: "internal_error",
  TOKEN_UNAVAILABLE: "token_unavailable",
  TOKEN_UNUSABLE: "token_unusable",
  SOCKET_UNAVAILABLE: "socket_unavailable",
});

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

/** Events of a client that runs, and where they lead. */
const RUNNING = Object.freeze(
  /** @type {const} */ ({
    attempt: "connecting", // a token is fetched, a socket is opened, or its answer is due
    accept: "live", // the server accepted the token
    plan: "waiting", // for the next attempt; also replaces a wait by another
    signOut: "signed_out",
    stop: "stopped",
    close: "closed",
  }),
);

/**
 * The state machine: the events that each state knows, and where they lead. An event that a
 * state does not know changes nothing.
 *
 * @type {Readonly<Record<State, Partial<Record<keyof typeof RUNNING, State>>>>}
 */
const TRANSITIONS = Object.freeze({
  idle: { attempt: "connecting", plan: "waiting", close: "closed" },
  connecting: RUNNING,
  live: RUNNING,
  waiting: RUNNING,
  signed_out: { attempt: "connecting", plan: "waiting", close: "closed" },
  stopped: { close: "closed" },
  closed: {},
});

const SUBPROTOCOL = "bazis-ws";
/** Where `anonymousToken` keeps its token. */
const ANONYMOUS_KEY = "bazis-ws-anonymous";
/** What a subprotocol may hold (RFC 7230 token); every JWT does, an opaque token may not. */
const SUBPROTOCOL_SAFE = /^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/;
/** Close code of a connection that ended without one (RFC 6455, section 7.4.1). */
const ABNORMAL_CLOSURE = 1006;
/** Errors that end the session while the socket waits for another token. @type {Set<string>} */
const TOKEN_ERRORS = new Set([
  ERROR_CODES.EXPIRED_TOKEN,
  ERROR_CODES.INVALID_TOKEN,
  ERROR_CODES.USER_NOT_FOUND,
]);
const WATCH_CHUNK = 100;
/** The renewal is asked for this long before the end, or at 80 % of a short life. */
const RENEW_MARGIN_MS = 60_000;
const MAX_RETRY_AFTER_MS = 3_600_000;
/** Longer timers fire at once: setTimeout keeps its delay in 32 bits. */
const MAX_TIMER_MS = 2 ** 31 - 1;
const STREAMS = Object.freeze(/** @type {const} */ (["user", "common"]));
const STREAM_POSITION = /^[A-Za-z0-9._-]{1,64}$/;
const SUPERSEDED = new Error("a newer request took the place of this one");

/**
 * Event `data`: `detail` is what was published.
 *
 * @template [Data=any]
 * @extends {CustomEvent<Data>}
 */
export class DataEvent extends CustomEvent {
  /**
   * @param {Data} data
   * @param {boolean} replayed
   */
  constructor(data, replayed) {
    super("data", { detail: data });
    /** Published while this client was away. @readonly */
    this.replayed = replayed;
  }
}

/** One timer: `start` replaces what was planned; delays may be of any length. */
class Timer {
  /** @type {ReturnType<typeof setTimeout> | null} */
  #id = null;

  get isRunning() {
    return this.#id !== null;
  }

  /**
   * @param {number} delayMs
   * @param {() => void} callback
   */
  start(delayMs, callback) {
    this.stop();
    const partMs = Math.min(delayMs, MAX_TIMER_MS);
    const run = () => {
      this.#id = null;
      if (delayMs > partMs) this.start(delayMs - partMs, callback);
      else callback();
    };
    this.#id = setTimeout(run, partMs);
  }

  stop() {
    if (this.#id !== null) clearTimeout(this.#id);
    this.#id = null;
  }
}

/** Growing delays with full jitter, so that a crowd of clients does not come back as one. */
class Backoff {
  #minMs;
  #maxMs;
  #attempts = 0;
  #notBefore = 0;

  /** @param {{minDelayMs: number, maxDelayMs: number}} options */
  constructor({ minDelayMs, maxDelayMs }) {
    this.#minMs = minDelayMs;
    this.#maxMs = maxDelayMs;
  }

  /** Nothing has failed since the last reset. */
  get isFresh() {
    return this.#attempts === 0;
  }

  /** What is left of the wait that the server asked for, in milliseconds. */
  get heldMs() {
    return Math.max(0, this.#notBefore - Date.now());
  }

  /** Count a failure. @returns {number} milliseconds to wait */
  next() {
    this.#attempts += 1;
    const ceiling = Math.min(this.#maxMs, this.#minMs * 2 ** this.#attempts);
    return this.#minMs + Math.random() * (ceiling - this.#minMs);
  }

  reset() {
    this.#attempts = 0;
  }

  /** Allow no attempt before this time has passed. @param {number} delayMs */
  hold(delayMs) {
    this.#notBefore = Date.now() + delayMs;
  }
}

/** Finds out that a link is dead: pings after a silence, and waits for any frame. */
class Heartbeat {
  #intervalMs;
  #timeoutMs;
  #sendPing;
  #onDead;
  #silence = new Timer();
  #answer = new Timer();
  #heardAt = 0;

  /**
   * @param {{pingIntervalMs: number, pongTimeoutMs: number}} options
   * @param {() => boolean} sendPing  false where nothing could be sent
   * @param {() => void} onDead
   */
  constructor({ pingIntervalMs, pongTimeoutMs }, sendPing, onDead) {
    this.#intervalMs = pingIntervalMs;
    this.#timeoutMs = pongTimeoutMs;
    this.#sendPing = sendPing;
    this.#onDead = onDead;
  }

  start() {
    this.heard();
    this.#silence.start(this.#intervalMs, () => this.#checkSilence());
  }

  stop() {
    this.#silence.stop();
    this.#answer.stop();
  }

  /** A frame came. */
  heard() {
    this.#heardAt = Date.now();
    this.#answer.stop();
  }

  /** Look at the link now. */
  ping() {
    if (!this.#sendPing() || this.#answer.isRunning) return;
    this.#answer.start(this.#timeoutMs, this.#onDead);
  }

  #checkSilence() {
    const silenceMs = Date.now() - this.#heardAt;
    const heardSince = silenceMs >= 0 && silenceMs < this.#intervalMs;
    if (!heardSince) this.ping();
    const leftMs = heardSince ? this.#intervalMs - silenceMs : this.#intervalMs;
    this.#silence.start(leftMs, () => this.#checkSilence());
  }
}

/** What `ask` gives where there is no token to send. */
class NoToken {
  /** @param {"no_token" | "token_unusable" | "failed" | "superseded"} reason */
  constructor(reason) {
    this.reason = reason;
  }
}

/** Holds the token, asks for the next one, and knows when and what became of it. */
class TokenKeeper {
  /** @type {string | null} */
  token = null;
  /** The token that the server refused last. @type {string | null} */
  rejected = null;
  /** The token went out on the open socket, and the server has not answered it. */
  isUnanswered = false;

  #getToken;
  #options;
  #handlers;
  /** @type {AbortController | null} */
  #asking = null;
  #timeout = new Timer();
  #renewal = new Timer();
  #renewalBackoff;
  /** @type {number | null} */
  #expiresAt = null;
  /** @type {number | null} */
  #renewAt = null;

  /**
   * @param {{getToken?: GetToken} & typeof DEFAULTS} options
   * @param {object} handlers
   * @param {(code: string, detail: string) => void} handlers.onError
   * @param {() => void} handlers.onRenewalDue
   */
  constructor({ getToken, ...options }, handlers) {
    this.#getToken = getToken;
    this.#options = options;
    this.#handlers = handlers;
    this.#renewalBackoff = new Backoff(options);
  }

  get canAsk() {
    return this.#getToken !== undefined;
  }

  get isAsking() {
    return this.#asking !== null;
  }

  /** The token can be sent as it is. */
  get isGood() {
    if (this.token === null || this.token === this.rejected) return false;
    return this.#expiresAt === null || Date.now() < this.#expiresAt - this.#options.minDelayMs;
  }

  /** @param {string} token */
  take(token) {
    this.token = token;
    this.#expiresAt = null;
  }

  /** The server accepted the token. @param {number | null} expiresInMs */
  accepted(expiresInMs) {
    this.rejected = null;
    this.isUnanswered = false;
    this.#planRenewal(expiresInMs);
  }

  /** The server refused the token. */
  reject() {
    this.rejected = this.token;
    this.isUnanswered = false;
  }

  forget() {
    this.token = this.#expiresAt = null;
    this.abandon();
    this.stopRenewal();
  }

  /** Give up what is being asked. */
  abandon() {
    this.#asking?.abort(SUPERSEDED);
  }

  stopRenewal() {
    this.#renewal.stop();
  }

  /** There is no new token yet: ask again, later each time. */
  postponeRenewal() {
    if (this.#renewAt === null) return;
    this.#startRenewal(Math.max(this.#renewAt - Date.now(), this.#renewalBackoff.next()));
  }

  /**
   * Ask `getToken`. A newer request takes the place of this one.
   *
   * @param {TokenReason} reason
   * @returns {Promise<string | NoToken>}
   */
  async ask(reason) {
    this.abandon();
    const asking = new AbortController();
    const { signal } = asking;
    this.#asking = asking;
    try {
      const answer = await this.#race(reason, asking);
      return signal.aborted ? new NoToken("superseded") : this.#judge(answer, signal);
    } catch (error) {
      if (signal.reason === SUPERSEDED) return new NoToken("superseded");
      return this.#complain("failed", ERROR_CODES.TOKEN_UNAVAILABLE, String(error), signal);
    } finally {
      if (this.#asking === asking) {
        this.#asking = null;
        this.#timeout.stop();
      }
    }
  }

  /**
   * @param {TokenReason} reason
   * @param {AbortController} asking
   * @returns {Promise<unknown>} rejected when `asking` is aborted
   */
  #race(reason, asking) {
    const { signal } = asking;
    const aborted = new Promise((_, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason), { once: true });
    });
    this.#timeout.start(this.#options.tokenTimeoutMs, () => {
      asking.abort(new Error("getToken took too long"));
    });
    const request = { reason, rejected: this.rejected, signal };
    const asked = (async () => this.#getToken?.(request))(); // may throw instead of rejecting
    return Promise.race([asked, aborted]);
  }

  /**
   * @param {unknown} answer
   * @param {AbortSignal} signal
   */
  #judge(answer, signal) {
    if (typeof answer === "string" && answer !== "") return answer;
    if (answer === null) return new NoToken("no_token");
    const hint = "return the token as a string, or null when nobody is signed in";
    const detail = `getToken returned ${kindOf(answer)}: ${hint}`;
    return this.#complain("token_unusable", ERROR_CODES.TOKEN_UNUSABLE, detail, signal);
  }

  /**
   * @param {"failed" | "token_unusable"} reason
   * @param {string} code
   * @param {string} detail
   * @param {AbortSignal} signal
   */
  #complain(reason, code, detail, signal) {
    this.#handlers.onError(code, detail);
    // A listener may have closed or restarted the client.
    return new NoToken(signal.reason === SUPERSEDED ? "superseded" : reason);
  }

  /** @param {number | null} expiresInMs */
  #planRenewal(expiresInMs) {
    this.stopRenewal();
    this.#renewalBackoff.reset();
    this.#expiresAt = this.#renewAt = null;
    if (expiresInMs === null) return;
    this.#expiresAt = Date.now() + expiresInMs;
    if (!this.canAsk) return;
    const marginMs = Math.min(RENEW_MARGIN_MS, expiresInMs * 0.2) * (0.5 + Math.random() / 2);
    const delayMs = Math.max(this.#options.minDelayMs, expiresInMs - marginMs);
    this.#renewAt = Date.now() + delayMs;
    this.#startRenewal(delayMs);
  }

  /** @param {number} delayMs */
  #startRenewal(delayMs) {
    this.#renewal.start(delayMs, this.#handlers.onRenewalDue);
  }
}

/**
 * Keeps the place in the published messages, so that the next session resumes there.
 *
 * The position of a message counts as soon as the listeners have handled the message, or as a
 * listener reconnects.
 */
class PositionKeeper {
  /** @type {Position | null} */
  #kept = null;
  /** Position of the message that is being handled. @type {unknown} */
  #arriving = null;
  /** Whose position it is; undefined until the first session. @type {UserId | null | undefined} */
  #user = undefined;
  /** A position was dropped, and nobody has been told of the gap. */
  #hasGap = false;

  /** @param {Position | null} [position]  of the state that the page was loaded with */
  constructor(position = null) {
    this.#kept = position === null ? null : merged(null, position);
    if (position !== null && this.#kept === null) {
      throw new TypeError("position must be an object such as {user: '...', common: '...'}");
    }
  }

  get position() {
    return this.#kept;
  }

  /** Where to resume: a listener that reconnects has got the message that it handles. */
  get since() {
    this.settle();
    return this.#kept;
  }

  /** A message came. @param {unknown} position */
  arrive(position) {
    this.#arriving = position;
  }

  /** The listeners have run. */
  settle() {
    this.#kept = merged(this.#kept, this.#arriving);
    this.#arriving = null;
  }

  /**
   * The server accepted a token.
   *
   * @param {{user: UserId | null, position?: unknown, recovered?: boolean | null}} message
   * @param {boolean} isNewSession  not a renewal
   * @returns {MissedReason | null} why messages were missed
   */
  begin({ user, position, recovered }, isNewSession) {
    const isSameUser = this.#user === undefined || user === this.#user;
    const hadPosition = this.#kept !== null || this.#hasGap;
    const goesOn = recovered === true || (!isNewSession && recovered !== false);
    this.#user = user;
    this.#hasGap = false;
    this.#arriving = position;
    if (goesOn && isSameUser) return null;
    this.#kept = null;
    if (recovered === false) return "not_recovered";
    return hadPosition && isSameUser ? "not_resumed" : null;
  }

  /** The server ended the sessions: what follows is not of this position. */
  drop() {
    this.#hasGap ||= this.#kept !== null;
    this.#kept = this.#arriving = null;
  }

  /** The user signed out: the next one begins afresh. */
  forget() {
    this.drop();
    this.#hasGap = false;
  }
}

/** One socket at a time: opens it, notices that its link is dead, and gives it up at once. */
class Connection {
  #options;
  #handlers;
  #heartbeat;
  #openTimer = new Timer();
  /** @type {WebSocket | null} */
  #socket = null;

  /**
   * @param {typeof DEFAULTS & {WebSocket: typeof globalThis.WebSocket}} options
   * @param {object} handlers
   * @param {(message: Record<string, any>) => void} handlers.onMessage
   * @param {(code: number) => void} handlers.onClose  after the server's close, or a dead link
   */
  constructor(options, handlers) {
    this.#options = options;
    this.#handlers = handlers;
    const sendPing = () => this.send({ type: "ping" });
    this.#heartbeat = new Heartbeat(options, sendPing, () => this.#onDead());
  }

  get isOpen() {
    return this.#socket?.readyState === 1;
  }

  /** Tells one socket from the next. */
  get socket() {
    return this.#socket;
  }

  /**
   * Open a socket in place of the one before. Throws where the page may not open it.
   *
   * @param {string} url
   * @param {string[]} protocols
   * @param {() => void} onOpen
   */
  open(url, protocols, onOpen) {
    this.drop(); // one that is still closing
    const socket = new this.#options.WebSocket(url, protocols);
    this.#socket = socket;
    this.#openTimer.start(this.#options.openTimeoutMs, () => this.#onDead());
    socket.onopen = () => {
      this.#openTimer.stop();
      this.#heartbeat.start();
      onOpen();
    };
    socket.onmessage = (event) => {
      this.#heartbeat.heard();
      const message = parse(event.data);
      if (message !== null) this.#handlers.onMessage(message);
    };
    socket.onclose = (event) => this.#handlers.onClose(event.code);
  }

  /** @param {unknown} message @returns {boolean} false when the socket is not open */
  send(message) {
    if (!this.isOpen) return false;
    this.#socket?.send(JSON.stringify(message));
    return true;
  }

  /** Look at the link now. */
  check() {
    this.#heartbeat.ping();
  }

  drop() {
    const socket = this.#socket;
    this.#socket = null;
    this.#openTimer.stop();
    this.#heartbeat.stop();
    if (!socket) return;
    // A dead link may take minutes to tell of its end: don't wait for it, don't hear of it.
    socket.onopen = socket.onmessage = socket.onclose = null;
    if (socket.readyState <= 1) socket.close(1000);
  }

  #onDead() {
    this.#handlers.onClose(ABNORMAL_CLOSURE);
  }
}

/** Listens to the page: the network comes and goes, the page is hidden and shown. */
class PageListener {
  #onNetwork;
  #onShown;
  /** @type {AbortController | null} */
  #listening = null;

  /**
   * @param {object} handlers
   * @param {(isOnline: boolean) => void} handlers.onNetwork
   * @param {() => void} handlers.onShown
   */
  constructor({ onNetwork, onShown }) {
    this.#onNetwork = () => onNetwork(isOnline());
    this.#onShown = () => {
      if (globalThis.document?.visibilityState === "visible") onShown();
    };
  }

  start() {
    this.stop();
    this.#listening = new AbortController();
    const { signal } = this.#listening;
    globalThis.addEventListener?.("online", this.#onNetwork, { signal });
    globalThis.addEventListener?.("offline", this.#onNetwork, { signal });
    globalThis.document?.addEventListener("visibilitychange", this.#onShown, { signal });
  }

  stop() {
    this.#listening?.abort();
  }
}

/**
 * A connection that signs in, stays, comes back, and tells what is published to the user.
 *
 * @template [Data=any]
 */
export class BazisWsClient extends EventTarget {
  #options;
  /** @type {State} */
  #state = "idle";
  #moves = 0;
  /** @type {UserId | null} */
  #user = null;
  /** @type {Set<UserId>} */
  #watched = new Set();
  /** Beginning of the session; null outside of one. @type {number | null} */
  #liveSince = null;
  /** The open socket's `auth_timeout` came. */
  #authTimedOut = false;
  /** What the open socket's `server_busy` asked for. @type {number | null} */
  #retryAfterMs = null;
  #retryTimer = new Timer();
  #backoff;
  #connection;
  #tokens;
  #positions;
  #page;

  /** @param {Options} [options] */
  constructor(options = {}) {
    super();
    const given = Object.entries(options).filter(([, value]) => value !== undefined);
    /** @type {typeof DEFAULTS & Options} */
    const all = { ...DEFAULTS, ...Object.fromEntries(given) };
    const WebSocket = all.WebSocket ?? globalThis.WebSocket;
    this.#options = { ...all, WebSocket, url: socketUrl(all.url) };
    this.#backoff = new Backoff(this.#options);
    this.#positions = new PositionKeeper(this.#options.position);
    this.#connection = new Connection(this.#options, {
      onMessage: (message) => this.#onMessage(message),
      onClose: (code) => this.#onClose(code),
    });
    this.#tokens = new TokenKeeper(this.#options, {
      onError: (code, detail) => this.#emit("error", { code, detail }),
      onRenewalDue: () => this.#renew("expiring"),
    });
    // Timers of a hidden or sleeping page run late, and a link may go with its network.
    this.#page = new PageListener({
      onShown: () => this.#connection.check(),
      onNetwork: (online) => {
        this.#connection.check();
        if (online) this.#hurry();
      },
    });
  }

  /** What the connection is doing. @returns {State} */
  get state() {
    return this.#state;
  }

  /**
   * The signed-in user's id, as of the last `subscribed`; null in an anonymous session.
   *
   * @returns {UserId | null}
   */
  get user() {
    return this.#user;
  }

  /** The ids followed now. @returns {UserId[]} */
  get watched() {
    return [...this.#watched];
  }

  /**
   * Where the next session resumes; null where the server records nothing.
   *
   * @returns {Readonly<Position> | null}
   */
  get position() {
    return this.#positions.position;
  }

  /**
   * Listen with a typed event; the same as `addEventListener`.
   *
   * @template {keyof EventMap<Data>} K
   * @param {K} type
   * @param {(event: EventMap<Data>[K]) => void} listener
   * @returns {() => void} stops listening
   */
  on(type, listener) {
    const callback = /** @type {EventListener} */ (/** @type {unknown} */ (listener));
    this.addEventListener(type, callback);
    return () => this.removeEventListener(type, callback);
  }

  /**
   * Start, start again after `signed_out`, or cut a wait short. Never shortens the wait that the
   * server asked for (4413, 4429, `server_busy`). Throws after `close()` or a 4400.
   */
  connect() {
    if (!TRANSITIONS[this.#state].attempt) {
      throw new Error(`cannot connect a client that is ${this.#state}; make a new one`);
    }
    if (this.#state !== "idle" && this.#state !== "signed_out") return this.#hurry();
    this.#page.start();
    this.#backoff.reset();
    const { heldMs } = this.#backoff;
    if (heldMs > 0) this.#planRetry(heldMs, null);
    else this.#authenticate("connect");
  }

  /** Close for good: no event follows the last `state`. */
  close() {
    this.#end("close");
  }

  /** Ask `getToken` now, and send what it gives: the user has changed, or the rights have. */
  renew() {
    if (this.#state === "live" && this.#tokens.canAsk) this.#renew("renew");
    else this.#tokens.token = null; // the next attempt asks
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

  /** Follow these users no longer. @param {Iterable<UserId>} users */
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
    return this.#state === "live" && this.#connection.send(message);
  }

  // --- signing in ---------------------------------------------------------------------------

  /**
   * Get a token if one is needed, then send it on the open socket or open one with it.
   *
   * @param {TokenReason} reason
   */
  async #authenticate(reason) {
    this.#retryTimer.stop();
    if (!this.#move("attempt")) return;
    if (this.#tokens.canAsk && !this.#tokens.isGood) {
      const answer = await this.#tokens.ask(reason);
      if (this.#state !== "connecting") return;
      if (answer instanceof NoToken) return this.#onNoToken(answer.reason);
      if (answer === this.#tokens.rejected) return this.#signOut("token_rejected");
      this.#tokens.take(answer);
    }
    if (this.#connection.isOpen) this.#sendToken();
    else this.#open();
  }

  /** @param {NoToken["reason"]} reason */
  #onNoToken(reason) {
    if (reason === "superseded") return;
    if (reason === "failed") this.#planRetry(this.#nextDelay(), null);
    else this.#signOut(reason);
  }

  /**
   * Send a new token in the running session. The old one stays good until its end, so nothing
   * that goes wrong here disturbs the session.
   *
   * @param {TokenReason} reason
   */
  async #renew(reason) {
    this.#tokens.stopRenewal();
    const answer = await this.#tokens.ask(reason);
    if (this.#state !== "live") return;
    if (answer instanceof NoToken) {
      if (answer.reason === "superseded") return;
      if (answer.reason === "no_token") return this.#signOut("no_token", null);
      return this.#tokens.postponeRenewal();
    }
    // The same token again would be answered with a shorter `expires_in`, over and over.
    if (answer === this.#tokens.token) return this.#tokens.postponeRenewal();
    this.#tokens.token = answer;
    this.#sendToken();
  }

  #sendToken() {
    const { token } = this.#tokens;
    // A renewal does not interrupt the session: there is nothing to resume.
    const since = this.#state === "live" ? null : this.#positions.since;
    const message = since === null ? { token } : { token, since };
    this.#tokens.isUnanswered = this.#connection.send(message);
  }

  #open() {
    this.#dropSocket();
    const { token } = this.#tokens;
    const offered = token !== null && SUBPROTOCOL_SAFE.test(token) ? [SUBPROTOCOL, token] : [];
    const tokenFollows = token !== null && offered.length === 0;
    // The position travels with what signs in: with the handshake, or with the token's message.
    const since = tokenFollows ? null : this.#positions.since;
    const url = resumingUrl(this.#options.url, since);
    const onOpen = () => {
      if (tokenFollows) this.#sendToken();
    };
    try {
      this.#connection.open(url, offered, onOpen);
    } catch (error) {
      // The page may not open this socket at all (mixed content, a wrong URL): no use retrying.
      this.#emit("error", { code: ERROR_CODES.SOCKET_UNAVAILABLE, detail: String(error) });
      if (this.#state === "connecting") this.#end("stop");
    }
  }

  /** Give up the socket, and what is known of it. */
  #dropSocket() {
    this.#connection.drop();
    this.#tokens.isUnanswered = false;
    this.#authTimedOut = false;
    this.#retryAfterMs = null;
  }

  /**
   * @param {"watch" | "unwatch"} type
   * @param {UserId[]} users
   */
  #sendUsers(type, users) {
    // A new session sends the whole list; one without a user may not watch.
    if (this.#state !== "live" || this.#user === null) return;
    for (let start = 0; start < users.length; start += WATCH_CHUNK) {
      this.#connection.send({ type, users: users.slice(start, start + WATCH_CHUNK) });
    }
  }

  // --- what the server says -----------------------------------------------------------------

  /** @param {Record<string, any>} message */
  #onMessage(message) {
    const isInSession = this.#liveSince !== null;
    if (isInSession) this.#positions.arrive(message.position);
    if (message.type === "subscribed") this.#onSubscribed(message);
    else if (message.type === "error") this.#onError(message);
    else if (message.type === "presence") this.#emit("presence", message);
    // What is still under way when a session ends belongs to nobody.
    else if (message.type === "data" && isInSession) this.#onData(message);
    else if (message.type === "missed" && isInSession) this.#emit("missed", { reason: "lost" });
    this.#emit("message", message);
    this.#positions.settle();
  }

  /** @param {any} message */
  #onData({ data, replayed }) {
    this.#dispatch(new DataEvent(data, replayed === true));
  }

  /** @param {any} message */
  #onSubscribed(message) {
    const isSession = this.#state === "live" && this.#liveSince !== null;
    // Another token without a user is another session.
    const isRenewal = isSession && message.user === this.#user && message.user !== null;
    const missed = this.#positions.begin(message, !isRenewal);
    const seconds = Number.isFinite(message.expires_in) ? message.expires_in : null;
    this.#user = message.user;
    this.#liveSince ??= Date.now();
    this.#retryTimer.stop();
    this.#tokens.accepted(seconds === null ? null : seconds * 1000);
    if (!isRenewal) {
      this.#move("accept");
      this.#sendUsers("watch", [...this.#watched]);
    }
    this.#emit("subscribed", message);
    if (missed !== null) this.#emit("missed", { reason: missed });
  }

  /** @param {any} message */
  #onError(message) {
    const { socket } = this.#connection;
    this.#emit("error", message);
    if (socket !== this.#connection.socket) return; // a listener closed it
    if (message.code === ERROR_CODES.AUTH_TIMEOUT) this.#authTimedOut = true;
    else if (message.code === ERROR_CODES.SERVER_BUSY) this.#onServerBusy(message.retry_after);
    else if (message.code === ERROR_CODES.LOGGED_OUT) this.#onLoggedOut();
    else if (TOKEN_ERRORS.has(message.code)) this.#onTokenRefused(message.code);
  }

  /** The close follows. @param {unknown} seconds  with the server's jitter in them */
  #onServerBusy(seconds) {
    if (typeof seconds !== "number" || !(seconds >= 0)) return;
    this.#retryAfterMs = Math.min(seconds * 1000, MAX_RETRY_AFTER_MS);
  }

  /** The close follows. */
  #onLoggedOut() {
    this.#tokens.reject();
    this.#positions.drop();
    this.#endSession();
  }

  /**
   * The session is over, the socket is not: it waits for another token.
   *
   * @param {string} code
   */
  #onTokenRefused(code) {
    const isRenewing = this.#state === "live" && this.#tokens.isUnanswered;
    this.#endSession();
    if (isRenewing && code === ERROR_CODES.EXPIRED_TOKEN) {
      this.#move("attempt"); // the old token's end: the answer to the new one follows
      return;
    }
    this.#tokens.reject();
    if (!this.#tokens.canAsk) return this.#signOut("no_session");
    const isFirst = this.#backoff.isFresh;
    const delayMs = this.#nextDelay();
    if (isFirst) this.#authenticate("rejected");
    else this.#planRetry(delayMs, null);
  }

  /** @param {number} code */
  #onClose(code) {
    const retryAfterMs = this.#retryAfterMs;
    const isRefusal = code === CLOSE_CODES.AUTH && this.#isAboutToken();
    this.#dropSocket();
    this.#endSession();
    if (code === CLOSE_CODES.BAD_CLIENT) return this.#end("stop", { code });
    if (code === CLOSE_CODES.TOO_MUCH || code === CLOSE_CODES.TOO_BIG) {
      return this.#hold(this.#options.longDelayMs * (1 + Math.random()), code);
    }
    if (retryAfterMs !== null) {
      const waitMs = retryAfterMs * (1 + Math.random() / 4);
      return this.#hold(Math.max(waitMs, this.#nextDelay()), code);
    }
    if (isRefusal) this.#tokens.reject();
    if (isRefusal && !this.#tokens.canAsk) return this.#signOut("no_session");
    // A token is being fetched, or will be: that goes on and opens the next socket.
    const isFetching = this.#tokens.isAsking && this.#state === "connecting";
    if (this.#retryTimer.isRunning || isFetching) return;
    this.#planRetry(this.#nextDelay(), code);
  }

  /** A 4401 now would be about the token, and not about a wait that the server cut short. */
  #isAboutToken() {
    // Without a word on the token sent last, the close is about the one before.
    if (this.#tokens.isUnanswered) return false;
    return !this.#authTimedOut || !this.#tokens.canAsk;
  }

  #endSession() {
    const since = this.#liveSince;
    this.#liveSince = null;
    this.#tokens.stopRenewal();
    // A session that ended at once does not count: a server in a crash loop accepts us too.
    if (since !== null && Date.now() - since >= this.#options.stableMs) this.#backoff.reset();
    if (this.#state === "live") this.#tokens.abandon(); // it was a renewal
  }

  // --- coming back, and stopping ------------------------------------------------------------

  /** Count a failure. @returns {number} milliseconds until the next attempt */
  #nextDelay() {
    const delayMs = this.#backoff.next();
    // Without a network the "online" event comes first, if the browser is right.
    return isOnline() ? delayMs : Math.max(delayMs, this.#options.maxDelayMs);
  }

  /**
   * Wait as the server asked; nothing cuts this short.
   *
   * @param {number} delayMs
   * @param {number} code
   */
  #hold(delayMs, code) {
    this.#tokens.abandon();
    this.#backoff.hold(delayMs);
    this.#planRetry(delayMs, code);
  }

  /**
   * @param {number} delayMs
   * @param {number | null} code
   */
  #planRetry(delayMs, code) {
    this.#retryTimer.start(delayMs, () => this.#retry());
    this.#move("plan", { code, retryInMs: delayMs });
  }

  #retry() {
    this.#authenticate(this.#tokens.rejected === null ? "connect" : "rejected");
  }

  #hurry() {
    if (this.#state === "waiting" && this.#backoff.heldMs === 0) this.#retry();
  }

  /**
   * @param {SignedOutReason} reason
   * @param {number | null} code
   */
  #signOut(reason, code = this.#tokens.rejected === null ? null : CLOSE_CODES.AUTH) {
    this.#positions.forget();
    this.#end("signOut", { code, reason });
  }

  /**
   * @param {keyof typeof RUNNING} event
   * @param {{code?: number | null, reason?: SignedOutReason}} [detail]
   */
  #end(event, detail) {
    this.#page.stop();
    this.#retryTimer.stop();
    this.#tokens.forget();
    this.#liveSince = null;
    this.#dropSocket();
    this.#move(event, detail);
  }

  /**
   * Go where `TRANSITIONS` says, and tell.
   *
   * @param {keyof typeof RUNNING} event
   * @param {{code?: number | null, retryInMs?: number | null, reason?: SignedOutReason}} [detail]
   * @returns {boolean} false when the event does not apply, or a listener moved the client on
   */
  #move(event, { code = null, retryInMs = null, reason } = {}) {
    const previous = this.#state;
    const state = TRANSITIONS[previous][event];
    if (state === undefined) return false;
    this.#state = state;
    const move = ++this.#moves;
    if (state === previous && state !== "waiting") return true;
    const detail = { state, previous, retryInMs, code };
    this.#emit("state", reason === undefined ? detail : { ...detail, reason });
    return move === this.#moves;
  }

  /**
   * @param {keyof EventMap} type
   * @param {unknown} detail
   */
  #emit(type, detail) {
    this.#dispatch(new CustomEvent(type, { detail }));
  }

  /** @param {Event} event */
  #dispatch(event) {
    if (this.#state !== "closed" || event.type === "state") this.dispatchEvent(event);
  }
}

/**
 * The token of this tab's anonymous session: for `getToken`, and for the request after which the
 * server is to answer (`publish_anonymous`). Made at the first call and kept in `sessionStorage`;
 * throws where the page may have none. The server must allow them (`BAZIS_WS_ANONYMOUS`).
 */
export function anonymousToken() {
  const kept = sessionStorage.getItem(ANONYMOUS_KEY);
  if (kept !== null) return kept;
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  const token = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  sessionStorage.setItem(ANONYMOUS_KEY, token);
  return token;
}

// --- functions without a state ----------------------------------------------------------------

function isOnline() {
  return globalThis.navigator?.onLine !== false;
}

/** @param {string | URL} [url] */
function socketUrl(url = "/ws") {
  const absolute = new URL(url, globalThis.location?.href);
  absolute.protocol = absolute.protocol.replace(/^http/, "ws");
  absolute.hash = ""; // the WebSocket constructor throws on one
  return absolute.href;
}

/**
 * @param {string} url
 * @param {Position | null} since
 */
function resumingUrl(url, since) {
  if (since === null) return url;
  const resuming = new URL(url);
  const before = resuming.search === "" ? "" : `${resuming.search}&`;
  resuming.search = `${before}since=${since.user ?? ""}~${since.common ?? ""}`;
  return resuming.href;
}

/** @param {unknown} text @returns {Record<string, any> | null} null for what is no message */
function parse(text) {
  try {
    const message = JSON.parse(/** @type {string} */ (text));
    const isObject = message !== null && typeof message === "object" && !Array.isArray(message);
    return isObject ? message : null;
  } catch {
    return null;
  }
}

/**
 * @param {Position | null} kept
 * @param {any} news  of any shape
 * @returns {Position | null} frozen
 */
function merged(kept, news) {
  const valid = STREAMS.filter((stream) => {
    const value = news?.[stream];
    return typeof value === "string" && STREAM_POSITION.test(value);
  });
  if (valid.length === 0) return kept;
  const entries = valid.map((stream) => [stream, news[stream]]);
  return Object.freeze({ ...kept, ...Object.fromEntries(entries) });
}

/** Say what came, by its kind and never by its content. @param {unknown} value */
function kindOf(value) {
  if (value === undefined) return "undefined";
  if (value === "") return "an empty string";
  if (Array.isArray(value)) return "an array";
  if (value === null || typeof value !== "object") return `a ${typeof value}`;
  const name = Object.getPrototypeOf(value)?.constructor?.name ?? "Object";
  if (name !== "Object") return `a ${name}`;
  const keys = Object.keys(value).slice(0, 5);
  return keys.length > 0 ? `an object with the keys ${keys.join(", ")}` : "an object without keys";
}
