/**
 * The softkey is killed while a card is set up, moved, sealed or wiped, with
 * SIGKILL: the real program right after a file, a line or a screen appeared, or a
 * random while later; setups also right before one of their changes to the disk.
 *
 * Afterwards the card holds no seed, and the same command works at once on what
 * is left; or it holds a whole one, which the key opens, which `card check`
 * names, and which is the one of the words. Nothing of it is there in clear. For
 * the commands on a whole card, what each says about itself has to hold.
 *
 * `SEED=n` picks other moments (it is printed when a kill goes wrong); SLOW=1
 * kills 300 times.
 *
 * What it does not do: stop the other commands at each change; their own tests
 * do.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Secret } from "../../src/crypto/secret.ts";
import { findCard, hasSeed, readSealed } from "../../src/device/card.ts";
import {
  identityChange,
  openCardStore,
  readCardFacts,
} from "../../src/device/card_state.ts";
import {
  openFile,
  openSealed,
  sealedNodeId,
  type SealKey,
} from "../../src/device/sealed_secret.ts";
import {
  candidateOfFile,
  candidateOfWords,
} from "../../src/device/setup/candidate.ts";
import { makeSecretFileOfWords } from "../../src/keyderiv.ts";
import { NODE, SEED as CARD_SEED, withCard } from "../support/card_folder.ts";
import { filesIn, SOFTKEY } from "../support/life.ts";
import { fromFileUrl, withDeno } from "../support/paths.ts";
import {
  byteSecret,
  type RunSecret,
  SecretHunt,
  secretsOfWords,
} from "../support/secrets.ts";
import {
  driveSoftkey,
  inFolder,
  readWords,
  runSoftkey,
  typeBack,
} from "../support/softkey.ts";
import type { DrivenTerminal } from "../support/terminal.ts";

const SEED = Number(Deno.env.get("SEED") ?? 1);
const KILLS = Deno.env.get("SLOW") === "1" ? 300 : 30;
/** Kills under way at the same time. */
const ABREAST = 2;
/** How often the program itself is asked what is on the card. */
const CHECKED_SHARE = 0.3;
/** As long as a softkey seals, on a slow machine. */
const MOST_LATER_MS = 700;

/** Of the BIP 39 vectors: words whose entropy is found nowhere by chance. */
const WORDS =
  "ozone drill grab fiber curtain grace pudding thank cruise elder eight picnic";
const WORDS_NODE = candidateOfWords(WORDS, null, false).nodeId ?? "";
const PASSPHRASE = "correct horse battery";

const KILLED_SETUP = fromFileUrl(
  new URL("../support/killed_setup.ts", import.meta.url),
);
/** A few more than any setup makes to the disk. */
const CHANGES = 54;

type Random = () => number;

/** mulberry32: numbers from 0 to 1, the same for the same seed. */
function seeded(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

function pick<T>(list: readonly T[], random: Random): T {
  const found = list[Math.floor(random() * list.length)];
  assert.ok(found !== undefined);
  return found;
}

/** At once, a moment later, or a while later. */
function laterMs(random: Random): number {
  return pick([0, 3, 40, MOST_LATER_MS], random) * random();
}

/** Not after something that appeared, but at any time. */
const ANY_TIME = "";

/** One card, and one kill. */
interface Trial {
  readonly around: string;
  /** The card's folder. */
  readonly folder: string;
  readonly random: Random;
  /** Where the key of the seal comes from, as options. */
  readonly keyOptions: readonly string[];
  readonly key: () => Promise<SealKey>;
}

// ------------------------------------------------------------------- killing

/** Runs a command that dies after something appeared; whether it did. */
async function isKilled(
  { around, random }: Pick<Trial, "around" | "random">,
  args: readonly string[],
  triggers: readonly string[],
): Promise<boolean> {
  const trigger = pick([...triggers, ANY_TIME], random);
  const later = trigger === ANY_TIME
    ? MOST_LATER_MS * random()
    : laterMs(random);
  const watcher = Deno.watchFs(around);
  const [command, ...first] = SOFTKEY;
  const child = new Deno.Command(command, {
    args: [...first, ...args],
    env: withDeno(),
    stdin: "null",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const kill = () => {
    timer ??= setTimeout(() => {
      try {
        child.kill("SIGKILL");
      } catch {
        // It ended before.
      }
    }, later);
  };
  if (trigger === ANY_TIME) kill();
  const watching = onFile(watcher, trigger, kill);
  const reading = onText(child.stdout, trigger, kill);
  const { signal } = await child.status;
  clearTimeout(timer);
  watcher.close();
  await Promise.all([watching, reading]);
  return signal === "SIGKILL";
}

/** Runs a setup that dies before one of its changes to the disk; whether it did. */
async function isKilledInside(
  { random }: Pick<Trial, "random">,
  args: readonly string[],
): Promise<boolean> {
  const change = 1 + Math.floor(random() * CHANGES);
  const [command, ...first] = SOFTKEY.with(-1, KILLED_SETUP);
  assert.ok(command !== undefined);
  const { signal } = await new Deno.Command(command, {
    args: [...first, `${change}`, ...args],
    env: withDeno(),
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).output();
  return signal === "SIGKILL";
}

async function onFile(
  watcher: Deno.FsWatcher,
  name: string,
  then: () => void,
): Promise<void> {
  for await (const { paths } of watcher) {
    if (paths.some((path) => path.endsWith(`/${name}`))) then();
  }
}

async function onText(
  stream: ReadableStream<Uint8Array>,
  text: string,
  then: () => void,
): Promise<void> {
  let said = "";
  for await (const part of stream.pipeThrough(new TextDecoderStream())) {
    said += part;
    if (said.includes(text)) then();
  }
}

/** Kills the softkey that runs in a terminal, and not the terminal. */
async function killIn(folder: string): Promise<void> {
  for await (const { name } of Deno.readDir("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const line = await Deno.readTextFile(`/proc/${name}/cmdline`)
      .catch(() => "");
    const isSoftkey = line.startsWith(SOFTKEY[0]) &&
      line.split("\0").includes(folder);
    if (isSoftkey) Deno.kill(Number(name), "SIGKILL");
  }
}

// ------------------------------------------------------------------- looking

async function isThere(path: string): Promise<boolean> {
  return await Deno.lstat(path).then(() => true, () => false);
}

/** What the memory says of the card; opening it checks that it is whole. */
async function standingOf(folder: string): Promise<string> {
  const card = await findCard(folder);
  assert.ok(card !== null, "there is no card");
  const store = openCardStore(folder);
  try {
    store.check();
    assert.equal(identityChange(store, card), null);
    const { network, standing } = readCardFacts(store);
    assert.equal(network, "regtest");
    return standing?.kind ?? "good";
  } finally {
    store.close();
  }
}

/** The node id of the seed on a card, opened; null where there is no seed. */
async function openedNode(
  { folder, key }: Pick<Trial, "folder" | "key">,
): Promise<string | null> {
  if (!await isThere(folder)) return null;
  assert.notEqual(await hasSeed({ folder }), "clear");
  const sealed = await readSealed({ folder });
  if (sealed === null) return null;
  const secret = openSealed(sealed, await key());
  const { nodeId } = candidateOfFile(secret.reveal(), { passphrase: null });
  assert.equal(sealedNodeId(sealed)?.toHex(), nodeId);
  return nodeId;
}

/** Words are on a screen, in a file, or nowhere any more. */
async function lookForSecrets(
  { around }: Trial,
  words: string | null,
): Promise<void> {
  const secrets: readonly RunSecret[] = [
    ...words === null ? [] : secretsOfWords(words.split(" "), []),
    byteSecret("passphrase", new TextEncoder().encode(PASSPHRASE)),
  ];
  const hunt = new SecretHunt(secrets);
  const given = /\/(?:words|more|given|passphrase)(?:\.softkey-new)?$/;
  const files = (await filesIn(around)).filter(({ name }) => !given.test(name));
  assert.deepEqual(files.flatMap((file) => hunt.find(file)), []);
}

/** What the program says of a card with this seed, or without one. */
async function check(trial: Trial, nodeId: string | null): Promise<void> {
  const { folder, keyOptions, random } = trial;
  if (random() > CHECKED_SHARE) return;
  if (!await isThere(`${folder}/state.db`)) return;
  const args = ["card", "check", "--card", folder, ...keyOptions];
  const { code, out, err } = await runSoftkey(...args);
  assert.equal(code, 0, out + err);
  assert.ok(out.includes(nodeId ?? "there is no seed yet"), out);
}

/** A command that has to work on what a kill left. */
async function works(...args: readonly string[]): Promise<void> {
  const { code, out, err } = await runSoftkey(...args);
  assert.equal(code, 0, out + err);
}

// --------------------------------------------------------------------- rows

/** What is killed, and what has to be true then. */
type Row = (trial: Trial) => Promise<boolean>;

const FILES_OF_A_CARD = ["id", "card_key", "state.db", "state.db-wal"];
const FILES_OF_A_SEED = [
  "seed.sealed.softkey-new",
  "seed.sealed",
  "state.db.sum",
  "words",
  "key",
  "This sets up the card",
];

const cardOf = ({ folder, keyOptions }: Trial) => [
  ...["--card", folder, "--network", "regtest", "--yes"],
  ...keyOptions,
];

/** How a command that runs unattended is killed. */
type Kill = (
  trial: Trial,
  args: readonly string[],
  triggers: readonly string[],
) => Promise<boolean>;

const initUnattended = (kill: Kill): Row => async (trial) => {
  const { around } = trial;
  const init = (file: string) => [
    ...["init", "--words-file", `${around}/${file}`],
    ...cardOf(trial),
  ];
  const triggers = [...FILES_OF_A_CARD, ...FILES_OF_A_SEED];
  const isDead = await kill(trial, init("words"), triggers);
  const nodeId = await openedNode(trial);
  const words = await wordsIn(`${around}/words`);
  await lookForSecrets(trial, words);
  await check(trial, nodeId);
  if (nodeId !== null) {
    assert.ok(words !== null, "a seed without its words");
    assert.equal(candidateOfWords(words, null, true).nodeId, nodeId);
    assert.equal(await standingOf(trial.folder), "good");
    return isDead;
  }
  assert.ok(isDead, "it ended without a seed");
  await works(...init("more"));
  const again = await wordsIn(`${around}/more`) ?? "";
  const wanted = candidateOfWords(again, null, true).nodeId;
  assert.equal(await openedNode(trial), wanted);
  return isDead;
};

/** A file with words is whole where it is. */
async function wordsIn(path: string): Promise<string | null> {
  if (!await isThere(path)) return null;
  const text = await Deno.readTextFile(path);
  assert.match(text, /^(?:[a-z]+ ){11}[a-z]+\n$/);
  return text.trim();
}

const restoreUnattended = (kill: Kill): Row => async (trial) => {
  const from = await source(trial);
  const restore = ["restore", ...from, ...cardOf(trial)];
  const triggers = [...FILES_OF_A_CARD, ...FILES_OF_A_SEED];
  const isDead = await kill(trial, restore, triggers);
  return await lookRestored(trial, isDead, restore);
};

/** The same seed as words, or as a file of Core Lightning. */
async function source({ around, random }: Trial): Promise<readonly string[]> {
  const isFile = random() < 0.4;
  const path = `${around}/${isFile ? "given" : "words"}`;
  const content = isFile
    ? makeSecretFileOfWords(WORDS, null)
    : new TextEncoder().encode(WORDS);
  await Deno.writeFile(path, content, { mode: 0o600 });
  return [isFile ? "--hsm-secret" : "--words-file", path];
}

async function lookRestored(
  trial: Trial,
  isDead: boolean,
  restore: readonly string[],
): Promise<boolean> {
  const nodeId = await openedNode(trial);
  await lookForSecrets(trial, WORDS);
  await check(trial, nodeId);
  if (nodeId === null) {
    assert.ok(isDead, "it ended without a seed");
    await works(...restore);
  }
  assert.equal(await openedNode(trial), WORDS_NODE);
  // A seed is never there without what it may do.
  assert.equal(await standingOf(trial.folder), "restored");
  return isDead;
}

/** What is waited for, and what is typed then. */
type Screen = (terminal: DrivenTerminal) => Promise<unknown>;

const waits = (text: string): Screen => (terminal) => terminal.says(text);
const types = (text: string): Screen => (terminal) => terminal.types(text);

const SEALING: readonly Screen[] = [
  waits("or more): "),
  types(PASSPHRASE),
  waits("again: "),
  types(PASSPHRASE),
  waits("Sealing the seed"),
  // Twice as likely: this is where it happens.
  () => Promise.resolve(),
  waits("Done."),
];

/** Walks through the screens up to one of them, and kills the softkey there. */
async function isKilledAt(
  { folder, random }: Trial,
  args: readonly string[],
  screens: readonly Screen[],
): Promise<boolean> {
  await using terminal = driveSoftkey(...args);
  const last = Math.floor(random() * screens.length);
  for (const screen of screens.slice(0, last + 1)) await screen(terminal);
  const later = laterMs(random);
  await new Promise((resolve) => setTimeout(resolve, later));
  await killIn(folder);
  return await terminal.ends() !== 0;
}

async function initAtTerminal(trial: Trial): Promise<boolean> {
  const { folder } = trial;
  const init = ["init", "--card", folder, "--network", "regtest"];
  let words: readonly string[] | null = null;
  const screens: readonly Screen[] = [
    waits("Ctrl-C ends it"),
    async (terminal) => words = await readWords(terminal),
    (terminal) => typeBack(terminal, words ?? []),
    ...SEALING,
  ];
  const isDead = await isKilledAt(trial, init, screens);
  const nodeId = await openedNode(trial);
  // The assignment is in a function, which TypeScript does not follow.
  const shown = words as readonly string[] | null;
  const text = shown?.join(" ") ?? null;
  await lookForSecrets(trial, text);
  await check(trial, nodeId);
  if (nodeId !== null) {
    assert.equal(candidateOfWords(text ?? "", null, true).nodeId, nodeId);
    assert.equal(await standingOf(folder), "good");
    return isDead;
  }
  assert.ok(isDead, "it ended without a seed");
  const file = `${trial.around}/words`;
  await works(...init, ...trial.keyOptions, "--yes", "--words-file", file);
  assert.notEqual(await openedNode(trial), null);
  return isDead;
}

async function restoreAtTerminal(trial: Trial): Promise<boolean> {
  const { folder, around } = trial;
  const restore = ["restore", "--card", folder, "--network", "regtest"];
  const screens: readonly Screen[] = [
    waits("Words: "),
    types(WORDS),
    waits("12 words so far"),
    types(""),
    waits("Passphrase of the words"),
    types(""),
    waits("Is this the node"),
    types("yes"),
    ...SEALING,
  ];
  const isDead = await isKilledAt(trial, restore, screens);
  const words = `${around}/words`;
  await Deno.writeTextFile(words, WORDS, { mode: 0o600 });
  const again = ["--words-file", words, ...trial.keyOptions, "--yes"];
  return await lookRestored(trial, isDead, [...restore, ...again]);
}

/** A card that was used, for the commands on whole cards. */
interface UsedCard extends Trial {
  readonly keyFile: string;
}

function onUsedCard(use: (card: UsedCard) => Promise<boolean>): Row {
  return async ({ random }) => {
    let isDead = false;
    await withCard(async ({ around, folder, keyFile, key }) => {
      isDead = await use({
        around,
        folder,
        keyFile,
        random,
        keyOptions: ["--key-file", keyFile],
        key: () => Promise.resolve(key),
      });
    });
    return isDead;
  };
}

const move = onUsedCard(async (card) => {
  const file = `${card.around}/backup`;
  const args = ["card", "backup", file, "--move", ...cardOf(card)];
  const triggers = [
    "This moves the card",
    "state.db-wal",
    "backup.softkey-new",
    "backup",
  ];
  const isDead = await isKilled(card, args, triggers);
  if (await isThere(file)) {
    openFile(await Deno.readFile(file), "backup", await card.key());
    assert.equal(await standingOf(card.folder), "moved");
    return isDead;
  }
  assert.ok(isDead, "it ended without a file");
  await works(...args);
  assert.equal(await standingOf(card.folder), "moved");
  assert.ok(await isThere(file));
  return isDead;
});

const restoreBackup = onUsedCard(async (card) => {
  const { around } = card;
  const file = `${around}/backup`;
  await works("card", "backup", file, ...cardOf(card));
  const folder = `${around}/other`;
  const restored = { ...card, folder };
  const args = ["card", "restore", file, ...cardOf(restored)];
  const triggers = [
    ...FILES_OF_A_CARD,
    "channels ",
    "other.softkey-new",
    "other",
  ];
  const isDead = await isKilled(card, args, triggers);
  if (!await isThere(folder)) {
    assert.ok(isDead, "it ended without a card");
    await works(...args);
  }
  assert.equal(await standingOf(folder), "restored");
  assert.equal(await openedNode(restored), NODE);
  await check(restored, NODE);
  return isDead;
});

const changeKey = onUsedCard(async (card) => {
  const { around, folder, keyFile } = card;
  const path = `${around}/new`;
  const base = ["--card", folder, "--key-file", keyFile];
  const args = ["card", "passphrase", "key-file", path, ...base];
  const triggers = ["new.softkey-new", "new", "seed.sealed.softkey-new"];
  const isDead = await isKilled(card, args, triggers);
  const sealed = await readSealed({ folder }) ?? new Uint8Array();
  const files = [keyFile, ...await isThere(path) ? [path] : []];
  const opening = [];
  for (const each of files) {
    const bytes = new Secret(await Deno.readFile(each));
    if (opens(sealed, { kind: "file", bytes })) opening.push(each);
  }
  assert.equal(opening.length, 1);
  if (!isDead) assert.deepEqual(opening, [path]);
  await check({ ...card, keyOptions: ["--key-file", opening[0] ?? ""] }, NODE);
  return isDead;
});

function opens(sealed: Uint8Array, key: SealKey): boolean {
  try {
    return openSealed(sealed, key).equals(CARD_SEED);
  } catch {
    return false;
  }
}

const seal = onUsedCard(async (card) => {
  const { folder, keyOptions } = card;
  await Deno.remove(`${folder}/seed.sealed`);
  await Deno.writeFile(`${folder}/hsm_secret`, CARD_SEED, { mode: 0o400 });
  const args = ["card", "seal", "--card", folder, ...keyOptions];
  const triggers = ["seed.sealed.softkey-new", "seed.sealed", "hsm_secret"];
  const isDead = await isKilled(card, args, triggers);
  if (await hasSeed({ folder }) === "clear") {
    assert.deepEqual(await Deno.readFile(`${folder}/hsm_secret`), CARD_SEED);
  }
  if (await isThere(`${folder}/hsm_secret`)) {
    assert.ok(isDead, "it ended with a seed in clear");
    await works(...args);
  }
  assert.equal(await openedNode(card), NODE);
  const files = await filesIn(folder);
  const hunt = new SecretHunt([byteSecret("seed", CARD_SEED.subarray(32))]);
  assert.deepEqual(files.flatMap((file) => hunt.find(file)), []);
  return isDead;
});

const wipe = onUsedCard(async (card) => {
  const { folder } = card;
  const args = ["card", "wipe", "--card", folder, "--yes"];
  const triggers = ["This takes away", "seed.sealed", "state.db", "card_key"];
  const isDead = await isKilled(card, args, triggers);
  if (!await isThere(folder)) return isDead;
  if (await hasSeed({ folder }) !== null) {
    assert.equal(await openedNode(card), NODE);
    assert.equal(await standingOf(folder), "good");
  }
  assert.ok(isDead, "it ended with a card");
  const names = [...Deno.readDirSync(folder)].map(({ name }) => name);
  if (names.length > 0) await works(...args);
  return isDead;
});

/** Setups come more often: they make something that was not there before. */
const ROWS: Readonly<Record<string, Row>> = {
  init: initUnattended(isKilled),
  restore: restoreUnattended(isKilled),
  "init at a change": initUnattended(isKilledInside),
  "init at a terminal": initAtTerminal,
  "restore at a change": restoreUnattended(isKilledInside),
  "restore at a terminal": restoreAtTerminal,
  "init at another change": initUnattended(isKilledInside),
  "card backup --move": move,
  "card restore": restoreBackup,
  "card passphrase": changeKey,
  "card seal": seal,
  "card wipe": wipe,
};

/** An empty folder, and one of two kinds of key. */
async function tryOnce(n: number): Promise<boolean> {
  const random = seeded(SEED * 1_000_003 + n);
  const names = Object.keys(ROWS);
  const name = names[n % names.length] ?? "";
  const row = ROWS[name];
  assert.ok(row !== undefined);
  let isDead = false;
  await inFolder(async (around) => {
    const isTyped = name.endsWith("terminal") || random() < 0.3;
    const keys = isTyped
      ? await typedKey(`${around}/passphrase`)
      : fileKey(`${around}/key`);
    const folder = `${around}/card`;
    try {
      isDead = await row({ around, folder, random, ...keys });
    } catch (cause) {
      const text = `SEED=${SEED}, kill ${n}, ${name}: ${cause}`;
      throw new Error(text, { cause });
    }
  });
  return isDead;
}

async function typedKey(
  path: string,
): Promise<Pick<Trial, "keyOptions" | "key">> {
  await Deno.writeTextFile(path, PASSPHRASE, { mode: 0o600 });
  const bytes = new Secret(new TextEncoder().encode(PASSPHRASE));
  return {
    keyOptions: ["--passphrase-file", path],
    key: () => Promise.resolve({ kind: "passphrase", bytes }),
  };
}

function fileKey(path: string): Pick<Trial, "keyOptions" | "key"> {
  return {
    keyOptions: ["--key-file", path],
    key: async () => ({
      kind: "file",
      bytes: new Secret(await Deno.readFile(path)),
    }),
  };
}

Deno.test(`a softkey that is killed ${KILLS} times leaves no seed or a whole one`, async () => {
  let next = 0;
  let kills = 0;
  const work = async () => {
    while (next < KILLS) if (await tryOnce(next++)) kills += 1;
  };
  await Promise.all(Array.from({ length: ABREAST }, work));
  assert.ok(kills > KILLS / 4, `only ${kills} of ${KILLS} were killed`);
});
