/**
 * What a device has to dial to meet this node, from the settings and from what a
 * running broker wrote down. Pure.
 *
 * | first that is set | gives |
 * | --- | --- |
 * | public_address | host and port |
 * | mqtt_url | all of it: the server that both meet on |
 * | mqtt_listen | host and port; with port 0 those that the broker wrote down |
 *
 * What it does not do: find out whether anybody can reach it.
 *
 * @module
 */

import { UsageError } from "../errors.ts";
import { type Config, showAddress } from "./config.ts";
import type { Listening } from "./pairing_files.ts";

/** What a device dials. */
export interface Dial {
  readonly url: string;
  /** SHA-256 of the certificate to expect; null: none, or a trusted one. */
  readonly certHash: Uint8Array | null;
  /** Only programs on this machine reach it. */
  readonly isNearby: boolean;
}

type Settings = Pick<
  Config,
  "public_address" | "mqtt_url" | "mqtt_listen" | "tls_cert"
>;

const EVERYWHERE: readonly string[] = ["0.0.0.0", "::"];
const NEARBY = /^(?:localhost|127\.\d+\.\d+\.\d+|\[::1\])$/;

/** What devices dial. @throws {UsageError} where nothing says it */
export function dialOf(settings: Settings, listening: Listening | null): Dial {
  const { mqtt_url, tls_cert, public_address } = settings;
  const server = mqtt_url.value;
  const isTls = tls_cert.value !== null;
  const scheme = isTls ? "mqtts" : "mqtt";
  const named = public_address.value;
  if (server !== null) {
    const { protocol, pathname } = new URL(server);
    const url = named === null
      ? server
      : `${protocol}//${showAddress(named)}${pathname}`;
    return { url, certHash: null, isNearby: isNearby(url) };
  }
  const address = named === null
    ? listenedOn(settings, listening)
    : showAddress(named);
  const certHash = isTls ? certHashOf(settings, listening) : null;
  const url = `${scheme}://${address}`;
  return { url, certHash, isNearby: isNearby(url) };
}

function listenedOn(
  { mqtt_listen }: Settings,
  listening: Listening | null,
): string {
  const { hostname, port } = mqtt_listen.value;
  if (EVERYWHERE.includes(hostname)) {
    throw new UsageError(
      `Cannot say what devices dial: mqtt_listen is ${mqtt_listen.text}, ` +
        "every address of this machine, want public_address as well",
    );
  }
  if (port !== 0) return showAddress(mqtt_listen.value);
  if (listening !== null) return listening.mqtt;
  throw new UsageError(
    "Cannot say what devices dial: mqtt_listen has port 0 and the node has " +
      "not run yet, want a port, or the node started",
  );
}

/** A certificate that the broker made itself is known by its hash alone. */
function certHashOf(
  { tls_cert }: Settings,
  listening: Listening | null,
): Uint8Array | null {
  const hash = listening?.certHash ?? null;
  if (hash !== null || tls_cert.value !== "self-signed") return hash;
  throw new UsageError(
    "Cannot say which certificate devices will see: the broker makes it when " +
      "the node starts, want the node started once",
  );
}

function isNearby(url: string): boolean {
  return NEARBY.test(new URL(url).hostname);
}
