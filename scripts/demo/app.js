// The demo's service: says which replica answers, and in which version.
const http = require("node:http");

const version = process.env.VERSION ?? "?";
// A container has a host name of its own; a plain process has a port of its own.
const port = process.env.PORT;
const replica = port === undefined ? require("node:os").hostname() : `port ${port}`;
const server = http.createServer((_request, response) => {
  response.end(`version ${version} on ${replica}\n`);
});
server.listen(Number(port ?? 8080), () => console.log(`version ${version} listens`));
// A polite service ends what it has begun, then goes.
process.on("SIGTERM", () => server.close(() => process.exit(0)));
