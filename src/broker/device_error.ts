/**
 * What a device says on its `error` topic.
 *
 * | sender | payload |
 * | --- | --- |
 * | hardware | UTF-8 text, then one code byte, 01 so far |
 * | vls-mqtt, softkey | UTF-8 text |
 *
 * The original takes the last byte off either. Here it is a code only when it is
 * one of the codes, which end no text that anybody writes.
 *
 * Standards: sphinx-rs glyph/src/error.rs (the codes).
 *
 * @module
 */

/** Names of the codes, as Sphinx tools know them. */
const CODES = ["Unidentified", "Vls", "Control", "Proxy"] as const;

/** One of their names. */
export type DeviceErrorCode = (typeof CODES)[number];

/** An error taken apart. */
export interface DecodedDeviceError {
  readonly code: DeviceErrorCode;
  /** The text, not made printable yet. */
  readonly text: Uint8Array;
}

/** Takes an error apart; one without a code is of the signer, `Vls`. */
export function decodeDeviceError(payload: Uint8Array): DecodedDeviceError {
  const code = CODES[payload.at(-1) ?? CODES.length];
  return code === undefined
    ? { code: "Vls", text: payload }
    : { code, text: payload.subarray(0, -1) };
}
