/**
 * The certificate that the embedded server shows: the operator's own, or one
 * that the broker makes for itself, once.
 *
 * Nobody signs the broker's own certificate, so a device cannot ask an
 * authority; it knows the hash from the pairing string instead.
 *
 * | file in the broker's folder | |
 * | --- | --- |
 * | `tls_key.pem` | the private key (PKCS #8); written first |
 * | `tls_cert.pem` | the certificate; while it is not there, both are made |
 *
 * What it does not do: renew anything. A certificate of the broker's own has no
 * end; the operator's is read at each start.
 *
 * @module
 */

import { sha256 } from "../crypto/hash.ts";
import { Secret } from "../crypto/secret.ts";
import { Bug, ConfigError, describeError } from "../errors.ts";
import { makeCertificate } from "./certificate.ts";
import { certificateIn, pairProblem } from "./pem.ts";

/** What a server shows to those who connect. */
export interface ServerCertificate {
  /** PEM; authorities between may follow. */
  readonly cert: string;
  /** PEM. */
  readonly key: Secret;
  /** SHA-256 of the (first) certificate's DER. */
  readonly hash: Uint8Array;
  /**
   * Whether nobody else signed it. Such a one is worth pinning: it stays the
   * same. One of an authority is renewed every few weeks.
   */
  readonly isSelfSigned: boolean;
}

/** Where the operator keeps a certificate and its key. */
export interface CertificateFiles {
  readonly certFile: string;
  readonly keyFile: string;
}

/** The operator's certificate. @throws {ConfigError} */
export async function readCertificate(
  { certFile, keyFile }: CertificateFiles,
): Promise<ServerCertificate> {
  const cert = await readSetting("tls_cert", certFile);
  const key = await readSetting("tls_key", keyFile);
  return checked(new TextDecoder().decode(cert), key, { certFile, keyFile });
}

/** What the broker's own certificate is made of. */
export interface OwnCertificate {
  /** The broker's folder. */
  readonly folder: string;
  /** Host names and addresses that devices dial. */
  readonly hosts: readonly string[];
  /** Writes a file for its owner alone, whole or not at all. */
  readonly write: (path: string, content: Uint8Array) => Promise<void>;
  readonly now: number;
}

/**
 * The broker's own certificate, made if there is none; durable when it returns.
 *
 * @throws {ConfigError} for files that cannot be used
 */
export async function ownCertificate(
  { folder, hosts, write, now }: OwnCertificate,
): Promise<ServerCertificate> {
  const files = {
    certFile: `${folder}/tls_cert.pem`,
    keyFile: `${folder}/tls_key.pem`,
  };
  if (await exists(files.certFile)) return await readCertificate(files);
  const made = await makeCertificate(hosts, now);
  const utf8 = new TextEncoder();
  await write(files.keyFile, utf8.encode(made.key));
  await write(files.certFile, utf8.encode(made.cert));
  // Devices pin it: it must not be another one after a power cut.
  using directory = await Deno.open(folder);
  await directory.sync();
  return checked(made.cert, utf8.encode(made.key), files);
}

async function exists(path: string): Promise<boolean> {
  try {
    await Deno.stat(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

async function readSetting(name: string, path: string): Promise<Uint8Array> {
  try {
    return await Deno.readFile(path);
  } catch (cause) {
    const found = cause instanceof Deno.errors.NotFound
      ? "no such file"
      : describeError(cause);
    throw new ConfigError(name, path, found, "a PEM file");
  }
}

function checked(
  cert: string,
  key: Uint8Array,
  { certFile, keyFile }: CertificateFiles,
): ServerCertificate {
  const problem = pairProblem(cert, key);
  if (problem?.of === "cert") {
    throw new ConfigError("tls_cert", certFile, problem.found, "a certificate");
  }
  if (problem?.of === "key") {
    throw new ConfigError("tls_key", keyFile, problem.found, "its private key");
  }
  const certificate = certificateIn(cert);
  if (certificate === null) throw new Bug("Found no certificate after a check");
  return {
    cert,
    key: new Secret(key),
    hash: sha256(certificate.raw),
    isSelfSigned: certificate.issuer === certificate.subject,
  };
}
