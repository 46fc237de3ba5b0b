// Made from client.js by `npm run declarations` in tests/js: don't edit it.

/**
 * The token of this tab's anonymous session: for `getToken`, and for the request after which the
 * server is to answer (`publish_anonymous`). Made at the first call and kept in `sessionStorage`;
 * throws where the page may have none. The server must allow them (`BAZIS_WS_ANONYMOUS`).
 */
export function anonymousToken(): string;
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
/** Close codes of the server. */
export const CLOSE_CODES: Readonly<{
    BAD_CLIENT: 4400;
    AUTH: 4401;
    TOO_BIG: 4413;
    TOO_MUCH: 4429;
    SERVER_FAILURE: 4500;
    GOING_DOWN: 4503;
}>;
/** Codes of the `error` event: the server's, then the client's own. */
export const ERROR_CODES: Readonly<{
    EXPIRED_TOKEN: "expired_token";
    INVALID_TOKEN: "invalid_token";
    USER_NOT_FOUND: "user_not_found";
    AUTH_TIMEOUT: "auth_timeout";
    NOT_AUTHENTICATED: "not_authenticated";
    BAD_MESSAGE: "bad_message";
    FORBIDDEN: "forbidden";
    RATE_LIMITED: "rate_limited";
    TOO_MANY_CONNECTIONS: "too_many_connections";
    MESSAGE_TOO_BIG: "message_too_big";
    LOGGED_OUT: "logged_out";
    SERVER_BUSY: "server_busy";
    INTERNAL_ERROR: "internal_error";
    TOKEN_UNAVAILABLE: "token_unavailable";
    TOKEN_UNUSABLE: "token_unusable";
    SOCKET_UNAVAILABLE: "socket_unavailable";
}>;
/**
 * Event `data`: `detail` is what was published.
 *
 * @template [Data=any]
 * @extends {CustomEvent<Data>}
 */
export class DataEvent<Data = any> extends CustomEvent<Data> {
    /**
     * @param {Data} data
     * @param {boolean} replayed
     */
    constructor(data: Data, replayed: boolean);
    /** Published while this client was away. @readonly */
    readonly replayed: boolean;
}
/**
 * A connection that signs in, stays, comes back, and tells what is published to the user.
 *
 * @template [Data=any]
 */
export class BazisWsClient<Data = any> extends EventTarget {
    /** @param {Options} [options] */
    constructor(options?: Options);
    /** What the connection is doing. @returns {State} */
    get state(): State;
    /**
     * The signed-in user's id, as of the last `subscribed`; null in an anonymous session.
     *
     * @returns {UserId | null}
     */
    get user(): UserId | null;
    /** The ids followed now. @returns {UserId[]} */
    get watched(): UserId[];
    /**
     * Where the next session resumes; null where the server records nothing.
     *
     * @returns {Readonly<Position> | null}
     */
    get position(): Readonly<Position> | null;
    /**
     * Listen with a typed event; the same as `addEventListener`.
     *
     * @template {keyof EventMap<Data>} K
     * @param {K} type
     * @param {(event: EventMap<Data>[K]) => void} listener
     * @returns {() => void} stops listening
     */
    on<K extends keyof EventMap<Data>>(type: K, listener: (event: EventMap<Data>[K]) => void): () => void;
    /**
     * Start, start again after `signed_out`, or cut a wait short. Never shortens the wait that the
     * server asked for (4413, 4429, `server_busy`). Throws after `close()` or a 4400.
     */
    connect(): void;
    /** Close for good: no event follows the last `state`. */
    close(): void;
    /** Ask `getToken` now, and send what it gives: the user has changed, or the rights have. */
    renew(): void;
    /**
     * Follow the online status of these users; kept across reconnections.
     *
     * @param {Iterable<UserId>} users
     */
    watch(users: Iterable<UserId>): void;
    /** Follow these users no longer. @param {Iterable<UserId>} users */
    unwatch(users: Iterable<UserId>): void;
    /**
     * Send a message of the project's own (a subclass of the consumer reads it).
     *
     * @param {Record<string, unknown>} message
     * @returns {boolean} false when there is no live session: nothing is queued
     */
    send(message: Record<string, unknown>): boolean;
    #private;
}
/**
 * A user's primary key as the server writes it: a number for integer keys, else a string.
 */
export type UserId = number | string;
/**
 * `live`: what is published arrives. `waiting`: the connection is lost and a retry is planned.
 * `signed_out`: only another token helps; call `connect()` when there is one. `stopped`: the
 * server refuses this client (4400), for good. `closed`: `close()` was called.
 */
export type State = "idle" | "connecting" | "live" | "waiting" | "signed_out" | "stopped" | "closed";
/**
 * `no_token`: `getToken` gave null. `token_unusable`: it gave something else than a string.
 * `token_rejected`: it gave the token that the server has refused. `no_session`: there is no
 * `getToken`, and the server accepts no Django session.
 */
export type SignedOutReason = "no_token" | "token_unusable" | "token_rejected" | "no_session";
/**
 * `not_recovered`: the server could not replay what was published since the position. `lost`:
 * the live connection lost messages that can't be replayed. `not_resumed`: the session began
 * anew, without a replay, because the server recorded nothing or had ended the one before.
 */
export type MissedReason = "not_recovered" | "lost" | "not_resumed";
/**
 * Where this client is in the two streams of messages; the values are the server's own affair.
 */
export type Position = {
    /**
     * what is published to the user
     */
    user?: string | undefined;
    /**
     * what is broadcast
     */
    common?: string | undefined;
};
export type TokenReason = "connect" | "expiring" | "rejected" | "renew";
export type TokenRequest = {
    reason: TokenReason;
    /**
     * the token that the server refused: it won't be sent again
     */
    rejected: string | null;
    /**
     * aborted when the answer no longer matters
     */
    signal: AbortSignal;
};
/**
 * null: nobody is signed in, stop. A rejection: not now, ask again later.
 */
export type GetToken = (request: TokenRequest) => string | null | Promise<string | null>;
export type Options = {
    /**
     * absolute or relative; default `/ws` on the page's host
     */
    url?: string | URL | undefined;
    getToken?: GetToken | undefined;
    /**
     * of the state that the page was loaded with
     */
    position?: Position | null | undefined;
    /**
     * shortest wait before a reconnection
     */
    minDelayMs?: number | undefined;
    /**
     * longest one
     */
    maxDelayMs?: number | undefined;
    /**
     * shortest wait after 4413 and 4429; the longest is twice that
     */
    longDelayMs?: number | undefined;
    /**
     * a session shorter than this does not reset the backoff
     */
    stableMs?: number | undefined;
    /**
     * silence after which a ping is sent
     */
    pingIntervalMs?: number | undefined;
    /**
     * silence after a ping that means a dead link
     */
    pongTimeoutMs?: number | undefined;
    openTimeoutMs?: number | undefined;
    tokenTimeoutMs?: number | undefined;
    /**
     * for runtimes that have none of their own
     */
    WebSocket?: {
        new (url: string | URL, protocols?: string | string[]): WebSocket;
        prototype: WebSocket;
        readonly CONNECTING: 0;
        readonly OPEN: 1;
        readonly CLOSING: 2;
        readonly CLOSED: 3;
    } | undefined;
};
export type StateDetail = {
    state: State;
    previous: State;
    /**
     * while `waiting`
     */
    retryInMs: number | null;
    /**
     * the close code that led here; 1006 for a dead link
     */
    code: number | null;
    /**
     * in `signed_out`
     */
    reason?: SignedOutReason | undefined;
};
export type PresenceDetail = {
    user: UserId;
    is_online: boolean;
    /**
     * ISO 8601
     */
    last_seen: string | null;
};
export type SubscribedDetail = {
    /**
     * null in an anonymous session
     */
    user: UserId | null;
    /**
     * seconds
     */
    expires_in: number | null;
    recovered?: boolean | null | undefined;
    /**
     * how many messages follow as replay
     */
    replayed?: number | undefined;
};
export type ErrorDetail = {
    /**
     * one of `ERROR_CODES`, or a newer one
     */
    code: string;
    /**
     * for the developer's eyes
     */
    detail: string;
    /**
     * seconds, with `server_busy`
     */
    retry_after?: number | undefined;
};
export type EventMap<Data = any> = {
    /**
     * what was published, as it was published
     */
    data: DataEvent<Data>;
    /**
     * load your state again
     */
    missed: CustomEvent<{
        reason: MissedReason;
    }>;
    presence: CustomEvent<PresenceDetail>;
    subscribed: CustomEvent<SubscribedDetail>;
    /**
     * the server's errors, and the client's own
     */
    error: CustomEvent<ErrorDetail>;
    /**
     * every frame, those above included
     */
    message: CustomEvent<Record<string, any>>;
    state: CustomEvent<StateDetail>;
};
