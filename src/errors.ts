/**
 * The closed set of failures, and who answers each of them.
 *
 * | class | answered by |
 * | --- | --- |
 * | DecodeError | unixfd: bad request, that connection is closed |
 * | RequestError | signer/handle: a signer error with a code, told to the node |
 * | PolicyViolation | signer/handle: a refusal with its rule, told to the node |
 * | ConsentNeeded | device/box: the owner is asked, or the request is refused |
 * | StoreError | device/box: nothing is signed until the card can be written |
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
  /** Only the owner can say; between signer and box, never on the wire. */
  consentNeeded: 409,
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

/** A rule that a request breaks; what was found and what the rule wants. */
export class PolicyViolation extends Error {
  override readonly name = "PolicyViolation";
  /** Tag of the rule, a key of RULES in policy/rules.ts. */
  readonly tag: string;
  /** Whether the same request may pass later without anybody's doing. */
  readonly isTemporary: boolean;

  constructor(tag: string, facts: string, { isTemporary = false } = {}) {
    const kind = isTemporary ? "temporary policy failure" : "policy failure";
    super(`${kind}: ${tag}: ${facts}`);
    this.tag = tag;
    this.isTemporary = isTemporary;
  }
}

/** What only the owner can allow, and did not yet. */
export class ConsentNeeded extends Error {
  override readonly name = "ConsentNeeded";
  /** One of CONSENTS in policy/consent.ts. */
  readonly kind: string;
  /** Names this very thing: a repeat asks for the same consent. */
  readonly key: string;
  /** What the owner is asked. */
  readonly question: string;

  constructor(kind: string, key: string, question: string) {
    super(`owner's consent needed: ${kind}: ${question}`);
    this.kind = kind;
    this.key = key;
    this.question = question;
  }
}

/** The card cannot be read or written; nothing that depends on it was signed. */
export class StoreError extends Error {
  override readonly name = "StoreError";
  readonly operation: string;

  constructor(operation: string, problem: string, options?: ErrorOptions) {
    super(`Cannot ${operation}: ${problem}`, options);
    this.operation = operation;
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
