/**
 * Whether every value of a message that claims to be on the curve is.
 *
 * The codecs of `wire/` carry keys as they were sent. The stock hsmd checks, when
 * it parses a request, that each `pubkey` is a point and that both halves of
 * each signature are below the group order; this does the same for any message,
 * by walking the shape of its codec.
 *
 * What it does not do: `node_id`, which the stock hsmd does not check either.
 *
 * @module
 */

import { isPoint, isSignature } from "../crypto/secp.ts";
import type { Codec, Shape } from "../wire/codec.ts";
import { refuseBad } from "./call.ts";

/** Checks a value of one codec; throws a bad request that names the field. */
export type PointCheck = (value: unknown, path: string) => void;

/** The check for values of a codec; null when there is nothing to check. */
export function pointCheckOf(codec: Codec<unknown>): PointCheck | null {
  if (codec.name === "secp256k1_ecdsa_signature") {
    return checkBytes("signature", isSignature);
  }
  return checkOfShape(codec.shape);
}

function checkOfShape(shape: Shape): PointCheck | null {
  switch (shape.kind) {
    case "point":
      return checkBytes("point", isPoint);
    case "option":
      return checkPresent(pointCheckOf(shape.item));
    case "list":
      return checkItems(pointCheckOf(shape.item));
    case "struct":
      return checkFields(shape.fields);
    case "tlvs":
    case "uint":
    case "bool":
    case "choice":
    case "bytes":
    case "varBytes":
    case "text":
      return null;
  }
}

function checkBytes(
  what: string,
  isValid: (bytes: Uint8Array) => boolean,
): PointCheck {
  return (value, path) => {
    if (value instanceof Uint8Array && isValid(value)) return;
    refuseBad(`Cannot decode ${path}: not a ${what} of the curve`);
  };
}

function checkPresent(check: PointCheck | null): PointCheck | null {
  return check && ((value, path) => {
    if (value !== null) check(value, path);
  });
}

function checkItems(check: PointCheck | null): PointCheck | null {
  return check && ((value, path) => {
    if (!Array.isArray(value)) return;
    value.forEach((item, i) => check(item, `${path}.${i}`));
  });
}

function checkFields(
  fields: Readonly<Record<string, Codec<unknown>>>,
): PointCheck | null {
  const checks = Object.entries(fields).flatMap(([key, codec]) => {
    const check = pointCheckOf(codec);
    return check === null ? [] : [{ key, check }];
  });
  if (checks.length === 0) return null;
  return (value, path) => {
    if (typeof value !== "object" || value === null) return;
    const entries = new Map<string, unknown>(Object.entries(value));
    for (const { key, check } of checks) {
      check(entries.get(key), `${path}.${key}`);
    }
  };
}
