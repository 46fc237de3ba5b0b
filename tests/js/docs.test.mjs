import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { it } from "node:test";

import {
  BazisWsClient,
  CLOSE_CODES,
  ERROR_CODES,
} from "../../bazis_ws_channels/static/bazis_ws_channels/client.js";

const root = join(import.meta.dirname, "../..");
const page = readFileSync(join(root, "docs/client.md"), "utf8");
const folder = join(root, "bazis_ws_channels/static/bazis_ws_channels");
const types = readFileSync(join(folder, "client.d.ts"), "utf8");
const source = readFileSync(join(folder, "client.js"), "utf8");

/** The rows of the table between two markers of docs/client.md, without its head. */
function table(name) {
  const [, text] = page.match(new RegExp(`<!-- ${name} -->\n([^]*?)<!-- /${name} -->`));
  const rows = text.trim().split("\n").slice(2);
  return rows.map((row) => row.split("|").slice(1, -1).map((cell) => cell.trim()));
}

const first = (rows) => rows.map(([cell]) => cell.replaceAll("`", "").replace(/\(.*\)/, ""));
const keysOf = (type) => {
  const [, body] = types.match(new RegExp(`export type ${type}\\b[^]*?= \\{\n([^]*?)\n\\};`));
  return [...body.matchAll(/^ {4}(\w+)\??:/gm)].map(([, key]) => key);
};
const valuesOf = (type) => {
  const [, body] = types.match(new RegExp(`export type ${type} = (.*);`));
  return [...body.matchAll(/"(\w+)"/g)].map(([, value]) => value);
};

it("lists the events", () => {
  assert.deepEqual(first(table("events")).sort(), keysOf("EventMap").sort());
});

it("lists the states and reasons", () => {
  assert.deepEqual(first(table("states")).sort(), valuesOf("State").sort());
  assert.deepEqual(first(table("reasons")).sort(), valuesOf("SignedOutReason").sort());
  assert.deepEqual(first(table("missed")).sort(), valuesOf("MissedReason").sort());
});

it("lists the options, with their defaults", () => {
  assert.deepEqual(first(table("options")).sort(), keysOf("Options").sort());
  for (const [name, value] of table("options")) {
    if (!name.endsWith("Ms`")) continue;
    const [, used] = source.match(new RegExp(`^ {2}${name.replaceAll("`", "")}: ([\\d_]+),`, "m"));
    assert.equal(value, `\`${Number(used.replaceAll("_", ""))}\``, name);
  }
});

it("lists the methods and properties", () => {
  const members = Object.getOwnPropertyNames(BazisWsClient.prototype);
  const documented = first(table("members"));
  assert.deepEqual(documented.sort(), members.filter((name) => name !== "constructor").sort());
});

it("lists the codes", () => {
  assert.deepEqual(first(table("errors")), Object.values(ERROR_CODES));
  const closes = table("closes").map(([code, name]) => [name.replaceAll("`", ""), Number(code)]);
  assert.deepEqual(Object.fromEntries(closes), { ...CLOSE_CODES });
});

it("links to headings that are there", () => {
  const headings = [...page.matchAll(/^#+ (.+)$/gm)].map(([, text]) => text.toLowerCase());
  const anchors = headings.map((text) => text.replaceAll(/[^a-z0-9 ]/g, "").replaceAll(" ", "-"));
  for (const [, anchor] of page.matchAll(/\]\(#([^)]+)\)/g)) {
    assert.ok(anchors.includes(anchor), anchor);
  }
});
