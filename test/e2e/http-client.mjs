// A client outside the cluster. Reads one JSON job from argv, prints one JSON result:
//   { targets: [{ host, port, hostHeader? }], intervalMs, count?, keepAlive? }
// Without `count` it asks until its standard input ends. Targets take turns. Each request
// may take `timeoutMs` (default 5000).
import http from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

const job = JSON.parse(process.argv[2]);
const agent = job.keepAlive ? new http.Agent({ keepAlive: true, maxSockets: 4 }) : false;
const startedAt = Date.now();
const samples = [];
let isOver = false;
if (job.count === undefined) {
  process.stdin.resume();
  process.stdin.on("end", () => {
    isOver = true;
  });
}

function ask({ host, port, hostHeader }) {
  const from = performance.now();
  const atMs = Date.now() - startedAt;
  const { promise, resolve } = Promise.withResolvers();
  const done = (result) =>
    resolve({ atMs, tookMs: Math.round(performance.now() - from), target: host, ...result });
  const headers = hostHeader === undefined ? {} : { host: hostHeader };
  const request = http.get({ host, port, headers, agent }, (response) => {
    let body = "";
    response.on("data", (chunk) => {
      body += chunk;
    });
    response.on("end", () => done({ status: response.statusCode, body: body.trim() }));
    response.on("error", (error) => done({ error: error.message }));
  });
  request.setTimeout(job.timeoutMs ?? 5_000, () => request.destroy(new Error("timed out")));
  request.on("error", (error) => done({ error: error.code ?? error.message }));
  return promise;
}

const pending = new Set();
for (let i = 0; !isOver && (job.count === undefined || i < job.count); i += 1) {
  const target = job.targets[i % job.targets.length];
  const one = ask(target).then((sample) => {
    samples.push(sample);
    pending.delete(one);
  });
  pending.add(one);
  // Asked at the interval whether or not the last one is answered, as real clients do.
  if (job.intervalMs > 0) await sleep(job.intervalMs);
  else await one;
}
await Promise.all(pending);
samples.sort((a, b) => a.atMs - b.atMs);
process.stdout.write(JSON.stringify(samples));
