/**
 * What an orchestrator for small teams has to do, row by row. A test that shows a row to hold
 * names it in brackets at the beginning of its own name.
 */
export const rows: readonly (readonly [group: string, rows: Readonly<Record<string, string>>])[] = [
  [
    "Desired state",
    {
      B1: "The same file a second time changes nothing",
      B2: "Containers that vanish are noticed by event and replaced",
      B3: "The count is right after each of many random kills",
      B4: "Scaling up adds exactly what is missing",
      B5: "Scaling down stops the unhealthy, then the newest, from the fullest node first",
      B6: "A failed container is restarted with back-off, then placed elsewhere; all of it visible",
      B7: "What runs where, with which image and ports, is known and true",
      B8: "What was exported makes an equivalent service",
      B9: "Removal by file, by name and by namespace, of that and nothing else",
      B10: "The same app several times under other names and values",
    },
  ],
  [
    "Scheduling",
    {
      C1: "Placed where resources suffice",
      C2: "The most suitable node, load balanced, replicas of a service spread first",
      C3: "Packing on request",
      C4: "What does not fit waits with a reason for each node, and starts when room appears",
      C5: "Different apps share a machine, each within its limits",
      C6: "The image's platform is respected",
    },
  ],
  [
    "Kinds of work",
    {
      D1: "Pods: containers as one unit",
      D2: "Phases: Pending, Running, Succeeded, Failed, Unknown",
      D5: "Global services: one per node, also on nodes that join later",
      D6: "Jobs that run to completion, with retries",
      D7: "Schedules: exactly once at each due time",
      D8: "One-off runs, and commands in containers",
      D10: "Databases, services and monitoring together from one file",
    },
  ],
  [
    "Updates",
    {
      E1: "One at a time until all are replaced",
      E2: "No failed request during an update",
      E3: "Never fewer than the number asked for (or one fewer, when stopping first)",
      E4: "What changes the container rolls, nothing else restarts anything",
      E5: "Containers are replaced, never changed; the way back stays open",
      E6: "Blue-green: traffic moves in one step, and back in one",
      E7: "A bad version stops at its first batch and goes back by itself",
    },
  ],
  [
    "Health",
    {
      G1: "Checks by command, HTTP and TCP, also for images without a shell",
      G2: "A failing check takes out of routing, then restarts",
      G3: "Unhealthy, Restarted and Healthy are events, with the last probe's output",
      G4: "Nothing that is not ready gets traffic",
      G5: "Checks can be made cheap; too frequent ones are warned of",
    },
  ],
  [
    "Namespaces",
    {
      L1: "Names are unique within a namespace",
      L2: "Removing a namespace removes all that is in it",
      L3: "Quotas for each namespace",
      L4: "Creating what is there already is no error",
    },
  ],
];
