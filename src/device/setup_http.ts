/**
 * The setup pages of the field's hardware, for the tools that people have for it:
 * seed, broker and network come in over HTTP, and the owner says yes or no at the
 * device.
 *
 * | request | answer |
 * | --- | --- |
 * | GET /ecdh | `{"pubkey":"66 hex"}`: this device's key |
 * | POST /config?config=J | `{"success":true}`, once the owner has said yes |
 * | POST /config with J as its body | the same |
 * | anything else | 4xx with `{"error":"..."}` |
 *
 * J is JSON (`setup_http/settings.ts`); the seed in it is sealed for this
 * device's key (`crypto/seed_transfer.ts`). Paths, fields and the answer to a
 * success are the hardware's, byte for byte. What is otherwise:
 *
 * | the hardware | here |
 * | --- | --- |
 * | takes what comes | asks the owner first, while the request waits |
 * | one key per start, for any number of uses | thrown away after one success, or 5 tries that fail |
 * | answers success and drops a second seed | 409: a seed is never replaced |
 * | restarts at what it cannot read | 4xx, and nothing has happened |
 * | any unknown network is regtest | 400 |
 * | prints what it took, WiFi password included | never looks at ssid and pass |
 * | on every address | on loopback, or the address that is named |
 *
 * A try fails when the seed does not open with the two keys, when the owner says
 * no, and when nobody answers in time. Malformed requests do not get as far as the
 * key and are not counted. A tool that gives up while the owner thinks may send
 * the same once more: it waits for the same answer.
 *
 * Plain HTTP is what the tools speak, so one thing stays open on a network that
 * others share: somebody in between can give both sides a key of their own, and
 * read the seed. {@linkcode transferFingerprint} is over both keys; the device
 * shows it, and where a tool shows it too, comparing the two finds that out.
 * Today's tools do not. Use loopback, or a cable; over a shared network, words
 * typed at the device are the better way.
 *
 * What it does not do: hand out or show a seed, keep what it took (`take` does),
 * talk to browsers, limit connections that ask nothing.
 *
 * @module
 */

import { describeError, UsageError } from "../errors.ts";
import { acceptedHosts, parseListen, type Place } from "./setup_http/listen.ts";
import { Session, type SetupOptions } from "./setup_http/session.ts";

export {
  type Arrival,
  type SetupOptions,
  transferFingerprint,
} from "./setup_http/session.ts";

/** Setup pages that are open. */
export interface SetupServer {
  /** `http://address:port` */
  readonly address: string;
  /**
   * Resolves when something was taken. Rejects with an OwnerError
   * after too many failed tries. Stays open when {@linkcode stop} comes first.
   */
  readonly arrived: Promise<void>;
  /** Closes the pages; an answer that is under way is still delivered. */
  stop(): Promise<void>;
}

/** What is left of a connection when the pages close. */
const CLOSE_MS = 1_000;

/** Opens the setup pages. @throws {UsageError} where it cannot listen */
export function startSetupServer(options: SetupOptions): SetupServer {
  const interfaces = Deno.networkInterfaces();
  const place = parseListen(options.listen, interfaces);
  const session = new Session(options);
  const abort = new AbortController();
  let hosts: ReadonlySet<string> = new Set();
  const server = listen(
    place,
    abort.signal,
    (request, from) => session.answer({ request, from, hosts }),
  );
  const bound = { ...place, port: server.addr.port };
  hosts = acceptedHosts(bound, interfaces);
  const host = place.hostname.includes(":")
    ? `[${place.hostname}]`
    : place.hostname;
  return {
    address: `http://${host}:${bound.port}`,
    arrived: session.arrived,
    stop: async () => {
      session.close();
      const timer = setTimeout(() => abort.abort(), CLOSE_MS);
      await server.shutdown();
      clearTimeout(timer);
    },
  };
}

function listen(
  { hostname, port }: Place,
  signal: AbortSignal,
  answer: (request: Request, from: string) => Promise<Response>,
): Deno.HttpServer<Deno.NetAddr> {
  try {
    return Deno.serve(
      { hostname, port, signal, onListen: () => {} },
      (request, { remoteAddr }) => answer(request, remoteAddr.hostname),
    );
  } catch (cause) {
    throw new UsageError(
      `Cannot listen at ${hostname}:${port}: ${describeError(cause)}`,
      { cause },
    );
  }
}
