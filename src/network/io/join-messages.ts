import { z } from "zod";
import type { NodeId } from "../../kernel/index.ts";

/**
 * First the seed proves that it is a member of the token's cluster; only then the joiner asks
 * to be admitted. Its request is sealed to the cluster key, which the token names: a member
 * that does not vote hands it on without being able to read the token's secret.
 */
export const joinRequestSchema = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("who_are_you") }),
  z.object({ kind: z.literal("admit"), sealed: z.instanceof(Uint8Array) }),
]);

export type JoinRequest =
  | { readonly kind: "who_are_you" }
  | { readonly kind: "admit"; readonly sealed: Uint8Array };

/** What {@link joinRequestSchema} has sealed. */
export const sealedJoinSchema = z.object({
  nodeId: z.string().max(128),
  tokenId: z.string().max(64),
  secret: z.string().max(64),
  name: z.string().min(1).max(64),
  address: z.string().max(300),
  labels: z.record(z.string().max(128), z.string().max(256)),
  publicKeyPem: z.string().max(1_024),
});

export type SealedJoin = z.infer<typeof sealedJoinSchema>;

export const seedSchema = z.object({ membership: z.string().max(2_048) });

/** A node's certificates. */
export const issuedSchema = z.object({ membership: z.string(), tlsCertificatePem: z.string() });

export type Issued = Readonly<z.infer<typeof issuedSchema>>;

export const admittedSchema = issuedSchema.extend({
  clusterId: z.string(),
  caPem: z.string(),
  members: z.array(z.object({ nodeId: z.string(), address: z.string() })).max(10_000),
});

/** What a machine asks for when it joins. The secret is checked by whoever answers. */
export type Admission = {
  readonly nodeId: NodeId;
  readonly name: string;
  readonly address: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly tokenId: string;
  readonly secret: string;
};

export function joinPurpose(clusterId: string): string {
  return `join ${clusterId}`;
}
