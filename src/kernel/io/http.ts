/**
 * Node's HTTP modules. Imported by name, `node:http` would load all of the built-in `fetch` and
 * WebSocket with it, which nothing here uses: a twentieth of a second of every start.
 */
export const http = process.getBuiltinModule("node:http");
export const https = process.getBuiltinModule("node:https");
