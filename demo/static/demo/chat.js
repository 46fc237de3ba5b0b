/** Conversations with one person at a time, kept for this tab. */

import { byId, make, timeOf } from "./dom.js";
import { api } from "./session.js";

const KEPT = 200;
const NOTES = {
  sending: "sending…",
  sent: "sent",
  saved_offline: "will arrive at the next sign-in",
  failed: "not sent",
};

export class Chat {
  #people;
  #key;
  /** @type {Record<string, {mine: boolean, text: string, at: string, note?: string}[]>} */
  #talks;

  /**
   * @param {import("./people.js").People} people
   * @param {{id: number}} me
   */
  constructor(people, me) {
    this.#people = people;
    this.#key = `demo.talks.${me.id}`;
    this.#talks = JSON.parse(sessionStorage.getItem(this.#key) ?? "{}");
    people.addEventListener("chosen", () => this.#open());
    people.addEventListener("changed", () => this.#title());
    byId("chat-form").onsubmit = (event) => {
      event.preventDefault();
      this.#submit();
    };
    this.#open();
  }

  /** @param {any} message */
  receive({ sender, message, timestamp }) {
    const talk = this.#talk(sender.id);
    // A message saved for an offline user may, rarely, come twice: it is the same one.
    if (talk.some((line) => !line.mine && line.at === timestamp && line.text === message)) return;
    const line = { mine: false, text: message, at: timestamp };
    this.#add(sender.id, line);
    if (this.#people.chosen?.id !== sender.id) this.#people.countUnread(sender.id);
  }

  #talk(id) {
    this.#talks[id] ??= [];
    return this.#talks[id];
  }

  async #submit() {
    const input = byId("chat-text");
    const person = this.#people.chosen;
    const text = input.value.trim();
    if (!person || !text) return;
    input.value = "";
    const line = { mine: true, text, at: new Date().toISOString(), note: "sending" };
    const element = this.#add(person.id, line);
    try {
      const body = { recipient_id: person.id, message: text };
      line.note = (await api("chat/send/", { body })).status;
    } catch (error) {
      line.note = "failed";
      if (!input.value) input.value = text; // for another try
      element.title = String(error.message ?? error);
    }
    element.querySelector(".note").textContent = NOTES[line.note] ?? line.note;
    element.dataset.note = line.note;
    this.#keep();
  }

  #add(id, line) {
    const talk = this.#talk(id);
    talk.push(line);
    talk.splice(0, Math.max(0, talk.length - KEPT));
    this.#keep();
    const element = this.#element(line);
    if (this.#people.chosen?.id === id) this.#append(element);
    return element;
  }

  #append(element) {
    const log = byId("chat-log");
    log.querySelector(".empty")?.remove();
    log.append(element);
    log.scrollTop = log.scrollHeight;
  }

  #element(line) {
    const text = make("p", { className: "text", textContent: line.text, dir: "auto" });
    const time = make("time", { dateTime: line.at, textContent: timeOf(line.at) });
    const note = make("span", { className: "note", textContent: NOTES[line.note] ?? "" });
    const foot = make("p", { className: "foot" }, time, " ", note);
    const whose = line.mine ? "mine" : "theirs";
    const data = line.note ? { note: line.note } : {};
    return make("div", { className: `line ${whose}`, data }, text, foot);
  }

  #open() {
    const person = this.#people.chosen;
    this.#title();
    const input = byId("chat-text");
    input.disabled = byId("chat-form").querySelector("button").disabled = !person;
    input.placeholder = person ? `Write to ${person.username}` : "Choose somebody first";
    const lines = person ? this.#talk(person.id) : [];
    const hint = person
      ? `Say hello to ${person.username}. Offline? It arrives at the next sign-in.`
      : "Choose somebody from the list.";
    const empty = make("p", { className: "hint empty", textContent: hint });
    const log = byId("chat-log");
    log.replaceChildren(...(lines.length ? lines.map((line) => this.#element(line)) : [empty]));
    log.scrollTop = log.scrollHeight;
    if (person && matchMedia("(pointer: fine)").matches) input.focus();
  }

  #title() {
    const person = this.#people.chosen;
    byId("chat-title").textContent = person ? `Chat with ${person.username}` : "Chat";
    if (!person) return;
    const status = person.isOnline ? "online" : "offline";
    byId("chat-title").append(" ", make("span", { className: "hint", textContent: status }));
  }

  #keep() {
    sessionStorage.setItem(this.#key, JSON.stringify(this.#talks));
  }
}
