/**
 * A server with a seal and no broker behind it: it introduces itself after hello,
 * as whom a test likes, and keeps what devices say.
 *
 * @module
 */

import { publicKey } from "../../src/crypto/secp.ts";
import { Secret } from "../../src/crypto/secret.ts";
import { EmbeddedServer } from "../../src/mqtt/embedded.ts";
import { SealedSessions } from "../../src/mqtt/sealed_sessions.ts";
import type { TopicName } from "../../src/mqtt/topics.ts";
import { encodeControl } from "../../src/wire/control.ts";
import type { PubKey } from "../../src/wire/types.ts";

/** What such a server is. */
export interface BareNodeOptions {
  /** Its private link key. */
  readonly key?: Secret;
  /** The key that it says that it has; the one that it has, if absent. */
  readonly introducedAs?: Uint8Array;
  /** Logins that are refused before the first that is not. */
  readonly refusals?: number;
  readonly heard?: (name: TopicName, payload: Uint8Array) => void;
}

/** Something that a device said. */
export interface Heard {
  readonly name: TopicName;
  readonly payload: Uint8Array;
}

/** A server that runs. */
export interface BareNode extends AsyncDisposable {
  readonly url: string;
  /** Inside the seal. */
  readonly heard: readonly Heard[];
}

/** Starts one on a port that the kernel picks. */
export async function startBareNode(
  options: BareNodeOptions = {},
): Promise<BareNode> {
  const { key = new Secret(new Uint8Array(32).fill(7)) } = options;
  const { introducedAs = publicKey(key.reveal()), refusals = 0 } = options;
  const heard: Heard[] = [];
  let left = refusals;
  let sealed: SealedSessions | null = null;
  const server = await EmbeddedServer.start({
    login: ({ username }) =>
      left-- > 0
        ? { refusal: "not today" }
        : { key: Uint8Array.fromHex(username) },
    message: (...args) => sealed?.message(...args),
    gone: (session) => sealed?.gone(session),
    refused: () => {},
  });
  const seal = new SealedSessions({
    link: server,
    listener: {
      message: (session, name, payload) => {
        heard.push({ name, payload });
        options.heard?.(name, payload);
        if (name !== "hello") return;
        // Bytes that a test chose, a point or not.
        const brokerKey = introducedAs as PubKey;
        seal.send(session, "control", encodeControl({ brokerKey }));
      },
      gone: () => {},
      refused: () => {},
    },
    key,
    isShared: false,
    random: (length) => crypto.getRandomValues(new Uint8Array(length)),
  });
  sealed = seal;
  const { port } = await server.listenTcp({ hostname: "127.0.0.1", port: 0 });
  return {
    url: `mqtt://127.0.0.1:${port}`,
    heard,
    async [Symbol.asyncDispose]() {
      seal[Symbol.dispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}
