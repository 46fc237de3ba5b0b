/** Long tasks and their bars. */

import { byId, make } from "./dom.js";
import { api, reasonOf } from "./session.js";
import { toast, toastUnlessSeen } from "./toasts.js";

const SHOWN = 5;

/** @typedef {{element: any, bar: any, status: any, label: string, ended: boolean}} Row */

export class Tasks {
  /** @type {Map<string, Row>} */
  #rows = new Map();

  constructor() {
    byId("tasks").replaceChildren();
    byId("task-form").onsubmit = (/** @type {Event} */ event) => {
      event.preventDefault();
      this.#start(byId("task-form"));
    };
  }

  /** @param {any} message */
  receive(message) {
    const row = this.#row(message.task_id);
    if (row.ended) return;
    if (message.type === "task_started") this.#say(row, "running", "started", 0);
    if (message.type === "task_progress") {
      this.#say(row, "running", `${message.percent} %`, message.percent);
    }
    if (message.type === "task_completed") this.#say(row, "completed", "done", 100);
    if (message.type === "task_failed") {
      this.#say(row, "failed", `failed: ${message.error ?? "no reason given"}`);
    }
  }

  /** Progress that was told while the connection was away is not replayed. */
  missed() {
    for (const row of this.#rows.values()) {
      if (!row.ended) row.status.textContent = "waiting for news";
    }
  }

  /** @param {HTMLFormElement} form */
  async #start(form) {
    const button = /** @type {HTMLButtonElement} */ (form.querySelector("button"));
    const fail = /** @type {HTMLInputElement} */ (form.elements.namedItem("fail")).checked;
    button.disabled = true;
    try {
      const { task_id } = await api("tasks/", { body: { fail } });
      this.#row(task_id); // its first message may have come before this answer
    } catch (error) {
      toast(`The task was not started: ${reasonOf(error)}`);
    } finally {
      button.disabled = false;
      if (document.activeElement === document.body) button.focus(); // being disabled took it
    }
  }

  /** @param {string} id */
  #row(id) {
    const row = this.#rows.get(id) ?? this.#makeRow(id);
    this.#rows.set(id, row);
    return row;
  }

  /** @param {string} id @returns {Row} */
  #makeRow(id) {
    const label = `Task ${id.slice(0, 8)}`;
    const bar = make("progress", { max: 100, aria: { label } });
    const status = make("span", { className: "status", textContent: "waiting for a worker" });
    const head = make("span", { className: "task-head" }, make("span", { textContent: label }));
    head.append(status);
    const element = make("li", { className: "task", data: { state: "waiting" } }, head, bar);
    byId("tasks").prepend(element);
    while (byId("tasks").children.length > SHOWN) byId("tasks").lastElementChild.remove();
    return { element, bar, status, label, ended: false };
  }

  /**
   * @param {Row} row
   * @param {string} state
   * @param {string} text
   * @param {number} [percent]
   */
  #say(row, state, text, percent) {
    row.element.dataset.state = state;
    row.status.textContent = text;
    row.ended = state === "completed" || state === "failed";
    if (percent !== undefined) row.bar.value = percent;
    if (row.ended) row.status.setAttribute("role", "status");
    const shown = row.ended ? {} : { percent: percent ?? 0 };
    toastUnlessSeen(byId("tasks"), `${row.label}: ${text}`, { name: row.label, ...shown });
  }
}
