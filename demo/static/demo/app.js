/** The page: signed out, or signed in with one connection and four parts that it feeds. */

import { BazisWsClient } from "../bazis_ws_channels/client.js";

import { Chat } from "./chat.js";
import { showConnection } from "./connection.js";
import { byId, toast } from "./dom.js";
import { News } from "./news.js";
import { People } from "./people.js";
import { ApiError, api, getToken, signIn, token } from "./session.js";
import { Tasks } from "./tasks.js";

/** @type {BazisWsClient | null} */
let client = null;
/** @type {People | null} */
let people = null;

async function enter() {
  const me = await api("me/"); // the position first, all other data second
  client = new BazisWsClient({ url: "/ws", getToken, position: me.position });
  showConnection(client);
  people = new People(client, me);
  const chat = new Chat(people, me);
  const tasks = new Tasks();
  const news = new News(me);
  const parts = { chat_message: chat, broadcast: news };

  client.on("data", ({ detail }) => {
    const part = parts[detail?.type] ?? (detail?.type?.startsWith?.("task_") ? tasks : null);
    part?.receive(detail);
  });
  client.on("missed", () => {
    tasks.missed();
    load(people);
    toast("You missed some messages. What the server keeps has been loaded again.");
  });
  client.on("state", ({ detail }) => {
    byId("desk").dataset.live = detail.state === "live";
    if (detail.state === "live") load(people);
    if (detail.previous === "live") tasks.missed();
    if (detail.state === "signed_out") leave("Your session has ended. Please sign in again.");
    if (detail.state === "stopped") toast("The server refuses this page. Reload it.");
  });

  byId("me").textContent = me.username;
  show(true);
  client.connect();
}

async function load(list) {
  try {
    await list.load();
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) leave("Please sign in again.");
    else toast(`The list of people did not load: ${error.message}`);
  }
}

function leave(message = "") {
  token.value = null;
  client?.close();
  people?.end();
  client = people = null;
  byId("connection").hidden = true;
  byId("me").textContent = "";
  document.title = "bazis_ws_channels demo";
  show(false);
  say(message);
}

function show(signedIn) {
  document.body.dataset.signedIn = String(signedIn);
  byId("welcome").hidden = signedIn;
  byId("desk").hidden = byId("sign-out").hidden = !signedIn;
  if (!signedIn) byId("username").focus();
}

function say(message) {
  byId("sign-in-message").hidden = !message;
  byId("sign-in-message").textContent = message;
}

async function submit(username, password) {
  const form = byId("sign-in");
  const buttons = form.querySelectorAll("button");
  for (const button of buttons) button.disabled = true;
  say("");
  try {
    await signIn(username, password);
    form.reset();
    await enter();
  } catch (error) {
    leave(error instanceof ApiError ? error.message : "The server can't be reached. Try again.");
  } finally {
    for (const button of buttons) button.disabled = false;
  }
}

byId("sign-in").onsubmit = (event) => {
  event.preventDefault();
  submit(byId("username").value, byId("password").value);
};
for (const chip of document.querySelectorAll(".chip")) {
  chip.onclick = () => submit(chip.dataset.name, "demo");
}
byId("sign-out").onclick = () => leave();

if (token.value) {
  enter().catch((error) => {
    const over = error instanceof ApiError && error.status === 401;
    leave(over ? "Your session has ended. Please sign in again." : "The server can't be reached.");
  });
} else {
  byId("username").focus();
}
