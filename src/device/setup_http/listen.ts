/**
 * Where the setup pages listen, and which names of that place are believed.
 *
 * | text | place |
 * | --- | --- |
 * | 8080, :8080 | 127.0.0.1, which only this machine reaches |
 * | localhost:8080 | the same |
 * | 192.168.1.5:8080, [::1]:8080 | that address |
 * | eth0:8080 | the interface's first address, IPv4 before IPv6 |
 *
 * All addresses at once (0.0.0.0, [::]) only where they are written out.
 *
 * What it does not do: ask a name server. A name that the network can change is
 * no place to wait for a seed.
 *
 * @module
 */

import { isIP, isIPv6 } from "node:net";
import { UsageError } from "../../errors.ts";

/** An address of this machine, as the system lists it. */
export interface Interface {
  readonly name: string;
  readonly family: "IPv4" | "IPv6";
  readonly address: string;
}

/** Where to listen. */
export interface Place {
  readonly hostname: string;
  readonly port: number;
}

const LOOPBACK = "127.0.0.1";
const EVERYWHERE = ["0.0.0.0", "::"];
const LISTEN = /^(?:(?:\[([^\]]*)\]|([^\]:]*)):)?(\d{1,5})$/;

/** @throws {UsageError} for what is no place of this machine */
export function parseListen(
  text: string,
  interfaces: readonly Interface[],
): Place {
  const [, bracketed, plain, digits] = LISTEN.exec(text) ?? [];
  const hostname = bracketed === undefined
    ? hostOf(plain ?? "", interfaces)
    : isIPv6(bracketed)
    ? bracketed
    : null;
  const port = Number(digits);
  if (hostname !== null && port <= 0xffff) return { hostname, port };
  const names = [...new Set(interfaces.map(({ name }) => name))].join(", ");
  throw new UsageError(
    `Cannot listen at ${JSON.stringify(text)}: want ADDRESS:PORT, with an ` +
      `address or an interface of this machine (${names})`,
  );
}

function hostOf(host: string, interfaces: readonly Interface[]): string | null {
  if (host === "" || host === "localhost") return LOOPBACK;
  if (isIP(host) !== 0) return host;
  const own = interfaces.filter(({ name }) => name === host);
  const first = own.find(({ family }) => family === "IPv4") ??
    // A link-local address is none without its zone.
    own.find(({ address }) => !address.startsWith("fe80:"));
  return first?.address ?? null;
}

/**
 * What a request may call the host. A browser that was led here by a name whose
 * address was changed (DNS rebinding) sends that name, and is found out.
 */
export function acceptedHosts(
  { hostname, port }: Place,
  interfaces: readonly Interface[],
): ReadonlySet<string> {
  const addresses = EVERYWHERE.includes(hostname)
    ? interfaces.map(({ address }) => address)
    : [hostname];
  const isLocal = addresses.some((address) =>
    address === "::1" || address.startsWith("127.")
  );
  const hosts = [
    ...addresses.map((address) => isIPv6(address) ? `[${address}]` : address),
    ...isLocal ? ["localhost"] : [],
  ];
  return new Set(
    hosts.flatMap((host) =>
      port === 80 ? [host, `${host}:80`] : [`${host}:${port}`]
    ),
  );
}
