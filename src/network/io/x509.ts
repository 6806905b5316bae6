// Must come before @peculiar/x509, whose dependency injection needs it.
import "reflect-metadata";
import { createPrivateKey, createPublicKey, webcrypto } from "node:crypto";
import * as x509 from "@peculiar/x509";
import type { NodeId } from "../../kernel/index.ts";

x509.cryptoProvider.set(webcrypto as Crypto);

const signing = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;

type Validity = { readonly fromMs: number; readonly untilMs: number };

/** A key on P-256 and the certificate with which it signs those of nodes (RFC 5280). */
export async function createAuthority({
  name,
  fromMs,
  untilMs,
}: Validity & { readonly name: string }): Promise<{
  readonly caPem: string;
  readonly caKeyPem: string;
}> {
  const keys = await webcrypto.subtle.generateKey(signing, true, ["sign", "verify"]);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serial(),
    name,
    notBefore: new Date(fromMs),
    notAfter: new Date(untilMs),
    keys,
    signingAlgorithm: signing,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(
        x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign,
        true,
      ),
    ],
  });
  return { caPem: certificate.toString("pem"), caKeyPem: await exportPem(keys.privateKey) };
}

/** The certificate of a node, PEM: for both ends of TLS, and for the node's name only. */
export async function createNodeCertificate(
  of: Validity & {
    readonly caPem: string;
    readonly caKeyPem: string;
    readonly publicKeyPem: string;
    readonly nodeId: NodeId;
  },
): Promise<string> {
  const signingKey = await webcrypto.subtle.importKey(
    "pkcs8",
    createPrivateKey(of.caKeyPem).export({ format: "der", type: "pkcs8" }),
    signing,
    false,
    ["sign"],
  );
  const publicKey = await webcrypto.subtle.importKey(
    "spki",
    createPublicKey(of.publicKeyPem).export({ format: "der", type: "spki" }),
    signing,
    true,
    ["verify"],
  );
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serial(),
    subject: `CN=${of.nodeId}`,
    issuer: new x509.X509Certificate(of.caPem).subject,
    notBefore: new Date(of.fromMs),
    notAfter: new Date(of.untilMs),
    publicKey,
    signingKey,
    signingAlgorithm: signing,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([
        x509.ExtendedKeyUsage.serverAuth,
        x509.ExtendedKeyUsage.clientAuth,
      ]),
      new x509.SubjectAlternativeNameExtension([
        { type: "url", value: `skein://node/${of.nodeId}` },
      ]),
    ],
  });
  return certificate.toString("pem");
}

async function exportPem(key: webcrypto.CryptoKey): Promise<string> {
  const der = Buffer.from(await webcrypto.subtle.exportKey("pkcs8", key));
  return createPrivateKey({ key: der, format: "der", type: "pkcs8" })
    .export({ format: "pem", type: "pkcs8" })
    .toString();
}

function serial(): string {
  const bytes = webcrypto.getRandomValues(new Uint8Array(16));
  return `01${Buffer.from(bytes).toString("hex")}`;
}
