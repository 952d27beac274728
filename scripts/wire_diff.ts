/**
 * Compares the message tables with Core Lightning's own definition files.
 *
 *     deno run --allow-read scripts/wire_diff.ts [folder or files]
 *
 * Without an argument it reads tests/fixtures/hsmd_wire: one CSV for each
 * release whose definitions differ, and status_wire.csv. For a new release, give
 * it the two files of CLN's source and see what is named.
 *
 * Every message of every file must have a row of that name and number with
 * those fields: names (in camel case), order, types; TLV records by number and
 * type; subtypes by their fields. A count is part of the array behind it. What
 * an older file may lack is a TLV stream at the end, because a stream may be
 * empty; its records may be fewer for the same reason.
 *
 * @module
 */

import { fileURLToPath, pathToFileURL } from "node:url";
import type { Codec } from "../src/wire/codec.ts";
import { REPLIES, REQUESTS } from "../src/wire/hsmd.ts";
import type { Row } from "../src/wire/message.ts";
import { STATUS } from "../src/wire/status.ts";

/** One field: its name and its type as one text each. */
interface Field {
  readonly name: string;
  readonly type: string;
}

/** One message of a CSV. */
interface Message {
  readonly name: string;
  readonly type: number;
  readonly fields: readonly Field[];
}

/** What one CSV defines. */
export interface Definition {
  /** File name without its ending: the release. */
  readonly release: string;
  readonly messages: readonly Message[];
  readonly subtypes: ReadonlyMap<string, readonly Field[]>;
  /** Records of each TLV stream: the name is `number name`. */
  readonly streams: ReadonlyMap<string, readonly Field[]>;
}

/** Types that CLN gave another name without another layout. */
const RENAMED: Readonly<Record<string, { to: string; reason: string }>> = {
  utxo: {
    to: "hsm_utxo",
    reason: "v25.05 split the wire form from lightningd's own struct",
  },
  simple_htlc: {
    to: "hsm_htlc",
    reason: "v25.05 moved it into hsmd_wire.csv as a subtype",
  },
};

const FIXTURES = new URL("../tests/fixtures/hsmd_wire/", import.meta.url);
const STATUS_FILE = "status_wire";
// A report of a bad request: it is written on fd 0, but hsmd's file defines it.
const BAD_REQUEST = STATUS.hsmstatus_client_bad_request.name;

// ------------------------------------------------------------------- reading

/** Reads one definition file. */
export function parseDefinition(release: string, csv: string): Definition {
  const messages: { name: string; type: number; fields: Field[] }[] = [];
  const subtypes = new Map<string, Field[]>();
  const streams = new Map<string, Field[]>();
  const lists = new Map<string, Field[]>();
  const list = (name: string) => {
    const found = lists.get(name) ?? [];
    lists.set(name, found);
    return found;
  };
  for (const line of csv.split("\n")) {
    if (line.trim() === "" || line.startsWith("#")) continue;
    const [kind, first = "", second = "", third = "", fourth = "", fifth = ""] =
      line.split(",").map((cell) => cell.trim());
    switch (kind) {
      case "msgtype":
        messages.push({
          name: first.replace(/^hsmd_/, ""),
          type: Number(second),
          fields: list(first),
        });
        break;
      case "msgdata":
        addField(list(first), second, third, fourth);
        break;
      case "subtype":
        subtypes.set(first, list(first));
        break;
      case "subtypedata":
        addField(list(first), second, third, fourth);
        break;
      case "tlvtype":
        streams.set(first, list(first));
        list(first).push({ name: `${third} ${toCamel(second)}`, type: "" });
        break;
      case "tlvdata":
        addRecordType(list(first), fourth, fifth);
        break;
      default:
        throw new Error(
          `Cannot read ${release}: a line of kind ${kind}, want msgtype, ` +
            "msgdata, subtype, subtypedata, tlvtype or tlvdata",
        );
    }
  }
  return { release, messages, subtypes, streams };
}

/** Appends a field; an array takes its count, the field before it, into itself. */
function addField(
  fields: Field[],
  name: string,
  type: string,
  count: string,
): void {
  if (count === "") return void fields.push({ name: toCamel(name), type });
  const length = fields.pop();
  if (length?.name !== toCamel(count)) {
    throw new Error(`Cannot read ${name}: no count ${count} before it`);
  }
  fields.push({ name: toCamel(name), type: `${length.type} * ${type}` });
}

/** A record's value: several fields in it are joined. */
function addRecordType(records: Field[], type: string, count: string): void {
  const record = records.pop();
  if (record === undefined || count !== "") {
    throw new Error(`Cannot read a TLV field of type ${type}`);
  }
  const before = record.type === "" ? "" : `${record.type}, `;
  records.push({ ...record, type: before + type });
}

function toCamel(name: string): string {
  return name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase());
}

// ----------------------------------------------------------------- describing

/** The type of a codec in the words of the CSV. */
function typeOf(codec: Codec<unknown>): string {
  const { shape, name } = codec;
  if (shape.kind === "list") return `u16 * ${shape.item.name}`;
  // A u16 count before bytes has a field of its own, unless the type has a name.
  if (shape.kind === "varBytes" && name === "u8") {
    return `u${shape.prefix} * u8`;
  }
  return name;
}

function fieldsOf(fields: Readonly<Record<string, Codec<unknown>>>): Field[] {
  return Object.entries(fields)
    .map(([name, codec]) => ({ name, type: typeOf(codec) }));
}

/** Every codec that stands in a row, with all that is inside of it. */
function* codecsIn(codec: Codec<unknown>): Generator<Codec<unknown>> {
  yield codec;
  const { shape } = codec;
  if (shape.kind === "list" || shape.kind === "option") {
    yield* codecsIn(shape.item);
  } else if (shape.kind === "struct") {
    for (const field of Object.values(shape.fields)) yield* codecsIn(field);
  } else if (shape.kind === "tlvs") {
    for (const record of Object.values(shape.records)) {
      yield* codecsIn(record.codec);
    }
  }
}

// ----------------------------------------------------------------- comparing

const ROWS: readonly Row[] = Object.values<unknown>({
  ...REQUESTS,
  ...REPLIES,
  ...STATUS,
}) as Row[];
const CODECS = ROWS.flatMap(({ body }) => [...codecsIn(body)]);

/** What in a definition is not in the tables, one line each. */
export function compare(definition: Definition): string[] {
  return [
    ...definition.messages.flatMap((message) =>
      compareMessage(message, definition)
    ),
    ...[...definition.subtypes].flatMap(([name, fields]) =>
      compareSubtype(name, fields)
    ),
    ...[...definition.streams].flatMap(([name, records]) =>
      compareStream(name, records)
    ),
  ].map((line) => `${definition.release}: ${line}`);
}

function compareMessage(message: Message, definition: Definition): string[] {
  const { name, type, fields } = message;
  const row = ROWS.find((candidate) => candidate.name === name);
  if (row === undefined) return [`${name} (${type}) has no row`];
  const problems = row.type === type
    ? []
    : [`${name} has number ${row.type}, want ${type}`];
  const found = fieldsOf(row.fields);
  const wanted = fields.map(modernise);
  const [last] = found.slice(-1);
  const mayLackStream = last !== undefined && found.length > wanted.length &&
    isStream(last.name, row) && !definition.streams.has(last.type);
  const compared = mayLackStream ? found.slice(0, -1) : found;
  return [...problems, ...compareFields(name, compared, wanted)];
}

function isStream(field: string, { fields }: Row): boolean {
  return fields[field]?.shape.kind === "tlvs";
}

/** Today's name of a type, also inside an array or an option. */
function modernise({ name, type }: Field): Field {
  const [word = ""] = type.match(/\w+$/) ?? [];
  const renamed = RENAMED[word]?.to;
  return {
    name,
    type: renamed === undefined ? type : type.replace(/\w+$/, renamed),
  };
}

function compareFields(
  where: string,
  found: readonly Field[],
  wanted: readonly Field[],
): string[] {
  const length = Math.max(found.length, wanted.length);
  return Array.from({ length }, (_, i) => {
    const ours = describe(found[i]);
    const theirs = describe(wanted[i]);
    return ours === theirs
      ? []
      : [`${where}, field ${i + 1}: ${ours}, want ${theirs}`];
  }).flat();
}

function describe(field: Field | undefined): string {
  return field === undefined ? "nothing" : `${field.name} (${field.type})`;
}

function compareSubtype(name: string, fields: readonly Field[]): string[] {
  const codec = CODECS.find((candidate) =>
    candidate.name === name && candidate.shape.kind === "struct"
  );
  if (codec?.shape.kind !== "struct") return [`subtype ${name} has no struct`];
  return compareFields(name, fieldsOf(codec.shape.fields), fields);
}

function compareStream(name: string, wanted: readonly Field[]): string[] {
  const codec = CODECS.find((candidate) => candidate.name === name);
  if (codec?.shape.kind !== "tlvs") return [`stream ${name} has no codec`];
  const records = Object.entries(codec.shape.records)
    .map(([key, { type, codec }]) => ({
      name: `${type} ${key}`,
      type: typeOf(codec),
    }));
  return wanted.flatMap((record) => {
    const ours = records.find((candidate) => candidate.name === record.name);
    return compareFields(name, ours === undefined ? [] : [ours], [record]);
  });
}

// ------------------------------------------------------- the rows' own claims

/**
 * What the tables have and no file does: messages, fields of streams, and rows
 * whose releases are not those that they name.
 */
export function compareHistory(definitions: readonly Definition[]): string[] {
  const ours = sortReleases(definitions);
  const newest = ours.at(-1);
  if (newest === undefined) return [];
  const records = new Set(
    definitions.flatMap(({ streams }) =>
      [...streams].flatMap(([name, fields]) =>
        fields.map((field) => `${name} ${field.name}`)
      )
    ),
  );
  return [
    ...ROWS.flatMap((row) => compareReleases(row, definitions, newest)),
    ...recordNames().filter((name) => !records.has(name))
      .map((name) => `no release has record ${name}`),
  ];
}

function compareReleases(
  row: Row & { readonly releases?: string | undefined },
  definitions: readonly Definition[],
  newest: Definition,
): string[] {
  const isStatus = row.name in STATUS && row.name !== BAD_REQUEST;
  const having = definitions.filter((definition) => has(definition, row));
  const [last] = sortReleases(having).slice(-1);
  if (isStatus || last === undefined) {
    const isExpected = isStatus &&
      (having.length > 0 ||
        !definitions.some(({ release }) => release === STATUS_FILE));
    return isExpected ? [] : [`no release has ${row.name} (${row.type})`];
  }
  // Only a request says until when it was there; its reply went with it.
  if (!(row.name in REQUESTS)) return [];
  const wanted = last === newest ? undefined : `to ${last.release}`;
  if (row.releases === wanted) return [];
  const claim = row.releases ?? "every release";
  return [
    `${row.name} (${row.type}) says ${claim}, want ${wanted ?? "no end"}`,
  ];
}

function has({ messages }: Definition, row: Row): boolean {
  return messages.some(({ name }) => name === row.name);
}

function recordNames(): string[] {
  const names = CODECS.flatMap(({ name, shape }) =>
    shape.kind === "tlvs"
      ? Object.entries(shape.records)
        .map(([key, { type }]) => `${name} ${type} ${key}`)
      : []
  );
  return [...new Set(names)];
}

/** The hsmd definitions, oldest first. */
function sortReleases(definitions: readonly Definition[]): Definition[] {
  return definitions
    .filter(({ release }) => release !== STATUS_FILE)
    .sort((a, b) =>
      a.release.localeCompare(b.release, "en", { numeric: true })
    );
}

/** Which releases had each message, for those that not all had. */
function history(definitions: readonly Definition[]): string[] {
  const sorted = sortReleases(definitions);
  return ROWS.flatMap((row) => {
    const having = sorted.filter((definition) => has(definition, row));
    const [first, last] = [having.at(0), having.at(-1)];
    if (first === undefined || having.length === sorted.length) return [];
    const from = first === sorted.at(0) ? [] : [`from ${first.release}`];
    const to = last === sorted.at(-1) ? [] : [`to ${last?.release}`];
    return [`${row.name} (${row.type}): ${[...from, ...to].join(" ")}`];
  });
}

/** Reads the files that the arguments name; a folder means its CSV files. */
export async function readDefinitions(
  places: readonly URL[] = [FIXTURES],
): Promise<Definition[]> {
  const files: URL[] = [];
  for (const place of places) {
    if (!(await Deno.stat(place)).isDirectory) {
      files.push(place);
      continue;
    }
    const folder = new URL(`${place.href.replace(/\/?$/, "/")}`);
    for await (const { name } of Deno.readDir(folder)) {
      if (name.endsWith(".csv")) files.push(new URL(name, folder));
    }
  }
  return await Promise.all(files.map(async (file) => {
    const name = fileURLToPath(file).split("/").at(-1) ?? "";
    const csv = await Deno.readTextFile(file);
    return parseDefinition(name.replace(/\.csv$/, ""), csv);
  }));
}

async function main(args: readonly string[]): Promise<number> {
  const isFixtures = args.length === 0;
  const definitions = await readDefinitions(
    isFixtures ? undefined : args.map((path) => pathToFileURL(path)),
  );
  // What a row claims about releases can be judged with all of them only.
  const problems = [
    ...definitions.flatMap(compare),
    ...(isFixtures ? compareHistory(definitions) : []),
  ];
  for (const line of history(definitions)) console.log(line);
  for (const line of problems) console.error(`DRIFT ${line}`);
  const messages = definitions.reduce((sum, d) => sum + d.messages.length, 0);
  console.log(
    `wire: ${definitions.length} files, ${messages} messages, ` +
      `${problems.length || "no"} differences`,
  );
  return problems.length > 0 || messages === 0 ? 1 : 0;
}

if (import.meta.main) Deno.exitCode = await main(Deno.args);
