/** Who is there: the list, kept live by presence messages. */

import { agoOf, avatarOf, byId, make } from "./dom.js";
import { api } from "./session.js";

/** @typedef {{id: number, username: string, isOnline: boolean, lastSeen: string | null}} Person */

export class People extends EventTarget {
  #client;
  #me;
  #isKnown = true;
  /** @type {Map<number, Person>} */
  #people = new Map();
  /** Unread messages by sender: one may come before the list of people does. */
  #unread = /** @type {Map<number, Set<number>>} */ (new Map());
  #rows = new Map();
  /** @type {number | null} */
  #chosen = null;
  #ageing;

  /**
   * @param {import("../bazis_ws_channels/client.js").BazisWsClient} client
   * @param {{id: number}} me
   */
  constructor(client, me) {
    super();
    this.#client = client;
    this.#me = me;
    client.on("presence", ({ detail }) => this.#change(detail));
    this.#ageing = setInterval(() => this.#show(), 30_000);
    byId("people").replaceChildren();
  }

  get chosen() {
    return this.#chosen === null ? null : (this.#people.get(this.#chosen) ?? null);
  }

  /** Fetch everybody; whoever is new is watched from now on. */
  async load() {
    const { data } = await api("users/user/");
    for (const { id, attributes } of data) {
      if (Number(id) === this.#me.id) continue;
      // Who is watched already is told of by the socket, which may know more than this answer.
      const known = this.#people.get(Number(id));
      this.#people.set(Number(id), {
        id: Number(id),
        username: attributes.username,
        isOnline: known?.isOnline ?? attributes.is_online,
        lastSeen: known ? known.lastSeen : attributes.last_seen,
      });
    }
    this.#client.watch(this.#people.keys());
    this.#changed();
  }

  /** @param {number} id */
  choose(id) {
    this.#chosen = id;
    this.#unread.delete(id);
    this.#show();
    this.dispatchEvent(new Event("chosen"));
  }

  /**
   * @param {number} id
   * @param {number} message  its id: twice the same counts once
   */
  countUnread(id, message) {
    if (!this.#unread.has(id)) this.#unread.set(id, new Set());
    this.#unread.get(id)?.add(message);
    this.#show();
  }

  /** Whether who is online can be known now. @param {boolean} isKnown */
  setKnown(isKnown) {
    this.#isKnown = isKnown;
    this.#changed();
  }

  /** @param {Person} person */
  statusOf({ isOnline, lastSeen }) {
    if (!this.#isKnown) return "presence unknown";
    if (isOnline) return "online";
    return lastSeen ? `seen ${agoOf(lastSeen)}` : "offline";
  }

  end() {
    clearInterval(this.#ageing);
  }

  /** @param {{user: any, is_online: boolean, last_seen: string | null}} presence */
  #change({ user, is_online, last_seen }) {
    const person = this.#people.get(user);
    if (!person) return;
    person.isOnline = is_online;
    person.lastSeen = last_seen;
    this.#changed();
  }

  #changed() {
    this.#show();
    this.dispatchEvent(new Event("changed"));
  }

  #show() {
    const people = [...this.#people.values()];
    const online = people.filter((person) => person.isOnline).length;
    const count = this.#isKnown ? `${online} of ${people.length} online` : "presence unknown";
    byId("people-count").textContent = count;
    const unread = [...this.#unread.values()].reduce((sum, { size }) => sum + size, 0);
    document.title = `${unread ? `(${unread}) ` : ""}bazis_ws_channels demo`;
    for (const person of people) this.#showRow(person);
  }

  /** @param {Person} person */
  #showRow(person) {
    if (!this.#rows.has(person.id)) this.#rows.set(person.id, this.#makeRow(person));
    const { button, status, badge } = this.#rows.get(person.id);
    button.dataset.online = this.#isKnown ? String(person.isOnline) : "unknown";
    button.setAttribute("aria-pressed", person.id === this.#chosen);
    status.textContent = this.statusOf(person);
    const unread = this.#unread.get(person.id)?.size ?? 0;
    badge.hidden = unread === 0;
    badge.textContent = String(unread);
    badge.setAttribute("aria-label", `${unread} unread`);
  }

  /** @param {Person} person */
  #makeRow({ id, username }) {
    const status = make("span", { className: "status" });
    const badge = make("span", { className: "badge", hidden: true });
    const name = make("span", { className: "name", textContent: username, dir: "auto" });
    const words = make("span", { className: "words" }, name, status);
    const button = make("button", { type: "button", data: { person: username }, title: username });
    button.append(avatarOf(username), words, badge);
    button.onclick = () => this.choose(id);
    byId("people").append(make("li", {}, button));
    return { button, status, badge };
  }
}
