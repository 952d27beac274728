/**
 * One key of the setup pages: which requests it answers, until it is thrown away.
 *
 *     open --POST /config--> the owner is asked --yes, taken--> used
 *      ^                              |
 *      +---- no, silence, no seed ----+------- 5 times ------> thrown away
 *
 * One question at a time. What was asked and what is asked again meanwhile get
 * the same answer. Nothing is taken when the key was thrown away while the owner
 * thought.
 *
 * What it does not do: listen (`../setup_http.ts`), read what was sent
 * (`settings.ts`), keep what was taken.
 *
 * @module
 */

import { encodeBech32Letters } from "../../bitcoin/bech32.ts";
import { type NetworkName, NETWORKS } from "../../bitcoin/networks.ts";
import { sha256 } from "../../crypto/hash.ts";
import { Secret } from "../../crypto/secret.ts";
import { isPrivateKey, publicKey } from "../../crypto/secp.ts";
import { openSeed } from "../../crypto/seed_transfer.ts";
import { describeError } from "../../errors.ts";
import {
  deriveNodeIdentity,
  openSecretFile,
  parseSecretFile,
} from "../../keyderiv.ts";
import { OwnerError } from "../owner_error.ts";
import { checkRequest, drain, readJson, urlOf } from "./request.ts";
import {
  readSettings,
  type Settings,
  SetupRefusal,
  type Transfer,
} from "./settings.ts";

/** What came in, for the owner to judge. */
export interface Arrival {
  /** 32 bytes, a plain hsm_secret of CLN; null when only settings came. */
  readonly seed: Secret | null;
  /** The node that the seed is, 66 hex digits; null without a seed. */
  readonly nodeId: string | null;
  /** `mqtt://host:port` */
  readonly broker: string;
  readonly network: string;
  /** Over both keys of the transfer; empty when only settings came. */
  readonly fingerprint: string;
  /** The address that sent it. */
  readonly from: string;
}

/** What the setup pages need. */
export interface SetupOptions {
  /** `ADDRESS:PORT`; the address may be an interface's name. */
  readonly listen: string;
  /** Whether the card has a seed already. */
  readonly hasSeed: () => boolean | Promise<boolean>;
  /** So many random bytes, fit for keys. */
  readonly random: (length: number) => Uint8Array;
  /** Asks the owner; the signal says that nobody waits for the answer now. */
  readonly consent: (
    arrival: Arrival,
    signal: AbortSignal,
  ) => Promise<boolean>;
  /** Keeps what the owner agreed to; durable when it resolves. */
  readonly take: (arrival: Arrival) => Promise<void>;
  /** Hears what failed, one line each. */
  readonly say: (text: string) => void;
  /** How long the owner may think; 5 minutes unless told. */
  readonly consentMs?: number;
}

const TRIES = 5;
const CONSENT_MS = 5 * 60_000;
/** Requests at a time: a tool needs one. */
const REQUESTS = 16;

/** The short name of a transfer, which both ends can show. */
export function transferFingerprint(
  devicePoint: Uint8Array,
  toolPoint: Uint8Array,
): string {
  const hash = sha256(FINGERPRINT_TAG, devicePoint, toolPoint);
  // 60 bits: somebody in between may try keys until one fits, for as long as
  // the owner thinks.
  const letters = encodeBech32Letters(hash.subarray(0, 8));
  return [0, 4, 8].map((at) => letters.slice(at, at + 4)).join("-");
}

const FINGERPRINT_TAG = new TextEncoder().encode("remote-hsmd setup");

/** A request, with where it came from and what it may call us. */
export interface Visit {
  readonly request: Request;
  readonly from: string;
  readonly hosts: ReadonlySet<string>;
}

/** What is waiting for the owner. */
interface Question {
  /** Tells whether a request asks the same. */
  readonly id: string;
  readonly answer: Promise<void>;
}

/** One key, and what may be done with it. */
export class Session {
  readonly #options: SetupOptions;
  readonly #arrived = Promise.withResolvers<void>();
  readonly #closing = new AbortController();
  readonly #point: Uint8Array;
  /** Null once it was thrown away. */
  #key: Secret | null;
  #triesLeft = TRIES;
  #requests = 0;
  #question: Question | null = null;

  constructor(options: SetupOptions) {
    this.#options = options;
    this.#key = makeKey(options.random);
    this.#point = publicKey(this.#key.reveal());
    // Whoever does not wait for it is told by the lines that were said.
    this.#arrived.promise.catch(() => {});
  }

  get arrived(): Promise<void> {
    return this.#arrived.promise;
  }

  /** Nothing is taken from here on. */
  close(): void {
    this.#throwKeyAway();
    this.#closing.abort();
  }

  /** Never throws. */
  async answer(visit: Visit): Promise<Response> {
    this.#requests += 1;
    try {
      const answer = await this.#answer(visit);
      await drain(visit.request);
      return answer;
    } finally {
      this.#requests -= 1;
    }
  }

  async #answer(visit: Visit): Promise<Response> {
    try {
      return reply(200, await this.#serve(visit));
    } catch (error) {
      if (error instanceof SetupRefusal) {
        return reply(error.status, { error: error.message });
      }
      // The owner's to see; whoever sent the request learns that it failed.
      this.#options.say(`setup pages: ${describeError(error)}`);
      const text = "Cannot set up: the device failed, see its screen";
      return reply(500, { error: text });
    }
  }

  async #serve(visit: Visit): Promise<object> {
    if (this.#requests > REQUESTS) {
      const text = `Cannot serve: busy, want at most ${REQUESTS} at a time`;
      throw new SetupRefusal(503, text);
    }
    checkRequest(visit.request, visit.hosts);
    const { pathname } = urlOf(visit.request);
    const { method } = visit.request;
    const wanted = METHODS.get(pathname);
    if (wanted === undefined) {
      const text = "Cannot find the page: no such path, want /ecdh or /config";
      throw new SetupRefusal(404, text);
    }
    if (method !== wanted) {
      const text =
        `Cannot use this method: not for ${pathname}, want ${wanted}`;
      throw new SetupRefusal(405, text);
    }
    if (pathname === "/config") return await this.#configure(visit);
    this.#openKey();
    return { pubkey: this.#point.toHex() };
  }

  async #configure({ request, from }: Visit): Promise<object> {
    this.#openKey();
    const settings = readSettings(await readJson(request));
    await this.#checkSeed(settings);
    const id = idOf(settings);
    if (this.#question !== null && this.#question.id !== id) {
      const text = "Cannot set up: other settings wait for the owner, want " +
        "one at a time";
      throw new SetupRefusal(503, text);
    }
    this.#question ??= { id, answer: this.#decide(settings, from) };
    await this.#question.answer;
    return { success: true };
  }

  /** @throws {SetupRefusal} when the key was thrown away */
  #openKey(): Secret {
    if (this.#key !== null) return this.#key;
    const text =
      "Cannot set up: these setup pages were used already, or tried " +
      "too often, want them started again";
    throw new SetupRefusal(410, text);
  }

  async #checkSeed({ transfer }: Settings): Promise<void> {
    const hasSeed = await this.#options.hasSeed();
    if (hasSeed && transfer !== null) {
      const text =
        "Cannot take the seed: this device has one, which is never " +
        "replaced; want settings without pubkey and seed";
      throw new SetupRefusal(409, text);
    }
    if (!hasSeed && transfer === null) {
      const text = "Cannot set up: seed required, want pubkey and seed";
      throw new SetupRefusal(400, text);
    }
  }

  /** From the seed's opening to the owner's answer and what follows from it. */
  async #decide(settings: Settings, from: string): Promise<void> {
    // Not before there is a question: who asks the same has to find it.
    await Promise.resolve();
    let seed: Secret | null = null;
    try {
      seed = this.#open(settings.transfer, from);
      const arrival = this.#arrivalOf(settings, { seed, from });
      await this.#askOwner(arrival);
      await this.#checkSeed(settings);
      this.#openKey();
      await this.#options.take(arrival);
      this.#throwKeyAway();
      this.#arrived.resolve();
    } catch (error) {
      seed?.wipe();
      throw error;
    } finally {
      this.#question = null;
    }
  }

  #open(transfer: Transfer | null, from: string): Secret | null {
    const privateKey = this.#openKey();
    if (transfer === null) return null;
    const { point, payload } = transfer;
    const seed = openSeed({ privateKey, point }, payload);
    if (seed !== null) return seed;
    throw this.#fail(
      new SetupRefusal(
        400,
        "Cannot open the seed: it is not sealed for the key of GET /ecdh, " +
          "want that key",
      ),
      from,
    );
  }

  #arrivalOf(
    { broker, network, transfer }: Settings,
    { seed, from }: { readonly seed: Secret | null; readonly from: string },
  ): Arrival {
    return {
      seed,
      nodeId: seed && nodeIdOf(seed, network),
      broker,
      network,
      fingerprint: transfer === null
        ? ""
        : transferFingerprint(this.#point, transfer.point),
      from,
    };
  }

  /** @throws {SetupRefusal} unless the owner says yes in time */
  async #askOwner(arrival: Arrival): Promise<void> {
    const { consent, consentMs = CONSENT_MS } = this.#options;
    const late = new AbortController();
    const timer = setTimeout(() => late.abort(), consentMs);
    const signal = AbortSignal.any([this.#closing.signal, late.signal]);
    try {
      const gone = untilAborted(signal);
      const isAllowed = await Promise.race([consent(arrival, signal), gone]);
      if (isAllowed === true) return;
      if (this.#closing.signal.aborted) {
        const text =
          "Cannot set up: the setup pages were closed, want them open";
        throw new SetupRefusal(503, text);
      }
      const why = isAllowed === false ? "said no" : "did not answer in time";
      const text = `Cannot set up: the owner ${why}, want a yes at the device`;
      throw this.#fail(new SetupRefusal(403, text), arrival.from);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Counts a failed try; the refusal, to be thrown. */
  #fail(refusal: SetupRefusal, from: string): SetupRefusal {
    this.#triesLeft -= 1;
    const { say } = this.#options;
    say(
      `setup from ${from}: ${refusal.message}; ${this.#triesLeft} tries left`,
    );
    if (this.#triesLeft === 0) {
      this.#throwKeyAway();
      const text = `Cannot set up: ${TRIES} tries over the setup pages ` +
        "failed, want softkey started again";
      this.#arrived.reject(new OwnerError("consent", text));
    }
    return refusal;
  }

  #throwKeyAway(): void {
    this.#key?.wipe();
    this.#key = null;
  }
}

/** Each page, with the one way to ask for it. */
const METHODS: ReadonlyMap<string, string> = new Map([
  ["/ecdh", "GET"],
  ["/config", "POST"],
]);

/** Random bytes are no key once in 2^128. */
function makeKey(random: (length: number) => Uint8Array): Secret {
  for (;;) {
    const bytes = random(32);
    if (isPrivateKey(bytes)) return new Secret(bytes);
  }
}

function idOf({ broker, network, transfer }: Settings): string {
  const parts = [transfer?.point, transfer?.payload];
  return JSON.stringify([
    broker,
    network,
    ...parts.map((part) => part?.toHex() ?? ""),
  ]);
}

/** An id is the same on every network; the version bytes are not part of it. */
function nodeIdOf(seed: Secret, network: NetworkName): string {
  const secret = openSecretFile(parseSecretFile(seed.reveal()));
  return deriveNodeIdentity(secret, NETWORKS[network].bip32).nodeId.toHex();
}

function untilAborted(signal: AbortSignal): Promise<null> {
  if (signal.aborted) return Promise.resolve(null);
  return new Promise((resolve) => {
    signal.addEventListener("abort", () => resolve(null), { once: true });
  });
}

function reply(status: number, body: object): Response {
  return new Response(JSON.stringify(body), {
    status,
    headers: {
      "content-type": "application/json",
      "cache-control": "no-store, no-transform",
      "x-content-type-options": "nosniff",
      // One request each: nobody holds a connection for later.
      "connection": "close",
    },
  });
}
