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
  // Of the whole request: a socket's own timeout would begin only when it is connected.
  const signal = AbortSignal.timeout(job.timeoutMs ?? 5_000);
  const failed = (error) =>
    done({ error: signal.aborted ? "timed out" : (error.code ?? error.message) });
  const request = http.get({ host, port, headers, agent, signal }, (response) => {
    let body = "";
    response.on("data", (chunk) => {
      body += chunk;
    });
    response.on("end", () => done({ status: response.statusCode, body: body.trim() }));
    response.on("error", failed);
  });
  request.on("error", failed);
  return promise;
}

const pending = new Set();
for (let i = 0; !isOver && (job.count === undefined || i < job.count); i += 1) {
  const target = job.targets[i % job.targets.length];
  const one = ask(target).then((sample) => {
    // A sign of life for whoever waits for the load to flow; JSON may begin with a line's end.
    if (samples.length === 0) process.stdout.write("\n");
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
