/** Lines that show themselves for a while, above everything else. */

import { byId, make } from "./dom.js";

const SHOWN_MS = 6_000;
/** @type {Map<string, {element: any, timer: number}>} */
const named = new Map();

/**
 * Show a line. Another with the same name takes its place.
 *
 * @param {string} text
 * @param {{name?: string, percent?: number}} [options]  `percent`: with a bar
 */
export function toast(text, { name = text, percent } = {}) {
  const { element, timer } = named.get(name) ?? { element: makeToast(), timer: 0 };
  const [line, bar] = element.children;
  line.textContent = text;
  bar.value = percent ?? 0;
  bar.hidden = percent === undefined;
  // A screen reader need not hear each step.
  element.setAttribute("aria-live", percent === undefined ? "polite" : "off");
  clearTimeout(timer);
  named.set(name, { element, timer: setTimeout(() => dismiss(name), SHOWN_MS) });
}

/**
 * Show what happens in a part of the page that is not on the screen, on a phone say.
 *
 * @param {HTMLElement} part
 * @param {string} text
 * @param {{name?: string, percent?: number}} [options]
 */
export function toastUnlessSeen(part, text, options) {
  const { top, bottom } = part.getBoundingClientRect();
  if (top > window.innerHeight || bottom < 0) toast(text, options);
  else dismiss(options?.name ?? text);
}

/** @param {string} name */
function dismiss(name) {
  named.get(name)?.element.remove();
  named.delete(name);
}

function makeToast() {
  const line = make("p", { className: "text", dir: "auto" });
  const bar = make("progress", { max: 100, aria: { hidden: true } });
  const element = make("div", { className: "toast" }, line, bar);
  byId("toasts").append(element);
  return element;
}
