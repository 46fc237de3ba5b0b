/** The page: signed out, or signed in with one connection and the parts that it feeds. */

import { BazisWsClient } from "../bazis_ws_channels/client.js";

import { Chat } from "./chat.js";
import { Connection } from "./connection.js";
import { byId } from "./dom.js";
import { News } from "./news.js";
import { People } from "./people.js";
import { ApiError, api, getToken, reasonOf, signIn, token } from "./session.js";
import { Tasks } from "./tasks.js";
import { toast } from "./toasts.js";
import { Wire } from "./wire.js";

const ENDED = "Your session has ended. Please sign in again.";
/** Ends everything that belongs to a session. */
let end = () => {};

async function enter() {
  const me = await api("me/"); // the position first, all other data second
  const wire = new Wire();
  const { WebSocket } = wire;
  const client = new BazisWsClient({ url: "/ws", getToken, position: me.position, WebSocket });
  const connection = new Connection(client);
  const people = new People(client, me);
  const chat = new Chat(people);
  const tasks = new Tasks();
  const news = new News(me);
  end = () => [client.close(), connection.end(), people.end(), wire.end()];

  client.on("data", ({ detail }) => {
    if (detail.type === "broadcast") news.receive(detail);
    else if (detail.type.startsWith("chat_")) chat.receive(detail);
    else if (detail.type.startsWith("task_")) tasks.receive(detail);
  });
  client.on("missed", () => {
    tasks.missed();
    load(people, chat);
    toast("You missed some messages. What the server keeps has been loaded again.");
  });
  client.on("state", ({ detail }) => {
    if (detail.previous === "live") tasks.missed();
    if (detail.state === "signed_out") leave(ENDED);
    if (detail.state === "stopped") toast("The server refuses this page. Reload it.");
  });
  connection.addEventListener("known", () => {
    people.setKnown(connection.isKnown);
    // The server, or Redis, is back: what was written meanwhile is in the database.
    if (connection.isKnown) load(people, chat);
  });

  byId("me").textContent = me.username;
  show(true);
  await load(wire, people, chat, connection);
  client.connect();
}

/** @param {...{load: () => Promise<void>}} parts */
async function load(...parts) {
  try {
    await Promise.all(parts.map((part) => part.load()));
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) leave(ENDED);
    else toast(`Not everything could be loaded. ${reasonOf(error)}`);
  }
}

/** @param {string} [message] */
function leave(message = "") {
  token.value = null;
  end();
  end = () => {};
  byId("me").textContent = "";
  document.title = "bazis_ws_channels demo";
  show(false);
  say(message);
  byId("username").focus();
}

/** @param {boolean} signedIn */
function show(signedIn) {
  document.body.dataset.signedIn = String(signedIn);
  byId("welcome").hidden = signedIn;
  byId("desk").hidden = byId("account").hidden = !signedIn;
}

/** @param {string} message */
function say(message) {
  byId("sign-in-message").hidden = !message;
  byId("sign-in-message").textContent = message;
}

/** @param {string} username @param {string} password */
async function submit(username, password) {
  const controls = byId("sign-in-controls");
  controls.disabled = true;
  say("");
  try {
    await signIn(username, password);
    await enter();
    byId("sign-in").reset();
    byId("people").querySelector("button")?.focus();
  } catch (error) {
    controls.disabled = false; // or nothing in it can have the focus
    leave(reasonOf(error));
    if (error instanceof ApiError) byId("password").select();
  } finally {
    controls.disabled = false;
  }
}

byId("sign-in").onsubmit = (/** @type {Event} */ event) => {
  event.preventDefault();
  submit(byId("username").value, byId("password").value);
};
for (const chip of document.querySelectorAll(".chip")) {
  /** @type {HTMLElement} */ (chip).onclick = () => submit(chip.textContent ?? "", "demo");
}
byId("sign-out").onclick = () => leave();

if (token.value) enter().catch((error) => leave(error.status === 401 ? ENDED : reasonOf(error)));
else byId("username").focus();
