/** The drawer that shows each frame, beside the line of code that made it go. */

import { byId, make } from "./dom.js";
import { api } from "./session.js";

const KEPT = 100;
const LONGEST = 600;

/** @typedef {{file: string, line: number, code: string}} Source */

export class Wire {
  /** By type of message. @type {Record<string, Source>} */
  #sources = {};

  constructor() {
    byId("wire-log").replaceChildren();
    byId("wire-open").onclick = () => this.#show(byId("wire").hidden);
    byId("wire-close").onclick = () => this.#show(false);
    byId("wire").onkeydown = (/** @type {KeyboardEvent} */ event) => {
      if (event.key === "Escape") this.#show(false);
    };
  }

  async load() {
    this.#sources = await api("wire/");
  }

  /** A WebSocket for the package's client that shows its frames here. */
  get WebSocket() {
    const add = (/** @type {string} */ way, /** @type {any} */ text) => this.#add(way, text);
    return class extends WebSocket {
      /** @param {string | URL} url @param {string | string[]} [protocols] */
      constructor(url, protocols) {
        super(url, protocols);
        this.addEventListener("message", ({ data }) => add("in", data));
      }

      /** @override @param {any} text */
      send(text) {
        add("out", text);
        super.send(text);
      }
    };
  }

  end() {
    this.#show(false);
  }

  /** @param {boolean} isOpen */
  #show(isOpen) {
    if (byId("wire").hidden === !isOpen) return;
    byId("wire").hidden = !isOpen;
    byId("wire-open").setAttribute("aria-expanded", String(isOpen));
    byId(isOpen ? "wire-close" : "wire-open").focus();
  }

  /** @param {string} way  `in` or `out` @param {string} text */
  #add(way, text) {
    const message = JSON.parse(text);
    if (message.token) message.token = "…"; // it is nobody's business
    const kind = message.data?.type ?? message.type ?? "token";
    const shown = JSON.stringify(message);
    const clipped = shown.length > LONGEST ? `${shown.slice(0, LONGEST)}…` : shown;
    const words = way === "in" ? "from the server" : "from this page";
    byId("wire-log").prepend(
      make(
        "li",
        { data: { way, kind } },
        make("p", { className: "frame-head" }, make("b", { textContent: kind }), ` ${words}`),
        make("code", { className: "frame", textContent: clipped }),
        sourceOf(this.#sources[kind]),
      ),
    );
    byId("wire-empty").hidden = true;
    while (byId("wire-log").children.length > KEPT) byId("wire-log").lastElementChild.remove();
  }
}

/** @param {Source | undefined} source */
function sourceOf(source) {
  if (!source) {
    return make("p", { className: "source hint", textContent: "bazis_ws_channels, by itself" });
  }
  const place = make("span", { className: "hint", textContent: `${source.file}:${source.line}` });
  return make("p", { className: "source" }, place, make("code", { textContent: source.code }));
}
