/**
 * Control messages to one device, each under the next number.
 *
 * ```
 * Nonce --> last number --> message under last + 1 --> its answer --> last + 2 …
 * ```
 *
 * The answer to `Nonce` decides nothing but the number: whoever changes it on the
 * way has the message refused.
 *
 * What it does not do: know a command, or the way to the device.
 *
 * @module
 */

import type { Secret } from "../../crypto/secret.ts";
import { DecodeError } from "../../errors.ts";
import { sealEnvelope } from "../../wire/control_envelope.ts";
import {
  type ControlMessage,
  type ControlResponse,
  decodeControlResponse,
  encodeControlMessage,
} from "../../wire/control_message.ts";

/** Takes an envelope to the device and brings its answer. */
export type SendControl = (envelope: Uint8Array) => Promise<Uint8Array>;

/** What the device, or the broker, said no with. */
export class ControlRefusal extends Error {
  override readonly name = "ControlRefusal";
}

/** An answer of one kind. */
export type AnswerOf<K extends ControlResponse["kind"]> = Extract<
  ControlResponse,
  { readonly kind: K }
>;

/** Signs, sends, and counts. */
export class ControlSession {
  readonly #key: Secret;
  readonly #send: SendControl;
  /** Null before the device was asked. */
  #next: bigint | null = null;

  constructor(key: Secret, send: SendControl) {
    this.#key = key;
    this.#send = send;
  }

  /**
   * The answer to a message, which has to be of this kind.
   *
   * @throws {ControlRefusal} for any other
   */
  async ask<K extends ControlResponse["kind"]>(
    message: ControlMessage,
    wanted: K,
  ): Promise<AnswerOf<K>> {
    if (message.kind === "Nonce") {
      return await this.#exchange(message, 0n, wanted);
    }
    const nonce = this.#next ?? await this.#askNonce() + 1n;
    this.#next = nonce + 1n;
    return await this.#exchange(message, nonce, wanted);
  }

  async #askNonce(): Promise<bigint> {
    const { value } = await this.#exchange({ kind: "Nonce" }, 0n, "Nonce");
    return value;
  }

  async #exchange<K extends ControlResponse["kind"]>(
    message: ControlMessage,
    nonce: bigint,
    wanted: K,
  ): Promise<AnswerOf<K>> {
    const payload = encodeControlMessage(message);
    const envelope = sealEnvelope({ payload, nonce }, this.#key);
    const response = readAnswer(await this.#send(envelope));
    if (isOf(response, wanted)) return response;
    throw new ControlRefusal(
      response.kind === "Error"
        ? `The device refuses ${message.kind}: ${printable(response.value)}`
        : `The device answers ${message.kind} with ${response.kind}, ` +
          `want ${wanted}`,
    );
  }
}

function isOf<K extends ControlResponse["kind"]>(
  response: ControlResponse,
  kind: K,
): response is AnswerOf<K> {
  return response.kind === kind;
}

/** An answer as it came. @throws {ControlRefusal} for bytes that are none */
export function readAnswer(bytes: Uint8Array): ControlResponse {
  try {
    return decodeControlResponse(bytes);
  } catch (cause) {
    if (!(cause instanceof DecodeError)) throw cause;
    const text = `The device's answer cannot be read: ${cause.message}`;
    throw new ControlRefusal(text, { cause });
  }
}

/** A device's words are for a terminal. */
export function printable(text: string): string {
  return text.replace(/[^\x20-\x7e…]/gu, "?").slice(0, 2000);
}
