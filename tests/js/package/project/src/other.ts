/** Imports the package and uses nothing of it: a bundler leaves the client out. */

import * as client from "bazis-ws-channels";

console.log(typeof client.ERROR_CODES);
