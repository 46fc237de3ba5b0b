import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { it } from "node:test";

const root = join(import.meta.dirname, "../..");
const folder = join(root, "bazis_ws_channels/static/bazis_ws_channels");
const manifest = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));

it("has the version of the Python package", () => {
  const pyproject = readFileSync(join(root, "pyproject.toml"), "utf8");
  assert.equal(manifest.version, pyproject.match(/^version = "(.+)"$/m)[1]);
});

it("names files that are there", () => {
  const entry = manifest.exports["."];
  const named = [manifest.main, manifest.types, entry.types, entry.default, ...manifest.files];
  for (const name of named) assert.ok(existsSync(join(folder, name)), name);
});

it("needs nothing else, and can be shaken off where it isn't used", () => {
  assert.equal(manifest.sideEffects, false);
  for (const kind of ["dependencies", "peerDependencies", "scripts"]) {
    assert.equal(manifest[kind], undefined);
  }
});

it("can be imported where there is no page", async () => {
  const { BazisWsClient } = await import(join(folder, manifest.main));
  assert.throws(() => new BazisWsClient(), TypeError); // a relative URL needs a page
  assert.equal(new BazisWsClient({ url: "ws://example.test/ws" }).state, "idle");
});
