/**
 * Every secret that a run made, in every form in which a program could let it
 * out, and the search for them in whatever the run leaves behind.
 *
 * | form | found also when |
 * | --- | --- |
 * | bytes | only 16 in a row are there |
 * | hex | in capitals, reversed, or with spaces or colons in between |
 * | base64, base64url | it is in the middle of a longer text, or on several lines |
 * | decimal | the numbers are on several lines |
 * | words | three in a row, or of a row or a column of a table, whatever is between |
 *
 * {@link spellings} is how they are let out, {@link SecretHunt} is how they are
 * found: a test plants the ones to see that the other finds them.
 *
 * What it does not do: look into memory, or undo encryption.
 *
 * @module
 */

import { createBase58check } from "@scure/base";
import { mnemonicToEntropy } from "@scure/bip39";
import { wordlist } from "@scure/bip39/wordlists/english.js";
import { NETWORKS } from "../../src/bitcoin/networks.ts";
import { sha256 } from "../../src/crypto/hash.ts";
import { perCommitmentSecret } from "../../src/lightning/shachain.ts";
import {
  type ChannelId,
  deriveChannelKeys,
} from "../../src/keyderiv/channel.ts";
import {
  deriveChild,
  deriveMasterKey,
  derivePath,
  encodeExtKey,
  type ExtendedKey,
  HARDENED,
} from "../../src/keyderiv/bip32.ts";
import {
  deriveNodeKeys,
  deriveWalletKey,
  type NodeKeys,
} from "../../src/keyderiv/node.ts";
import {
  makeSecretFileOfWords,
  type NodeSecret,
  openSecretFile,
  parseSecretFile,
} from "../../src/keyderiv.ts";

/** A secret of bytes, by its name. */
export interface ByteSecret {
  readonly kind: "bytes";
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** The words of a seed. */
export interface WordSecret {
  readonly kind: "words";
  readonly name: string;
  readonly words: readonly string[];
}

/** What nobody may find. */
export type RunSecret = ByteSecret | WordSecret;

/** A secret of bytes. */
export function byteSecret(name: string, bytes: Uint8Array): ByteSecret {
  return { kind: "bytes", name, bytes: new Uint8Array(bytes) };
}

/** A secret that is text, a passphrase for one. */
export function textSecret(name: string, text: string): ByteSecret {
  return byteSecret(name, new TextEncoder().encode(text));
}

// ------------------------------------------------------------ what there is

/** All that the node's own keys are made of, and some that they make. */
export function secretsOfNode(secret: NodeSecret): readonly RunSecret[] {
  const keys = deriveNodeKeys(secret);
  const walletKeys = Array.from(
    { length: 4 },
    (_, i) =>
      byteSecret(`wallet key ${i}`, deriveWalletKey(keys, i).secret.reveal()),
  );
  return [
    byteSecret("seed", secret.seed.reveal()),
    byteSecret("node key", keys.node.secret.reveal()),
    byteSecret("BOLT 12 key", keys.bolt12.secret.reveal()),
    byteSecret("base of derived secrets", keys.derivedBase.reveal()),
    byteSecret("base of channels", keys.channelBase.reveal()),
    ...walletKeys,
    ...extendedKeys(secret, keys),
  ];
}

/** Private extended keys, as base58 text and as what that is made of. */
function extendedKeys(
  { seed }: NodeSecret,
  { wallet, bip86 }: NodeKeys,
): readonly RunSecret[] {
  const master = deriveMasterKey(seed);
  const found: readonly (readonly [string, ExtendedKey | null])[] = [
    ["m/0/0", wallet],
    ["m/86'/0'/0'", bip86?.base ?? null],
    ["BIP 86 chain", bip86?.external ?? null],
    ["BIP 32 master", master],
    ["m/0'", master && deriveChild(master, HARDENED)],
    ["m/86'", master && derivePath(master, [HARDENED + 86])],
  ];
  return found.flatMap(([name, key]) =>
    key === null ? [] : [
      byteSecret(`key ${name}`, key.secret.reveal()),
      ...[NETWORKS.bitcoin, NETWORKS.regtest].map(({ bip32 }) =>
        textSecret(`extended key ${name}`, privateText(key, bip32.private))
      ),
    ]
  );
}

/** A private extended key as wallets write it: base58 with a sum (BIP 32). */
function privateText(key: ExtendedKey, version: number): string {
  const bytes = new Uint8Array(encodeExtKey(key, version));
  bytes.set([0, ...key.secret.reveal()], bytes.length - 33);
  return createBase58check((data: Uint8Array) => sha256(data)).encode(bytes);
}

/** All that a seed of words is, and the node and channels that it makes. */
export function secretsOfWords(
  words: readonly string[],
  channels: readonly ChannelId[],
  passphrase: Uint8Array | null = null,
): readonly RunSecret[] {
  const text = words.join(" ");
  const file = parseSecretFile(makeSecretFileOfWords(text, passphrase));
  const secret = openSecretFile(file, { passphrase: passphrase ?? undefined });
  return [
    { kind: "words", name: "the words", words },
    byteSecret("the entropy", mnemonicToEntropy(text, wordlist)),
    ...secretsOfNode(secret),
    ...secretsOfChannels(secret, channels, new Set()),
  ];
}

/** How far the per-commitment secrets of a channel are looked at. */
export const COMMITMENTS = 24;

/** The keys of channels, and those of their secrets that were not released. */
export function secretsOfChannels(
  secret: NodeSecret,
  channels: readonly ChannelId[],
  released: ReadonlySet<string>,
): readonly RunSecret[] {
  const { channelBase } = deriveNodeKeys(secret);
  return channels.flatMap((id) => {
    const { shaseed, ...pairs } = deriveChannelKeys(channelBase, id);
    const of = `of channel ${id.dbid} with ${id.peerId.toHex().slice(0, 8)}`;
    const secrets = Array.from({ length: COMMITMENTS }, (_, n) => ({
      n,
      bytes: perCommitmentSecret(shaseed, BigInt(n)).reveal(),
    }));
    return [
      byteSecret(`shaseed ${of}`, shaseed.reveal()),
      ...Object.entries(pairs).map(([name, { secret }]) =>
        byteSecret(`${name} key ${of}`, secret.reveal())
      ),
      ...secrets.filter(({ bytes }) => !released.has(bytes.toHex()))
        .map(({ n, bytes }) =>
          byteSecret(`secret of commitment ${n} ${of}`, bytes)
        ),
    ];
  });
}

// ------------------------------------------------------- how it can get out

/** A secret as some program might write it. */
export interface Spelling {
  readonly how: string;
  readonly bytes: Uint8Array;
}

/** Every way in which a secret is let out here. */
export function spellings(secret: RunSecret): readonly Spelling[] {
  return secret.kind === "bytes"
    ? byteSpellings(secret.bytes)
    : wordSpellings(secret.words);
}

function byteSpellings(bytes: Uint8Array): readonly Spelling[] {
  const hex = bytes.toHex();
  const within = (before: number) =>
    Uint8Array.of(...new Uint8Array(before).fill(7), ...bytes, 1, 2, 3);
  const url = { alphabet: "base64url", omitPadding: true } as const;
  return [
    { how: "bytes", bytes },
    { how: "the first 16 bytes", bytes: bytes.subarray(0, 16) },
    { how: "the last 16 bytes", bytes: bytes.subarray(-16) },
    spelt("hex", hex),
    spelt("HEX", hex.toUpperCase()),
    spelt("hex with colons", hex.replaceAll(/(..)(?=.)/g, "$1:")),
    spelt("reversed hex", bytes.toReversed().toHex()),
    spelt("base64", bytes.toBase64()),
    spelt("base64url", bytes.toBase64(url)),
    spelt("base64 after one byte", within(1).toBase64()),
    spelt("base64 after two bytes", within(2).toBase64()),
    spelt("base64 in lines", bytes.toBase64().replaceAll(/(.{20})/g, "$1\n")),
    spelt("a JSON array", JSON.stringify([...bytes])),
    spelt("an inspected array", Deno.inspect(bytes)),
    spelt("decimal lines", [...bytes].join(",\n")),
  ];
}

function wordSpellings(words: readonly string[]): readonly Spelling[] {
  const rows = words.length / 3;
  return [
    spelt("a line", words.join(" ")),
    spelt("CAPITALS", words.join(" ").toUpperCase()),
    spelt("JSON", JSON.stringify(words)),
    spelt("a numbered list", words.map((w, i) => `${i + 1}. ${w}`).join("\n")),
    spelt("three in a row", words.slice(4, 7).join(", ")),
    spelt(
      "a row of the screen",
      `1 ${words[0]} 5 ${words[rows]} 9 ${words[2 * rows]}`,
    ),
    { how: "hex", bytes: encodeText(encodeText(words.join(" ")).toHex()) },
    spelt("base64", encodeText(words.join(" ")).toBase64()),
  ];
}

function spelt(how: string, text: string): Spelling {
  return { how, bytes: encodeText(text) };
}

function encodeText(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

// --------------------------------------------------------- how it is found

/** Something that a run left, or that was seen of it. */
export interface Remains {
  /** A path, or what it is. */
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** A secret where none may be. */
export interface Finding {
  readonly secret: string;
  readonly where: string;
}

/** What to look for, in the one way of reading in which it is looked for. */
interface Needle {
  readonly secret: string;
  readonly reading: keyof typeof READINGS;
  readonly text: string;
}

/** What is looked at, made alike: one character for each byte. */
const READINGS = {
  raw: (text: string) => text,
  hex: (text: string) => text.toLowerCase().replaceAll(/[\s:]+/g, ""),
  base64: (text: string) =>
    text.replaceAll(/\s+/g, "").replaceAll("-", "+").replaceAll("_", "/"),
  decimal: (text: string) => text.replaceAll(/\s+/g, ""),
  words: (text: string) =>
    withoutCodes(text).toLowerCase().replaceAll(/[^a-z]+/g, " "),
} as const;

/** Looks for secrets. */
export class SecretHunt {
  readonly #needles: readonly Needle[];

  constructor(secrets: readonly RunSecret[]) {
    this.#needles = secrets.flatMap(needlesOf);
  }

  /** Every secret that is in there. */
  find({ name, bytes }: Remains): readonly Finding[] {
    const text = latin1(bytes);
    const found = new Set<string>();
    for (const [reading, read] of Object.entries(READINGS)) {
      const needles = this.#needles.filter((each) => each.reading === reading);
      const hay = read(text);
      for (const { secret, text } of needles) {
        if (!found.has(secret) && hay.includes(text)) found.add(secret);
      }
    }
    return [...found].map((secret) => ({ secret, where: name }));
  }
}

/** As many bytes as nobody has by chance. */
const TELLING = 16;

function needlesOf(secret: RunSecret): readonly Needle[] {
  if (secret.kind === "words") return wordNeedles(secret);
  const { name, bytes } = secret;
  return piecesOf(bytes).flatMap((piece): Needle[] => [
    { secret: name, reading: "raw", text: latin1(piece) },
    { secret: name, reading: "hex", text: piece.toHex() },
    { secret: name, reading: "hex", text: piece.toReversed().toHex() },
    ...[0, 1, 2].map((before): Needle => ({
      secret: name,
      reading: "base64",
      text: base64Core(piece, before),
    })),
    { secret: name, reading: "decimal", text: [...piece].join(",") },
  ]);
}

function piecesOf(bytes: Uint8Array): readonly Uint8Array[] {
  if (bytes.length <= TELLING) return [bytes];
  const count = Math.floor(bytes.length / TELLING);
  return [
    ...Array.from(
      { length: count },
      (_, i) => bytes.subarray(i * TELLING, (i + 1) * TELLING),
    ),
    bytes.subarray(-TELLING),
  ];
}

/** The characters that these bytes make, whatever stands before and after. */
function base64Core(bytes: Uint8Array, before: number): string {
  const padded = Uint8Array.of(...new Uint8Array(before), ...bytes);
  const whole = Math.floor(padded.length * 8 / 6);
  return padded.toBase64().slice(Math.ceil(before * 8 / 6), whole);
}

function wordNeedles({ name, words }: WordSecret): readonly Needle[] {
  const steps = [1, Math.ceil(words.length / 3)];
  const triples = steps.flatMap((step) =>
    words.flatMap((word, i) => {
      const [second, third] = [words[i + step], words[i + 2 * step]];
      return second === undefined || third === undefined
        ? []
        : [`${word} ${second} ${third}`];
    })
  );
  const text = byteSecret(name, encodeText(words.join(" ")));
  return [
    ...triples.map((three): Needle => ({
      secret: name,
      reading: "words",
      text: three,
    })),
    ...needlesOf(text),
  ];
}

/** Without what a terminal does not show (ECMA-48 5.4). */
function withoutCodes(text: string): string {
  // deno-lint-ignore no-control-regex
  return text.replaceAll(/\x1b\[[0-?]*[ -/]*[@-~]/g, " ");
}

function latin1(bytes: Uint8Array): string {
  return new TextDecoder("latin1").decode(bytes);
}

/** Whether a file is one that may hold a key: card's, or broker's. */
export function isKeyFile(name: string): boolean {
  return /^\/.*\/(?:card_key|link_key)$/.test(name);
}

/** The keys that are in files of their own, and may be nowhere else. */
export function keyFilesIn(remains: readonly Remains[]): readonly RunSecret[] {
  return remains.filter(({ name }) => isKeyFile(name))
    .map(({ name, bytes }) => byteSecret(name, bytes));
}

/** Secrets that a hunt misses in a place that they were let out into. */
export function missedBy(
  hunt: SecretHunt,
  place: Remains,
  secrets: readonly RunSecret[],
): readonly string[] {
  return (["bytes", "words"] as const).flatMap((kind) => {
    const some = secrets.filter((each) => each.kind === kind);
    return [...plantings(place, some)].flatMap(({ how, remains }) => {
      const found = new Set(hunt.find(remains).map(({ secret }) => secret));
      return some.filter(({ name }) => !found.has(name))
        .map(({ name }) => `${name}: ${how} in ${place.name}`);
    });
  });
}

interface Planting {
  readonly how: string;
  readonly remains: Remains;
}

/** The place with the secrets in it: once for each way of letting them out. */
function* plantings(
  { name, bytes }: Remains,
  secrets: readonly RunSecret[],
): Generator<Planting> {
  const each = secrets.map(spellings);
  const middle = bytes.length >> 1;
  for (const [i, { how }] of (each[0] ?? []).entries()) {
    const planted = each.flatMap((ways) => [
      ...encodeText("\n"),
      ...ways[i]?.bytes ?? [],
    ]);
    const all = Uint8Array.from([
      ...bytes.subarray(0, middle),
      ...planted,
      ...bytes.subarray(middle),
    ]);
    yield { how, remains: { name, bytes: all } };
  }
}
