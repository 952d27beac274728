/**
 * SipHash-2-4: the short keyed hash that compact block filters are made of.
 *
 * Aumasson and Bernstein 2012; 16 bytes of key, 8 bytes of result. It keeps a
 * table from being flooded by somebody who does not know the key. Here the key
 * is a block's hash, which everybody knows: nothing secret passes through.
 *
 * What it does not do: replace a cryptographic hash.
 *
 * @module
 */

type Lanes = [bigint, bigint, bigint, bigint];

const INITIAL: Readonly<Lanes> = [
  0x736f6d6570736575n,
  0x646f72616e646f6dn,
  0x6c7967656e657261n,
  0x7465646279746573n,
];

const cut = (value: bigint) => BigInt.asUintN(64, value);

function rotate(value: bigint, bits: bigint): bigint {
  return cut(value << bits) | value >> (64n - bits);
}

/** SipRound, in place. */
function round(v: Lanes): void {
  let [a, b, c, d] = v;
  a = cut(a + b);
  b = rotate(b, 13n) ^ a;
  a = rotate(a, 32n);
  c = cut(c + d);
  d = rotate(d, 16n) ^ c;
  a = cut(a + d);
  d = rotate(d, 21n) ^ a;
  c = cut(c + b);
  b = rotate(b, 17n) ^ c;
  c = rotate(c, 32n);
  v[0] = a;
  v[1] = b;
  v[2] = c;
  v[3] = d;
}

function absorb(v: Lanes, word: bigint): void {
  v[3] ^= word;
  round(v);
  round(v);
  v[0] ^= word;
}

/** SipHash-2-4 of the bytes under a key of 16 bytes. */
export function sipHash(key: Uint8Array, bytes: Uint8Array): bigint {
  const keys = new DataView(key.buffer, key.byteOffset, 16);
  const k0 = keys.getBigUint64(0, true);
  const k1 = keys.getBigUint64(8, true);
  const v: Lanes = [
    INITIAL[0] ^ k0,
    INITIAL[1] ^ k1,
    INITIAL[2] ^ k0,
    INITIAL[3] ^ k1,
  ];
  const whole = bytes.length - bytes.length % 8;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0; at < whole; at += 8) absorb(v, view.getBigUint64(at, true));
  const last = new Uint8Array(8);
  last.set(bytes.subarray(whole));
  last[7] = bytes.length & 0xff;
  absorb(v, new DataView(last.buffer).getBigUint64(0, true));
  v[2] ^= 0xffn;
  for (let i = 0; i < 4; i++) round(v);
  return v[0] ^ v[1] ^ v[2] ^ v[3];
}
