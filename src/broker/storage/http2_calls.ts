/**
 * The connection that calls to a storage server go over: one, made with the
 * first call and made anew when it ended.
 *
 * The library that makes the calls has a manager of connections, which takes
 * its ear off a connection when that closes. Here the error of a server that
 * shuts down in good order comes after the close; nobody hears it then, and
 * an error that nobody hears ends the program, the node with it.
 *
 * Standard: RFC 9113 (HTTP/2).
 *
 * What it does not do: ping; a call has its time, and whoever made it has the
 * connection dropped.
 *
 * @module
 */

import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type ClientSessionRequestOptions,
  connect,
  type OutgoingHttpHeaders,
} from "node:http2";

/** One connection, when it is needed. */
export class Http2Calls {
  /** Where it leads, as the library asks for it. */
  readonly authority: string;
  #session: ClientHttp2Session | null = null;

  constructor(authority: string) {
    this.authority = authority;
  }

  /** Begins a call. What is wrong with the connection ends the call. */
  request(
    method: string,
    path: string,
    headers: OutgoingHttpHeaders,
    options: Omit<ClientSessionRequestOptions, "signal">,
  ): Promise<ClientHttp2Stream> {
    const all = { ...headers, ":method": method, ":path": path };
    const session = this.#open();
    return new Promise((resolve, reject) => {
      const settle = () => {
        session.off("connect", begin);
        session.off("error", fail);
        session.off("close", fail);
      };
      const begin = () => {
        settle();
        try {
          resolve(session.request(all, options));
        } catch (error) {
          this.#forget(session);
          reject(error);
        }
      };
      const fail = (cause?: Error) => {
        settle();
        reject(cause ?? new Error("the connection ended"));
      };
      session.once("error", fail);
      session.once("close", fail);
      if (session.connecting) session.once("connect", begin);
      else begin();
    });
  }

  /** Asked for by the library; nothing depends on it. */
  notifyResponseByteRead(): void {}

  /** Ends the connection; the next call makes another. */
  drop(): void {
    const session = this.#session;
    this.#session = null;
    session?.destroy();
  }

  #open(): ClientHttp2Session {
    if (this.#session !== null) return this.#session;
    const session = this.#session = connect(this.authority);
    // Each call hears of it by itself, and it may come after the close.
    session.on("error", () => {});
    session.on("close", () => this.#forget(session));
    // Calls under way may end; no more may begin.
    session.on("goaway", () => {
      this.#forget(session);
      session.close();
    });
    session.setMaxListeners(0);
    return session;
  }

  #forget(session: ClientHttp2Session): void {
    if (this.#session === session) this.#session = null;
  }
}
