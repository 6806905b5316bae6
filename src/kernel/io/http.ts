/**
 * Node's HTTP modules. Imported by name, `node:http` would load all of the built-in `fetch` and
 * WebSocket with it, which nothing here uses: a twentieth of a second of every start.
 */
export const http = process.getBuiltinModule("node:http");

/** Loaded by the first who asks: TLS takes longer to load than all of plain HTTP. */
export const https = () => process.getBuiltinModule("node:https");
