/** The only ways in which this page makes elements: text is always text. */

/**
 * @param {string} id
 * @returns {any}
 */
export const byId = (id) => document.getElementById(id);

/**
 * @param {string} tag
 * @param {Record<string, any>} [properties]  set as properties; `data` and `aria` are objects
 * @param {...(Node | string)} children  strings become text nodes
 * @returns {any}
 */
export function make(tag, { data = {}, aria = {}, ...properties } = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  Object.assign(element.dataset, data);
  for (const [name, value] of Object.entries(aria)) element.setAttribute(`aria-${name}`, value);
  element.append(...children);
  return element;
}

/** The round picture of a person: the first letter, in a colour of its own. @param {string} name */
export function avatarOf(name) {
  const letter = [...name][0]?.toUpperCase() ?? "?";
  const avatar = make("span", { className: "avatar", textContent: letter, aria: { hidden: true } });
  const sum = [...name].reduce((total, each) => total + (each.codePointAt(0) ?? 0), 0);
  avatar.style.setProperty("--hue", String((sum * 47) % 360));
  return avatar;
}

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });

/** The time of today, with the day of any other. @param {string} iso */
export function timeOf(iso) {
  const at = new Date(iso);
  const isToday = at.toDateString() === new Date().toDateString();
  return isToday ? clock.format(at) : `${day.format(at)}, ${clock.format(at)}`;
}

const relative = new Intl.RelativeTimeFormat(undefined, { numeric: "auto" });
/** @type {[Intl.RelativeTimeFormatUnit, number][]} */
const UNITS = [["day", 86_400], ["hour", 3_600], ["minute", 60]];

/** @param {string} iso */
export function agoOf(iso) {
  const seconds = Math.max(0, (Date.now() - new Date(iso).getTime()) / 1000);
  for (const [unit, length] of UNITS) {
    if (seconds >= length) return relative.format(-Math.floor(seconds / length), unit);
  }
  return "just now";
}
