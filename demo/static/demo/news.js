/** Announcements to everybody. */

import { byId, make, timeOf } from "./dom.js";
import { api, reasonOf } from "./session.js";
import { toast, toastUnlessSeen } from "./toasts.js";

const SHOWN = 20;

export class News {
  /** @param {{is_staff: boolean}} me */
  constructor(me) {
    byId("news").replaceChildren();
    byId("news-empty").hidden = false;
    byId("news-form").hidden = !me.is_staff;
    byId("news-form").onsubmit = (/** @type {Event} */ event) => {
      event.preventDefault();
      this.#announce(byId("news-text"));
    };
  }

  /** @param {any} message */
  receive({ message }) {
    const text = make("p", { className: "text", textContent: message, dir: "auto" });
    const at = new Date().toISOString();
    const time = make("time", { dateTime: at, textContent: timeOf(at) });
    byId("news").prepend(make("li", {}, text, make("p", { className: "foot" }, time)));
    byId("news-empty").hidden = true;
    while (byId("news").children.length > SHOWN) byId("news").lastElementChild.remove();
    toastUnlessSeen(byId("news"), `Announcement: ${message}`);
  }

  /** @param {HTMLInputElement} input */
  async #announce(input) {
    const message = input.value.trim();
    if (!message) return;
    try {
      await api("broadcast/", { body: { message } });
      input.value = "";
    } catch (error) {
      toast(`Not announced: ${reasonOf(error)}`);
    }
  }
}
