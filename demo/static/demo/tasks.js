/** Long tasks and their bars. */

import { byId, make, toast } from "./dom.js";
import { api } from "./session.js";

const SHOWN = 5;

export class Tasks {
  #rows = new Map();

  constructor() {
    byId("tasks").replaceChildren();
    byId("task-form").onsubmit = (event) => {
      event.preventDefault();
      this.#start(event.target);
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

  /** What was told while the connection was away may come again, or be lost. */
  missed() {
    for (const row of this.#rows.values()) {
      if (!row.ended) this.#say(row, row.element.dataset.state, "waiting for news");
    }
  }

  async #start(form) {
    const button = form.querySelector("button");
    button.disabled = true;
    try {
      const { task_id } = await api("tasks/", { body: { fail: form.elements.fail.checked } });
      this.#row(task_id); // its first message may have come before this answer
    } catch (error) {
      toast(`The task was not started: ${error.message}`);
    } finally {
      button.disabled = false;
    }
  }

  #row(id) {
    if (!this.#rows.has(id)) this.#rows.set(id, this.#makeRow(id));
    return this.#rows.get(id);
  }

  #makeRow(id) {
    const label = `Task ${id.slice(0, 8)}`;
    const bar = make("progress", { max: 100, aria: { label } });
    const status = make("span", { className: "status hint", textContent: "waiting for a worker" });
    const head = make("span", { className: "task-head" }, make("span", { textContent: label }));
    head.append(status);
    const element = make("li", { className: "task", data: { state: "waiting" } }, head, bar);
    byId("tasks").prepend(element);
    while (byId("tasks").children.length > SHOWN) byId("tasks").lastElementChild.remove();
    return { element, bar, status, ended: false };
  }

  #say(row, state, text, percent) {
    row.element.dataset.state = state;
    row.status.textContent = text;
    row.ended = state === "completed" || state === "failed";
    if (percent !== undefined) row.bar.value = percent;
    if (row.ended) row.status.setAttribute("role", "status");
  }
}
