import assert from "node:assert/strict";
import { it } from "node:test";

import * as client from "../../bazis_ws_channels/static/bazis_ws_channels/client.js";

it("exports these names", () => {
  const names = ["BazisWsClient", "CLOSE_CODES", "DataEvent", "ERROR_CODES", "anonymousToken"];
  assert.deepEqual(Object.keys(client).sort(), names);
});

it("has frozen close codes", () => {
  assert.ok(Object.isFrozen(client.CLOSE_CODES));
  assert.deepEqual({ ...client.CLOSE_CODES }, {
    BAD_CLIENT: 4400,
    AUTH: 4401,
    TOO_BIG: 4413,
    TOO_MUCH: 4429,
    SERVER_FAILURE: 4500,
    GOING_DOWN: 4503,
  });
});

it("has frozen error codes, named as they are written", () => {
  assert.ok(Object.isFrozen(client.ERROR_CODES));
  for (const [name, code] of Object.entries(client.ERROR_CODES)) {
    assert.equal(name, code.toUpperCase());
  }
});
