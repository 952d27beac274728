/**
 * Looks at certificates and keys that somebody else made, before they are used:
 * the runtime's TLS says of a bad one nothing, or something else.
 *
 * PEM is RFC 7468.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";

/** The first certificate in a PEM text; null when there is none. */
export function certificateIn(pem: string): X509Certificate | null {
  try {
    return new X509Certificate(pem);
  } catch {
    return null;
  }
}

/** What is wrong with a certificate and its key, or null. */
export function pairProblem(
  cert: string,
  key: Uint8Array,
): { readonly of: "cert" | "key"; readonly found: string } | null {
  const certificate = certificateIn(cert);
  if (certificate === null) return { of: "cert", found: "no PEM certificate" };
  const privateKey = keyIn(key);
  if (privateKey === null) {
    return { of: "key", found: "no PEM private key without a passphrase" };
  }
  return certificate.checkPrivateKey(privateKey)
    ? null
    : { of: "key", found: "the key of another certificate" };
}

function keyIn(pem: Uint8Array): KeyObject | null {
  try {
    return createPrivateKey(Buffer.from(pem));
  } catch {
    return null;
  }
}
