/**
 * A Lightning Storage Server as far as a client can tell: gRPC in front of a
 * storage of ours.
 *
 * @module
 */

import { Code, ConnectError } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { createServer, type ServerHttp2Session } from "node:http2";
import { LightningStorage } from "../../src/broker/storage/lss_pb.ts";
import {
  type PutOutcome,
  type Storage,
  type StorageAuth,
  StorageRefused,
} from "../../src/broker/storage.ts";

/** A server that is running. */
export interface LssServer {
  readonly url: string;
  readonly port: number;
  /** Ends connections, and takes no more. */
  close(): Promise<void>;
  /** As {@linkcode LssServer.close}, but tells clients first (GOAWAY). */
  shutDown(): Promise<void>;
}

/** What a test may have the server do. */
export interface LssServerOptions {
  /** Comes after a put, and may say something else than what came of it. */
  readonly afterPut?: (outcome: PutOutcome) => Promise<PutOutcome>;
  readonly port?: number;
}

/** Serves a storage over gRPC, without TLS. */
export async function serveLss(
  storage: Storage,
  { afterPut = (outcome) => Promise.resolve(outcome), port = 0 }:
    LssServerOptions = {},
): Promise<LssServer> {
  const sessions = new Set<ServerHttp2Session>();
  const server = createServer(connectNodeAdapter({
    routes: ({ service }) => {
      service(LightningStorage, {
        ping: ({ message }) => ({ message }),
        info: async () => ({
          version: "0.1",
          serverId: await storage.serverKey(),
        }),
        get: ({ auth, nonce }) =>
          coded(async () => {
            const { entries, hmac } = await storage.get(authOf(auth), nonce);
            return { kvs: [...entries], hmac };
          }),
        put: ({ auth, kvs, hmac }) =>
          coded(async () => {
            const outcome = await afterPut(
              await storage.put(authOf(auth), kvs, hmac),
            );
            return outcome.kind === "stored"
              ? { success: true, hmac: outcome.hmac, conflicts: [] }
              : {
                success: false,
                hmac: outcome.hmac ?? new Uint8Array(),
                conflicts: [...outcome.entries],
              };
          }),
      });
    },
  }));
  server.on("session", (session) => sessions.add(session));
  const { promise, resolve } = Promise.withResolvers<void>();
  server.listen(port, "127.0.0.1", resolve);
  await promise;
  const address = server.address();
  const bound = typeof address === "object" ? address?.port ?? 0 : 0;
  const stop = (end: (session: ServerHttp2Session) => void) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    server.close(() => resolve());
    for (const session of sessions) end(session);
    return promise;
  };
  return {
    url: `http://127.0.0.1:${bound}`,
    port: bound,
    close: () => stop((session) => session.destroy()),
    shutDown: () => stop((session) => session.close()),
  };
}

function authOf(auth: StorageAuth | undefined): StorageAuth {
  if (auth !== undefined) return auth;
  throw new StorageRefused("no auth");
}

async function coded<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof StorageRefused) {
      throw new ConnectError(error.message, Code.InvalidArgument);
    }
    throw error;
  }
}
