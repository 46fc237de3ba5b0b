/**
 * Write client.d.ts from the types in client.js; with `--check`, fail if it is out of date.
 */

import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const here = import.meta.dirname;
const client = join(here, "../../bazis_ws_channels/static/bazis_ws_channels");
const HEAD = "// Made from client.js by `npm run declarations` in tests/js: don't edit it.\n\n";
/** Types are declared by themselves below; their comments need not be there twice. */
const TYPEDEFS = /\/\*\*(?:(?!\*\/)[^])*?@typedef(?:(?!\*\/)[^])*\*\/\n/g;

function declarations() {
  const folder = mkdtempSync(join(tmpdir(), "declarations-"));
  try {
    const tsc = join(here, "node_modules/typescript/bin/tsc");
    const options = ["--noEmit", "false", "--declaration", "--emitDeclarationOnly"];
    const args = [tsc, "--project", here, ...options, "--outDir", folder];
    execFileSync(process.execPath, args, { stdio: "inherit" });
    return HEAD + readFileSync(join(folder, "client.d.ts"), "utf8").replace(TYPEDEFS, "");
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const path = join(client, "client.d.ts");
const fresh = declarations();
if (!process.argv.includes("--check")) {
  writeFileSync(path, fresh);
} else if (readFileSync(path, "utf8") !== fresh) {
  console.error("client.d.ts is out of date: run `npm run declarations` in tests/js");
  process.exitCode = 1;
}
