/** Run at the root of the repository: `npm run lint` in this folder does. */

import js from "@eslint/js";
import globals from "globals";

const rules = {
  "max-len": ["error", { code: 100, ignoreUrls: true }],
  curly: ["error", "multi-line"],
  eqeqeq: "error",
  "no-else-return": "error",
  "no-implicit-coercion": "error",
  "no-shadow": "error",
  "no-unused-vars": ["error", { argsIgnorePattern: "^_" }],
  "no-var": "error",
  "object-shorthand": "error",
  "prefer-const": "error",
  "prefer-template": "error",
};

/** What keeps a part small: the client is one file, but none of its functions is long. */
const small = {
  complexity: ["error", 12],
  "max-depth": ["error", 3],
  "max-lines-per-function": ["error", { max: 40, skipComments: true, skipBlankLines: true }],
  "max-params": ["error", 4],
};

export default [
  { ignores: ["**/node_modules/", "**/*.d.ts"] },
  js.configs.recommended,
  { rules, linterOptions: { reportUnusedDisableDirectives: "error" } },
  {
    files: ["bazis_ws_channels/static/**/*.js"],
    languageOptions: { globals: globals.browser },
    rules: small,
  },
  { files: ["demo/static/**/*.js"], languageOptions: { globals: globals.browser } },
  { files: ["tests/js/**/*.mjs"], languageOptions: { globals: globals.node } },
];
