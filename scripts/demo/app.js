// The demo's service: says which replica answers, and in which version.
const http = require("node:http");

const version = process.env.VERSION ?? "?";
const replica = process.env.SKEIN_TASK ?? require("node:os").hostname();
const server = http.createServer((_request, response) => {
  response.end(`version ${version} on ${replica}\n`);
});
server.listen(Number(process.env.PORT ?? 8080), () => console.log(`version ${version} listens`));
// A polite service ends what it has begun, then goes.
process.on("SIGTERM", () => server.close(() => process.exit(0)));
