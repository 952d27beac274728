/**
 * lightningd's side: fd 0, fd 3, the client connections, and who may ask what.
 *
 * The only file (with its folder) that knows descriptors. It reads requests,
 * checks them against the permissions of the connection that they came on, has
 * them answered, and writes the answers. What a request means is none of its
 * business, with two exceptions: `client_hsmfd`, which asks for a descriptor,
 * and `init`, before which hardly anything may be asked.
 *
 * Behaviour towards mistakes is the stock hsmd's (hsmd/hsmd.c): a client that
 * asks badly is reported and loses its connection, lightningd asking badly is
 * the end.
 *
 * //~ lightningd hands us two sockets and closes everything else. Reading them
 * //~ is ordinary; handing a third one back is not, because our runtime has no
 * //~ call for that, and the foreign function interface that could make one is
 * //~ ruled out in a program that people trust with their money. So a helper of
 * //~ 1,500 bytes does it: fdpass/. Next: wire/codec.ts.
 *
 * @module
 */

import net from "node:net";
import type { Handover } from "./fdpass/spawn.ts";
import { DecodeError, describeError, unreachable } from "./errors.ts";
import { Connection } from "./unixfd/connection.ts";
import type { StatusStream } from "./unixfd/status.ts";
import { FRAME_LIMIT } from "./wire/frame.ts";
import {
  isPermitted,
  MASTER_PERMISSIONS,
  messageName,
  REPLIES,
  requestRow,
  REQUESTS,
} from "./wire/hsmd.ts";
import {
  decodeMessage,
  encodeMessage,
  messageType,
  type RequestRow,
} from "./wire/message.ts";
import { NOBODY, type NodeId } from "./wire/types.ts";

export { StatusStream } from "./unixfd/status.ts";

/** On whose behalf a request is made. */
export interface Requester {
  /** The channel's peer; our own id for connectd; zeros for lightningd. */
  readonly peerId: NodeId;
  /** The channel; 0 for none. */
  readonly dbid: bigint;
  /** Permission bits. */
  readonly permissions: bigint;
  readonly isMaster: boolean;
}

/** What becomes of a request. */
export type Answer =
  | { readonly kind: "reply"; readonly message: Uint8Array }
  /** Some requests have no reply. */
  | { readonly kind: "silence" }
  /** The stock hsmd would not have taken it either. */
  | { readonly kind: "bad"; readonly reason: string }
  /** The signer will not sign it, and no reply says so kindly. */
  | { readonly kind: "refused"; readonly reason: string };

/** A request that was read, permitted, and has the form it should have. */
export interface Request {
  readonly requester: Requester;
  readonly row: RequestRow;
  /** The message as it came, type first. */
  readonly message: Uint8Array;
  /** Ends when nobody waits for the answer any more. */
  readonly signal: AbortSignal;
}

/** Who answers. */
export type Answerer = (request: Request) => Promise<Answer>;

/** Why we must end. */
export interface Ending {
  /** 2 when lightningd closed fd 3, 242 when something failed. */
  readonly code: number;
}

/** What the lightningd side needs. */
export interface UnixFdOptions {
  readonly master: net.Socket;
  readonly status: StatusStream;
  readonly handover: Handover;
  readonly answer: Answerer;
}

/** lightningd closed its end: the way an hsmd normally ends. */
const EXIT_END_OF_FILE = 2;
/** The stock hsmd's status for every failure that it reports (0x80 | 0xF2). */
export const EXIT_FAILURE = 242;

/** Connections without a channel, lightningd's own included (stock limit). */
const MOST_WITHOUT_CHANNEL = 3;
/** Longest request of a client, in bytes; only lightningd sends long ones. */
const CLIENT_FRAME_LIMIT = 2 ** 23;

/** What may be asked before init was answered. */
const BEFORE_INIT: readonly number[] = [
  REQUESTS.init.type,
  REQUESTS.dev_preinit.type,
  REQUESTS.client_hsmfd.type,
];

/** Opens an inherited descriptor; throws when it is none. */
export function openDescriptor(
  fd: number,
  { isWriteOnly = false }: { readonly isWriteOnly?: boolean } = {},
): net.Socket {
  const direction = isWriteOnly ? { readable: false, writable: true } : {};
  return new net.Socket({ fd, ...direction });
}

/** One connection with what we know of it. */
interface Client {
  readonly requester: Requester;
  readonly connection: Connection;
  readonly gone: AbortController;
}

/** Serves lightningd until it ends us. */
export class UnixFd {
  readonly #options: UnixFdOptions;
  readonly #clients = new Set<Client>();
  readonly #ending = Promise.withResolvers<Ending>();
  #isInitialised = false;

  constructor(options: UnixFdOptions) {
    this.#options = options;
    this.#add(options.master, FRAME_LIMIT, {
      peerId: NOBODY,
      dbid: 0n,
      permissions: BigInt(MASTER_PERMISSIONS),
      isMaster: true,
    });
    options.handover.ended.then((why) =>
      this.fail("internalError", `The descriptor helper ended: ${why}`)
    );
  }

  /** Resolves when there is nobody left to serve, or no way to go on. */
  get ending(): Promise<Ending> {
    return this.#ending.promise;
  }

  /** Open connections, lightningd's own included. */
  get size(): number {
    return this.#clients.size;
  }

  /** Tells lightningd why, and ends. */
  async fail(
    reason: Parameters<StatusStream["fail"]>[0],
    text: string,
  ): Promise<void> {
    await this.#options.status.fail(reason, text);
    this.#ending.resolve({ code: EXIT_FAILURE });
  }

  #add(socket: net.Socket, limit: number, requester: Requester): void {
    const gone = new AbortController();
    const connection = new Connection(socket, limit, {
      request: (payload) => {
        this.#take(client, payload).catch((error) =>
          this.fail("internalError", describeError(error))
        );
      },
      end: (reason) => this.#end(client, reason),
    });
    const client: Client = { requester, connection, gone };
    this.#clients.add(client);
  }

  #end(client: Client, reason: string): void {
    this.#remove(client);
    if (client.requester.isMaster) {
      this.#ending.resolve({ code: EXIT_END_OF_FILE });
    } else {
      const text = `connection ended: ${reason}`;
      this.#options.status.log("trace", text, client.requester.peerId);
    }
  }

  #remove(client: Client): void {
    this.#clients.delete(client);
    client.gone.abort();
  }

  #close(client: Client): void {
    this.#remove(client);
    client.connection.close();
  }

  /** One request, from its frame to its answer. */
  async #take(client: Client, message: Uint8Array): Promise<void> {
    const type = messageType(message);
    const row = type === null ? undefined : requestRow(type);
    if (
      row === undefined || !isPermitted(row, client.requester.permissions)
    ) {
      const reason = `no permission for ${messageName(type)}`;
      return await this.#bad(client, message, reason);
    }
    if (!this.#isInitialised && !BEFORE_INIT.includes(row.type)) {
      return await this.fail("masterIo", `${row.name} before init`);
    }
    const problem = formProblem(row, message);
    if (problem !== null) return await this.#bad(client, message, problem);
    if (row.type === REQUESTS.client_hsmfd.type) {
      return await this.#handOver(client, message);
    }
    const { requester, gone: { signal } } = client;
    const answer = await this.#options.answer({
      requester,
      row,
      message,
      signal,
    });
    await this.#deliver(client, { row, message }, answer);
  }

  async #deliver(
    client: Client,
    { row, message }: {
      readonly row: RequestRow;
      readonly message: Uint8Array;
    },
    answer: Answer,
  ): Promise<void> {
    switch (answer.kind) {
      case "reply":
        if (row.type === REQUESTS.init.type) this.#isInitialised = true;
        // Not before it is out: who does not read must not be served on.
        await client.connection.write(answer.message);
        return client.connection.next();
      case "silence":
        return client.connection.next();
      case "bad":
        return await this.#bad(client, message, answer.reason);
      case "refused":
        return await this.#refuse(client, row, answer.reason);
    }
    unreachable(answer);
  }

  /** A request that is none: reported; it costs the connection it came on. */
  async #bad(
    client: Client,
    message: Uint8Array,
    reason: string,
  ): Promise<void> {
    const { status } = this.#options;
    const { peerId, dbid, isMaster } = client.requester;
    const name = messageName(messageType(message));
    status.log(
      "broken",
      `bad request ${name}: ${reason}`,
      isMaster ? null : peerId,
    );
    if (isMaster) {
      return await this.fail("masterIo", `Error parsing ${name}: ${reason}`);
    }
    status.badRequest(peerId, `dbid ${dbid}: ${reason}`, message);
    this.#close(client);
  }

  /**
   * The signer said no and there was no kinder answer; the answerer has logged
   * why. It costs a channel's daemon its connection, and lightningd itself the
   * node.
   */
  async #refuse(
    client: Client,
    row: RequestRow,
    reason: string,
  ): Promise<void> {
    const text = `signer refused ${row.name}: ${reason}`;
    if (client.requester.isMaster) {
      return await this.fail("internalError", text);
    }
    this.#close(client);
  }

  /** client_hsmfd: the reply, then one byte with the descriptor. */
  async #handOver(client: Client, message: Uint8Array): Promise<void> {
    const { id, dbid, permissions } = decodeMessage(
      REQUESTS.client_hsmfd,
      message,
    );
    const problem = this.#clientProblem(id, dbid);
    if (problem !== null) return await this.#bad(client, message, problem);
    await client.connection.write(
      encodeMessage(REPLIES.client_hsmfd_reply, {}),
    );
    const socket = await this.#pass(client.gone.signal);
    if (socket !== null) {
      this.#closeChannel(dbid);
      this.#add(socket, CLIENT_FRAME_LIMIT, {
        peerId: id,
        dbid,
        permissions,
        isMaster: false,
      });
    }
    client.connection.next();
  }

  async #pass(gone: AbortSignal): Promise<net.Socket | null> {
    try {
      return await this.#options.handover.pass();
    } catch (error) {
      // lightningd left in the middle of it: that is no mishap.
      if (gone.aborted) return null;
      // lightningd was sent a byte without a descriptor: that peer fails alone.
      const text = `cannot hand a connection over: ${describeError(error)}`;
      this.#options.status.log("broken", text);
      return null;
    }
  }

  #clientProblem(id: NodeId, dbid: bigint): string | null {
    if (id[0] !== 2 && id[0] !== 3) return "the id is not a public key";
    if (dbid !== 0n) return null;
    const clients = [...this.#clients];
    const held = clients.filter(({ requester }) => requester.dbid === 0n);
    return held.length < MOST_WITHOUT_CHANNEL
      ? null
      : `${held.length} connections without a channel, want fewer than ` +
        `${MOST_WITHOUT_CHANNEL}`;
  }

  /** A channel has one connection: the newest. */
  #closeChannel(dbid: bigint): void {
    if (dbid === 0n) return;
    for (const client of this.#clients) {
      if (client.requester.dbid === dbid) this.#close(client);
    }
  }
}

/** Why a message has not the form of its row, or null when it has. */
function formProblem(row: RequestRow, message: Uint8Array): string | null {
  try {
    decodeMessage(row, message);
    return null;
  } catch (error) {
    if (error instanceof DecodeError) return error.message;
    throw error;
  }
}
