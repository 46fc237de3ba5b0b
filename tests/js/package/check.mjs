/**
 * Try the client's npm package as a project would: install, tsc, Vite, vitest, and Vite's
 * development server. The recipes and snippets of docs/client.md are part of that project.
 */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const here = import.meta.dirname;
const root = join(here, "../../..");
const client = join(root, "bazis_ws_channels/static/bazis_ws_channels");
const folder = mkdtempSync(join(tmpdir(), "client-package-"));
const QUIET = ["--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"];

function run(command, ...args) {
  console.log(`$ ${[command, ...args].join(" ")}`);
  execFileSync(command, args, { cwd: folder, stdio: "inherit" });
}

/** Write the page's marked blocks of code as modules of the project. */
function extractRecipes() {
  const page = readFileSync(join(root, "docs/client.md"), "utf8");
  const blocks = page.matchAll(/<!-- (file|snippet): (\S+) -->\n```(\w+)\n([^]*?)```/g);
  const names = [];
  for (const [, kind, name, language, code] of blocks) {
    names.push(kind === "file" ? name : `snippet-${name}.${language}`);
    writeFileSync(join(folder, "src", names.at(-1)), code);
  }
  for (const needed of ["react.ts", "vue.ts", "snippet-token.js"]) {
    assert.ok(names.includes(needed), `docs/client.md has no ${needed}`);
  }
}

/** What Vite built has the client's code, and only where it is used. */
function checkBuild() {
  const built = (name) => {
    const assets = join(folder, "dist", name, "assets");
    return readdirSync(assets).map((file) => readFileSync(join(assets, file), "utf8")).join();
  };
  run("npx", "vite", "build", "--logLevel", "warn", "--outDir", "dist/main");
  assert.match(built("main"), /bazis-ws/);
  const page = readFileSync(join(folder, "index.html"), "utf8");
  writeFileSync(join(folder, "index.html"), page.replace("main.ts", "other.ts"));
  run("npx", "vite", "build", "--logLevel", "warn", "--outDir", "dist/other");
  assert.doesNotMatch(built("other"), /WebSocket/);
  writeFileSync(join(folder, "index.html"), page);
}

/** The development server serves the client to a page that imports it. */
async function checkDevelopmentServer() {
  const require = createRequire(join(folder, "package.json"));
  const vite = await import(pathToFileURL(require.resolve("vite")).href);
  const options = { root: folder, configFile: false, logLevel: "error" };
  const server = await vite.createServer({ ...options, server: { port: 0, host: "127.0.0.1" } });
  try {
    await server.listen();
    const { port } = server.httpServer.address();
    const get = (path) => fetch(`http://127.0.0.1:${port}${path}`);
    const main = await (await get("/src/main.ts")).text();
    const [, path] = main.match(/from "([^"]*(?:bazis-ws-channels|client)\.js[^"]*)"/);
    const response = await get(path);
    assert.equal(response.status, 200, `${path} is refused`);
    assert.match(await response.text(), /BazisWsClient/);
  } finally {
    await server.close();
  }
}

try {
  cpSync(join(here, "project"), folder, { recursive: true });
  extractRecipes();
  run("npm", "install", ...QUIET);
  const pack = ["pack", "--json", "--pack-destination", folder, client];
  const [{ filename }] = JSON.parse(execFileSync("npm", pack, { encoding: "utf8" }));
  run("npm", "install", ...QUIET, `./${filename}`);
  run("npx", "tsc");
  checkBuild();
  run("npx", "vitest", "run");
  run("npm", "install", ...QUIET, client); // by its path, as docs/client.md has it
  run("npx", "tsc");
  await checkDevelopmentServer();
  console.log("the client's package works");
} finally {
  rmSync(folder, { recursive: true });
}
