/** Conversations with one person at a time; the server keeps them. */

import { byId, make, timeOf } from "./dom.js";
import { api, reasonOf } from "./session.js";

/** @type {Record<string, string>} */
const NOTES = {
  sending: "sending…",
  sent: "sent",
  saved_offline: "will arrive at the next sign-in",
};

/** Pixels from the end at which somebody still reads the end. */
const NEAR = 80;
const toEnd = () => byId("chat-log").scrollTo(0, byId("chat-log").scrollHeight);
new ResizeObserver(toEnd).observe(byId("chat-log")); // a keyboard, the drawer

/** Change the log; who reads its end stays there. @param {() => void} change */
function atEnd(change) {
  const { scrollHeight, scrollTop, clientHeight } = byId("chat-log");
  change();
  if (scrollHeight - scrollTop - clientHeight < NEAR) toEnd();
}

/**
 * @typedef {object} Line
 * @property {number | null} id  of the message; null until the server has said it
 * @property {string | null} key  of one's own message, by which it is sent again
 * @property {boolean} isMine
 * @property {string} text
 * @property {string} at
 * @property {string} note
 * @property {any} [element]
 */

export class Chat {
  #people;
  /** By person, oldest first. @type {Map<number, Line[]>} */
  #talks = new Map();
  #isLoaded = false;

  /** @param {import("./people.js").People} people */
  constructor(people) {
    this.#people = people;
    people.addEventListener("chosen", () => this.#open());
    people.addEventListener("changed", () => this.#showTitle());
    byId("chat-form").onsubmit = (/** @type {Event} */ event) => {
      event.preventDefault();
      this.#submit();
    };
    this.#open();
  }

  /** Fetch the conversations so far; what is here already stays as it is. */
  async load() {
    const { messages } = await api("chat/history/");
    const unknown = messages.filter((/** @type {any} */ message) => this.#take(message));
    if (this.#isLoaded) unknown.forEach(this.#countUnread, this);
    this.#isLoaded = true;
  }

  /** A message of the socket. @param {any} message */
  receive(message) {
    this.#take(message);
    this.#countUnread(message);
  }

  /**
   * Show a message, wherever it comes from: the history, the socket, another tab of ours. One that
   * is here already is the same one.
   *
   * @param {any} message
   * @returns {boolean} whether it was not here yet
   */
  #take({ type, id, key = null, sender, recipient, message, timestamp, status = "" }) {
    const isMine = type === "chat_sent";
    const person = isMine ? recipient.id : sender.id;
    const isSame = (/** @type {Line} */ line) => line.id === id || (key && line.key === key);
    const known = this.#talk(person).find(isSame);
    if (known) this.#note(known, status, id);
    else this.#add(person, { id, key, isMine, text: message, at: timestamp, note: status });
    return !known;
  }

  /** @param {any} message */
  #countUnread({ type, id, sender }) {
    if (type !== "chat_message" || this.#people.chosen?.id === sender.id) return;
    this.#people.countUnread(sender.id, id);
  }

  /** @param {number} person @returns {Line[]} */
  #talk(person) {
    const talk = this.#talks.get(person) ?? [];
    this.#talks.set(person, talk);
    return talk;
  }

  #submit() {
    const input = byId("chat-text");
    const person = this.#people.chosen;
    const text = input.value.trim();
    if (!person || !text) return;
    input.value = "";
    const own = { id: null, key: makeKey(), isMine: true, note: "sending" };
    const line = { ...own, text, at: new Date().toISOString() };
    this.#send(person.id, this.#add(person.id, line));
  }

  /** @param {number} person @param {Line} line */
  async #send(person, line) {
    this.#note(line, "sending");
    try {
      const body = { recipient_id: person, message: line.text, key: line.key };
      this.#note(line, (await api("chat/send/", { body })).status);
    } catch (error) {
      if (line.id !== null) return; // only the answer got lost: the socket has brought the message
      this.#note(line, "failed", null, reasonOf(error));
      const retry = make("button", { type: "button", className: "link", textContent: "Try again" });
      retry.onclick = () => {
        byId("chat-text").focus();
        this.#send(person, line);
      };
      atEnd(() => line.element.querySelector(".foot").append(" ", retry));
    }
  }

  /**
   * @param {Line} line
   * @param {string} note
   * @param {number | null} [id]
   * @param {string} [reason]
   */
  #note(line, note, id = line.id, reason = "") {
    line.id = id;
    line.note = note;
    line.element.dataset.note = note;
    line.element.querySelector(".link")?.remove();
    const words = reason ? `not sent: ${reason}` : (NOTES[note] ?? "");
    atEnd(() => line.element.querySelector(".note").replaceChildren(words));
  }

  /**
   * Put a line where it belongs: by the server's order, one's own unsent ones last.
   *
   * @param {number} person
   * @param {Line} line
   */
  #add(person, line) {
    const talk = this.#talk(person);
    const order = line.id ?? Infinity;
    const after = talk.findIndex(({ id }) => (id ?? Infinity) > order);
    const place = after === -1 ? talk.length : after;
    line.element = elementOf(line);
    talk.splice(place, 0, line);
    if (this.#people.chosen?.id === person) {
      const log = byId("chat-log");
      log.querySelector(".empty")?.remove();
      atEnd(() => log.insertBefore(line.element, talk[place + 1]?.element ?? null));
      if (line.note === "sending") toEnd();
    }
    return line;
  }

  #open() {
    const person = this.#people.chosen;
    this.#showTitle();
    const input = byId("chat-text");
    input.disabled = byId("chat-form").querySelector("button").disabled = !person;
    input.placeholder = person ? `Write to ${person.username}` : "Choose somebody first";
    const lines = person ? this.#talk(person.id) : [];
    const hint = person
      ? `Say hello to ${person.username}. Who is offline gets it at the next sign-in.`
      : "Choose somebody to talk to. Messages arrive at once, or at the next sign-in.";
    const empty = make("p", { className: "hint empty", textContent: hint, dir: "auto" });
    const log = byId("chat-log");
    log.setAttribute("aria-live", "off"); // old messages are no news
    log.replaceChildren(...(lines.length ? lines.map(({ element }) => element) : [empty]));
    requestAnimationFrame(() => log.setAttribute("aria-live", "polite"));
    toEnd();
    if (person && matchMedia("(pointer: fine)").matches) input.focus();
  }

  #showTitle() {
    const person = this.#people.chosen;
    byId("chat-title").textContent = person ? `Chat with ${person.username}` : "Chat";
    byId("chat-status").textContent = person ? this.#people.statusOf(person) : "";
  }
}

/** @param {Line} line */
function elementOf({ isMine, text, at, note }) {
  const words = make("p", { className: "text", textContent: text, dir: "auto" });
  const time = make("time", { dateTime: at, textContent: timeOf(at) });
  const status = make("span", { className: "note", textContent: NOTES[note] ?? "" });
  const foot = make("p", { className: "foot" }, time, status);
  const className = `line ${isMine ? "mine" : "theirs"}`;
  return make("div", { className, data: { note } }, words, foot);
}

/** A UUID. `crypto.randomUUID` is missing where the page has no TLS, as with `--host 0.0.0.0`. */
function makeKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}
