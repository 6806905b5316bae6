/** Lets machines in; see `join.ts`. */
export const joinProtocol = "/skein/join/2";
/** Shows the membership certificate to members that have not heard of this node yet. */
export const helloProtocol = "/skein/hello/1";
/** All that a stranger may speak, and how it can become a member. */
export const admittingProtocols: ReadonlySet<string> = new Set([joinProtocol, helloProtocol]);
/** What a stranger may send in one request, and how long it may take over it. */
export const strangerLimits = { maxBytes: 16 * 2 ** 10, receiveMs: 3_000 };
