import { type NodeId, nodeId } from "../kernel/index.ts";

/** The parts of a TLS peer certificate that can name a node, as `node:tls` gives them. */
export type NamedCertificate = {
  readonly subject?: { readonly CN?: string | readonly string[] | undefined } | undefined;
  readonly subjectaltname?: string | undefined;
};

/** The alternative name that the cluster's CA writes into a node's certificate. */
export function nodeUri(node: NodeId): string {
  return `skein://node/${node}`;
}

/** Every node that a certificate of the cluster's CA could stand for. */
export function nodesNamed(certificate: NamedCertificate): readonly NodeId[] {
  const { subject, subjectaltname = "" } = certificate;
  const uris = [...subjectaltname.matchAll(/skein:\/\/node\/(\w+)/g)].map(([, id]) => id);
  return [subject?.CN ?? [], uris]
    .flat()
    .filter((name) => name !== undefined)
    .map(nodeId);
}

/**
 * Whether a certificate (already checked against the cluster's CA) was issued for this node:
 * by its URI name, or by its common name.
 */
export function namesNode(certificate: NamedCertificate, node: NodeId): boolean {
  if (certificate.subject?.CN === node) return true;
  const names = certificate.subjectaltname ?? "";
  // Node quotes names that contain a separator: a list with one of those is not split.
  if (names.includes('"')) return false;
  return names.split(", ").includes(`URI:${nodeUri(node)}`);
}
