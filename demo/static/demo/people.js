/** Who is there: the list, kept live by presence messages. */

import { agoOf, byId, make } from "./dom.js";
import { api } from "./session.js";

export class People extends EventTarget {
  #client;
  #me;
  /**
   * @type {Map<number, {
   *   id: number, username: string, isOnline: boolean, lastSeen: string | null
   * }>}
   */
  #people = new Map();
  /** By id: a message may come before the list of people does. @type {Map<number, number>} */
  #unread = new Map();
  #rows = new Map();
  #chosen = null;

  /**
   * @param {import("../bazis_ws_channels/client.js").BazisWsClient} client
   * @param {{id: number}} me
   */
  constructor(client, me) {
    super();
    this.#client = client;
    this.#me = me;
    client.on("presence", ({ detail }) => this.#change(detail));
    this.ageing = setInterval(() => this.#show(), 30_000);
    byId("people").replaceChildren();
  }

  get chosen() {
    return this.#people.get(this.#chosen) ?? null;
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
    this.#show();
  }

  /** @param {number} id */
  choose(id) {
    this.#chosen = id;
    this.#unread.delete(id);
    this.#show();
    this.dispatchEvent(new Event("chosen"));
  }

  /** @param {number} id */
  countUnread(id) {
    this.#unread.set(id, (this.#unread.get(id) ?? 0) + 1);
    this.#show();
  }

  end() {
    clearInterval(this.ageing);
  }

  #change({ user, is_online, last_seen }) {
    const person = this.#people.get(user);
    if (!person) return;
    person.isOnline = is_online;
    person.lastSeen = last_seen;
    this.#show();
    this.dispatchEvent(new Event("changed"));
  }

  #show() {
    const people = [...this.#people.values()];
    const online = people.filter((person) => person.isOnline).length;
    byId("people-count").textContent = `${online} of ${people.length} online`;
    const unread = [...this.#unread.values()].reduce((sum, count) => sum + count, 0);
    document.title = `${unread ? `(${unread}) ` : ""}bazis_ws_channels demo`;
    for (const person of people) this.#row(person);
  }

  #row(person) {
    if (!this.#rows.has(person.id)) this.#rows.set(person.id, this.#makeRow(person));
    const { button, status, badge } = this.#rows.get(person.id);
    button.dataset.online = person.isOnline;
    button.setAttribute("aria-pressed", person.id === this.#chosen);
    const seen = person.lastSeen ? `seen ${agoOf(person.lastSeen)}` : "offline";
    status.textContent = person.isOnline ? "online" : seen;
    const unread = this.#unread.get(person.id) ?? 0;
    badge.hidden = unread === 0;
    badge.textContent = String(unread);
    badge.setAttribute("aria-label", `${unread} unread`);
  }

  #makeRow({ id, username }) {
    const status = make("span", { className: "hint status" });
    const badge = make("span", { className: "badge", hidden: true });
    const initial = [...username][0]?.toUpperCase() ?? "?";
    const avatar = make("span", { className: "avatar", textContent: initial });
    avatar.setAttribute("aria-hidden", "true");
    const name = make("span", { className: "name", textContent: username });
    const words = make("span", { className: "words" }, name, status);
    const button = make("button", { type: "button", data: { person: username } });
    button.append(avatar, words, badge);
    button.onclick = () => this.choose(id);
    byId("people").append(make("li", {}, button));
    return { button, status, badge };
  }
}
