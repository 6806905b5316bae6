/**
 * Who is alive and what each member says of itself, on every node and without a master.
 * Knows nothing of containers: records are opaque.
 */
export { type Gossip, type GossipOptions, type KnownMember, startGossip } from "./gossip-runner.ts";
export type { Claim, MemberStatus } from "./member-table.ts";
export { type GossipTiming, gossipTimings } from "./presets.ts";
export type { StateRecord } from "./record-table.ts";
