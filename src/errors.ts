/**
 * The closed set of failures, and who answers each of them.
 *
 * | class | answered by |
 * | --- | --- |
 * | DecodeError | unixfd: bad request, that connection is closed |
 * | RequestError | signer/handle: a signer error with a code, told to the node |
 * | SignerUnavailable | broker: the request waits, or its connection ends |
 * | IdentityError | broker: the device is refused before lightningd hears it |
 * | ConfigError, UsageError | cli: one line of advice, exit 2 |
 * | Bug | top level: log with stack, exit 70, no reply |
 *
 * Texts follow one grammar: sentence case, active voice, the action that failed,
 * a colon, the value found and the value wanted, no full stop. No secret and no
 * unescaped text of a peer is ever part of one.
 *
 * @module
 */

/** Bytes that are not what their format says; carries where they stop being it. */
export class DecodeError extends Error {
  override readonly name = "DecodeError";
  /** Name of the message or format that was being read. */
  readonly format: string;
  /** Path of the field inside it, dotted; empty at the top. */
  readonly path: string;
  /** Offset in bytes from the start of what was being read. */
  readonly offset: number;

  constructor(message: string, path: string, offset: number, problem: string) {
    super(
      `Cannot decode ${message}${path && `.${path}`} at ${offset}: ${problem}`,
    );
    this.format = message;
    this.path = path;
    this.offset = offset;
  }
}

/**
 * Codes of a signer error (type 3000 on the wire).
 *
 * 401 is the field's own (VLS: a block that does not connect); the others copy
 * the sense of the HTTP codes that 401 sits among.
 */
export const SIGNER_ERROR_CODES = {
  /** Malformed, or fails one of the stock hsmd's own checks. */
  badRequest: 400,
  /** A block whose parent is not the tracker's tip. */
  orphanBlock: 401,
  /** Refused: the device will not sign this, now or ever. */
  refused: 403,
  /** The device broke; nothing was signed. */
  internal: 500,
} as const;

/** One of the codes of a signer error. */
export type SignerErrorCode =
  (typeof SIGNER_ERROR_CODES)[keyof typeof SIGNER_ERROR_CODES];

/** What the signer answers when it does not answer what was asked. */
export class RequestError extends Error {
  override readonly name = "RequestError";
  readonly code: SignerErrorCode;

  constructor(code: SignerErrorCode, text: string, options?: ErrorOptions) {
    super(text, options);
    this.code = code;
  }
}

/** Nobody can sign right now, and waiting is not an option for this request. */
export class SignerUnavailable extends Error {
  override readonly name = "SignerUnavailable";
}

/** A device that is not, or does not prove to be, the one we were paired with. */
export class IdentityError extends Error {
  override readonly name = "IdentityError";
}

/** A setting that cannot be used; names the key, its source and what was wanted. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  readonly key: string;

  constructor(key: string, source: string, found: string, wanted: string) {
    super(`Cannot use setting ${key} from ${source}: ${found}, want ${wanted}`);
    this.key = key;
  }
}

/** A command line that cannot be understood. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** An invariant of ours that does not hold. */
export class Bug extends Error {
  override readonly name = "Bug";
}

/** Ends a switch over a union: reaching it is a compile error, then a Bug. */
export function unreachable(value: never): never {
  throw new Bug(`Reached what cannot be: ${String(value)}`);
}

/** The text of anything thrown, for a log line. */
export function describeError(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
