/**
 * What the owner's options and a pairing say about the MQTT server on the way
 * to the node.
 *
 * | option | what it names |
 * | --- | --- |
 * | --mqtt-user NAME | who logs in |
 * | --mqtt-password-file FILE, --mqtt-password-fd N | the password; one line end is cut off |
 * | --mqtt-ca FILE | the certificate of whoever signed the server's |
 * | --mqtt-cert FILE, --mqtt-key FILE | our own certificate and its key |
 *
 * A password is never an option itself: others on the machine can read those.
 *
 * What it does not do: connect.
 *
 * @module
 */

import { Secret } from "../crypto/secret.ts";
import { describeError, UsageError } from "../errors.ts";
import {
  accessProblem,
  type ServerAccess,
  unusedWithoutTls,
} from "../mqtt/access.ts";
import type { Options } from "./arguments.ts";
import { withoutLineEnd } from "./named_file.ts";

/** The options that are about the server. */
export type ServerOptions = Pick<
  Options,
  | "mqtt-user"
  | "mqtt-password-file"
  | "mqtt-password-fd"
  | "mqtt-ca"
  | "mqtt-cert"
  | "mqtt-key"
>;

/** What is known of the server before the options are read. */
export interface ServerFacts {
  /** Null where none is asked. */
  readonly url: string | null;
  /** SHA-256 of its certificate, where the pairing names one. */
  readonly certHash: Uint8Array | null;
}

/**
 * How to get at the server.
 *
 * @throws {UsageError} for options that do not go together, or a bad file
 */
export async function serverAccess(
  options: ServerOptions,
  { url, certHash }: ServerFacts,
): Promise<ServerAccess> {
  const user = options["mqtt-user"];
  const password = await readPassword(options);
  if (password !== null && user === undefined) {
    throw new UsageError("Missing --mqtt-user: whose is the password?");
  }
  const ca = await readPem(options, "mqtt-ca");
  const cert = await readPem(options, "mqtt-cert");
  const key = await readOption(options, "mqtt-key");
  const access: ServerAccess = {
    ...(user === undefined ? {} : { user }),
    ...(password === null ? {} : { password }),
    ...(ca === null ? {} : { ca }),
    ...(cert === null ? {} : { cert }),
    ...(key === null ? {} : { key: new Secret(key) }),
    // An authority that the owner names is asked instead.
    ...(certHash === null || ca !== null ? {} : { certHash }),
  };
  if (url !== null) checkUnderTls(url, access);
  const problem = accessProblem(access);
  if (problem === null) return access;
  throw new UsageError(
    `Cannot use --mqtt-${problem.of}: ${problem.found}, want a PEM file`,
  );
}

/** Who names a certificate means it to be used. */
function checkUnderTls(url: string, access: ServerAccess): void {
  const unused = unusedWithoutTls(url, access);
  if (unused === null) return;
  const what = unused === "certHash"
    ? "the certificate that the pairing names"
    : `--mqtt-${unused}`;
  throw new UsageError(
    `Cannot use ${what}: found an address without TLS, want one that begins ` +
      "with mqtts or wss",
  );
}

async function readPassword(options: ServerOptions): Promise<Secret | null> {
  const named = passwordFile(options);
  if (named === null) return null;
  const content = await readFile(named);
  try {
    return new Secret(withoutLineEnd(content));
  } finally {
    content.fill(0);
  }
}

/** A file, and how the owner named it. */
interface NamedFile {
  readonly path: string;
  readonly name: string;
}

function passwordFile(options: ServerOptions): NamedFile | null {
  const file = options["mqtt-password-file"];
  const descriptor = options["mqtt-password-fd"];
  if (file !== undefined && descriptor !== undefined) {
    throw new UsageError(
      "Cannot use --mqtt-password-file: found --mqtt-password-fd too, " +
        "want one of them",
    );
  }
  if (file !== undefined) {
    return { path: file, name: `--mqtt-password-file ${file}` };
  }
  if (descriptor === undefined) return null;
  if (!/^\d{1,6}$/.test(descriptor)) {
    throw new UsageError(
      `Cannot use --mqtt-password-fd ${JSON.stringify(descriptor)}: want the ` +
        "number of an open descriptor",
    );
  }
  const name = `--mqtt-password-fd ${descriptor}`;
  return { path: `/dev/fd/${descriptor}`, name };
}

type FileOption = "mqtt-ca" | "mqtt-cert" | "mqtt-key";

async function readOption(
  options: ServerOptions,
  name: FileOption,
): Promise<Uint8Array | null> {
  const path = options[name];
  if (path === undefined) return null;
  return await readFile({ path, name: `--${name} ${path}` });
}

async function readPem(
  options: ServerOptions,
  name: FileOption,
): Promise<string | null> {
  const content = await readOption(options, name);
  return content === null ? null : new TextDecoder().decode(content);
}

async function readFile({ path, name }: NamedFile): Promise<Uint8Array> {
  try {
    return await Deno.readFile(path);
  } catch (cause) {
    const found = cause instanceof Deno.errors.NotFound
      ? "no such file"
      : describeError(cause);
    throw new UsageError(`Cannot use ${name}: ${found}`, { cause });
  }
}
