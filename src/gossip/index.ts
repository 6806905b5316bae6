/**
 * Who is alive and what each member says of itself, on every node and without a master.
 * Knows nothing of containers: records are opaque.
 */
export type { Gossip, GossipOptions } from "./gossip.ts";
export { startGossip } from "./gossip-runner.ts";
export type { Claim, MemberStatus } from "./member-table.ts";
export type { KnownMember } from "./member-view.ts";
export { type GossipTiming, gossipTimings } from "./presets.ts";
export type { StateRecord } from "./record-table.ts";
