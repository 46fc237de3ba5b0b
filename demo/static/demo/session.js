/** The token: kept for this tab alone, so that two tabs can be two people. */

const KEY = "demo.token";

/** The API said something else than yes. */
export class ApiError extends Error {
  /**
   * @param {number} status
   * @param {string} message
   */
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export const token = {
  get value() {
    return sessionStorage.getItem(KEY);
  },
  set value(text) {
    if (text) sessionStorage.setItem(KEY, text);
    else sessionStorage.removeItem(KEY);
  },
};

/**
 * @param {Response} response
 * @param {any} answer
 */
function problem(response, answer) {
  if (response.status === 429) {
    return `Too many attempts. Try again in ${response.headers.get("Retry-After") ?? 60} s.`;
  }
  if (answer?.error || answer?.detail) return answer.error ?? answer.detail;
  const [field, texts] = Object.entries(answer ?? {})[0] ?? [];
  return field ? `${field}: ${[texts].flat().join(" ")}` : "The server did not understand.";
}

/**
 * @param {string} path  below `/api/v1/`
 * @param {{body?: unknown, signal?: AbortSignal, anonymous?: boolean}} [options]
 * @returns {Promise<any>}
 */
export async function api(path, { body, signal, anonymous = false } = {}) {
  const headers = new Headers();
  if (!anonymous) headers.set("Authorization", `Bearer ${token.value}`);
  if (body !== undefined) headers.set("Content-Type", "application/json");
  const response = await fetch(`/api/v1/${path}`, {
    method: body === undefined ? "GET" : "POST",
    body: body === undefined ? undefined : JSON.stringify(body),
    headers,
    signal,
  });
  const answer = await response.json().catch(() => null);
  if (!response.ok) throw new ApiError(response.status, problem(response, answer));
  return answer;
}

/** What to tell the user. @param {unknown} error */
export function reasonOf(error) {
  return error instanceof ApiError ? error.message : "The server can't be reached.";
}

/** @param {string} username @param {string} password */
export async function signIn(username, password) {
  const answer = await api("token/", { body: { username, password }, anonymous: true });
  token.value = answer.token;
}

/**
 * What the socket asks for: see the package's client.js.
 *
 * @param {import("../bazis_ws_channels/client.js").TokenRequest} request
 */
export async function getToken({ reason, rejected, signal }) {
  if (reason === "expiring" && token.value) {
    try {
      token.value = (await api("token/renew/", { body: {}, signal })).token;
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) return null;
      throw error; // the network, or a server in trouble: asked again later
    }
  }
  return token.value === rejected ? null : token.value;
}
