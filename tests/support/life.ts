/**
 * One owner, one place: everything that softkeys, brokers and their owner do in a
 * test, with everything of it kept, so that it can be searched afterwards.
 *
 * | seen | how |
 * | --- | --- |
 * | screens | each terminal's output, without the screens that go away |
 * | commands | their standard output and error |
 * | lightningd's log | the lines of each broker |
 * | the link | both directions, through a tap between softkey and broker |
 * | processes | /proc/PID/cmdline and environ, at each step |
 * | files | the whole folder: cards, node, home, $TMPDIR |
 *
 * What it does not do: see what goes over a card's owner.sock (its commands and
 * their output are seen at both ends), or read a process's memory.
 *
 * @module
 */

import type { Remains } from "./secrets.ts";
import { NETWORKS } from "../../src/bitcoin/networks.ts";
import type { NetworkName } from "../../src/bitcoin/networks.ts";
import { REQUESTS } from "../../src/wire/hsmd.ts";
import { decodeMessage, encodeMessage } from "../../src/wire/message.ts";
import type { BlockHash } from "../../src/wire/types.ts";
import { INIT } from "../broker/fake.ts";
import { fromFileUrl, withDeno } from "./paths.ts";
import { RunningBroker } from "./rig.ts";
import type { Result } from "./softkey.ts";
import { DrivenTerminal, type TerminalProgram } from "./terminal.ts";

const at = (path: string) => fromFileUrl(new URL(path, import.meta.url));

/** The command line of a softkey from source. */
export const SOFTKEY: readonly [string, ...string[]] = [
  Deno.execPath(),
  ...["run", "-A", "--quiet", "--config", at("../../deno.json")],
  at("../../src/device/main.ts"),
];

/** The folders of a place. */
const FOLDERS = ["cards", "node", "home", "tmp", "out", "owner"] as const;
type FolderName = (typeof FOLDERS)[number];

/** lightningd's init on a network, with the passphrase that its owner gave it. */
export function initOn(
  name: NetworkName,
  hsmPassphrase: Uint8Array | null = null,
): Uint8Array {
  const { bip32, genesisHash } = NETWORKS[name];
  return encodeMessage(REQUESTS.init, {
    ...decodeMessage(REQUESTS.init, INIT),
    bip32KeyVersion: bip32,
    // The hash of a network's first block, and nothing else.
    chainparams: genesisHash as BlockHash,
    tlvs: hsmPassphrase === null ? {} : { hsmPassphrase },
  });
}

/** Where a life takes place. */
export class Place implements AsyncDisposable {
  readonly folder: string;
  readonly tap: Tap;
  readonly #seen = new Seen();
  readonly #open = new AsyncDisposableStack();

  private constructor(folder: string) {
    this.folder = folder;
    this.tap = new Tap();
  }

  /** Makes an empty one. */
  static async make(): Promise<Place> {
    const place = new Place(await Deno.makeTempDir());
    for (const name of FOLDERS) await Deno.mkdir(place.path(name));
    return place;
  }

  /** A path in one of the folders. */
  path(folder: FolderName, name = ""): string {
    const path = `${this.folder}/${folder}`;
    return name === "" ? path : `${path}/${name}`;
  }

  /** Writes down something for the owner alone; nobody searches it. */
  async keep(name: string, content: string | Uint8Array): Promise<string> {
    const path = this.path("owner", name);
    const bytes = typeof content === "string"
      ? new TextEncoder().encode(content)
      : content;
    await Deno.writeFile(path, bytes, { mode: 0o600 });
    return path;
  }

  /** What every process here is started with. */
  get env(): Readonly<Record<string, string>> {
    const { HOME = "/root", DENO_DIR = `${HOME}/.cache/deno` } = Deno.env
      .toObject();
    return {
      ...withDeno(),
      DENO_DIR,
      HOME: this.path("home"),
      TMPDIR: this.path("tmp"),
    };
  }

  /** Starts lightningd's hsmd; softkeys find it at the tap. */
  async startNode(folder = "lightningd"): Promise<RunningBroker> {
    await Deno.mkdir(this.path("node", folder), { recursive: true });
    const broker = await RunningBroker.start({
      folder: this.path("node", folder),
      env: { ...this.env, REMOTE_HSMD_PAIRING: "first" },
    });
    const [host = "", port] = (await broker.address()).split(":");
    this.tap.leadTo({ hostname: host, port: Number(port) });
    this.#open.defer(() => void this.#seen.add("log", broker.log.join("\n")));
    await this.look();
    return broker;
  }

  /** Starts a command of the softkey in a terminal. */
  terminal(...args: readonly string[]): WatchedTerminal {
    const [command, ...first] = SOFTKEY;
    const terminal = new WatchedTerminal(
      { command, args: [...first, ...args], env: this.env },
      () => this.look(),
    );
    const name = `screen of ${args[0]}`;
    this.#open.defer(() => void this.#seen.add(name, staying(terminal.screen)));
    return terminal;
  }

  /** Runs a command of the softkey where nobody is. */
  async command(...args: readonly string[]): Promise<Result> {
    const [command, ...first] = SOFTKEY;
    const child = new Deno.Command(command, {
      args: [...first, ...args],
      env: this.env,
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const ended = child.output();
    await this.look();
    const { code, stdout, stderr } = await ended;
    const [out, err] = [stdout, stderr].map((bytes) =>
      new TextDecoder().decode(bytes)
    );
    this.#seen.add(`output of ${args[0]}`, `${out}\n${err}`);
    return { code, out: out ?? "", err: err ?? "" };
  }

  /** Notes how the processes of this place were started. */
  async look(): Promise<void> {
    for await (const { name } of Deno.readDir("/proc")) {
      if (!/^\d+$/.test(name) || Number(name) === Deno.pid) continue;
      // A process may end meanwhile.
      const [line, env] = await Promise.all(
        ["cmdline", "environ"].map((file) =>
          Deno.readTextFile(`/proc/${name}/${file}`).catch(() => "")
        ),
      );
      const [program] = `${line}`.split("\0");
      const isOurs = `${line}${env}`.includes(this.folder);
      if (isOurs) this.#seen.add(`process ${program}`, `${line}\n${env}`);
    }
  }

  /** Ends what runs; then all that anybody can find, but for the owner's. */
  async remains(): Promise<readonly Remains[]> {
    await this.#open.disposeAsync();
    this.tap.close();
    const files = [];
    for (const name of FOLDERS) {
      if (name !== "owner") files.push(...await filesIn(this.path(name)));
    }
    return [...files, ...this.#seen.all(), ...this.tap.heard()];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#open.disposeAsync();
    this.tap.close();
    await Deno.remove(this.folder, { recursive: true });
  }
}

/** A terminal whose processes are looked at whenever it said something. */
export class WatchedTerminal extends DrivenTerminal {
  readonly #look: () => Promise<void>;

  constructor(program: TerminalProgram, look: () => Promise<void>) {
    super(program);
    this.#look = look;
  }

  override async says(text: string | RegExp): Promise<string> {
    const said = await super.says(text);
    await this.#look();
    return said;
  }
}

/** A screen without the parts that were shown once and taken away. */
export function staying(screen: string): string {
  // deno-lint-ignore no-control-regex
  return screen.replaceAll(/\x1b\[\?1049h[^]*?\x1b\[\?1049l/g, "");
}

/** Texts, each of them once. */
class Seen {
  readonly #texts = new Map<string, string>();

  add(name: string, text: string): void {
    this.#texts.set(`${name}\0${text}`, text);
  }

  all(): readonly Remains[] {
    return [...this.#texts].map(([key, text]) => ({
      name: key.slice(0, key.indexOf("\0")),
      bytes: new TextEncoder().encode(text),
    }));
  }
}

/** All files below a folder. */
export async function filesIn(folder: string): Promise<readonly Remains[]> {
  const files: Remains[] = [];
  for await (const { name, isDirectory, isFile } of Deno.readDir(folder)) {
    const path = `${folder}/${name}`;
    // A name is left behind as well.
    files.push({ name: `the name of ${path}`, bytes: encode(path) });
    if (isDirectory) files.push(...await filesIn(path));
    if (isFile) files.push({ name: path, bytes: await Deno.readFile(path) });
  }
  return files;
}

const encode = (text: string) => new TextEncoder().encode(text);

interface Address {
  readonly hostname: string;
  readonly port: number;
}

/** A port that passes everything on to the node that runs, and keeps a copy. */
export class Tap {
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #heard: { readonly name: string; readonly parts: Uint8Array[] }[] =
    [];
  readonly #conns = new Set<Deno.TcpConn>();
  #target: Address | null = null;

  constructor() {
    this.#listen();
  }

  /** Where softkeys connect to. */
  get url(): string {
    const { hostname, port } = this.#listener.addr;
    return `mqtt://${hostname}:${port}`;
  }

  /** From now on connections lead there. */
  leadTo(target: Address): void {
    this.#target = target;
  }

  /** Everything that was passed on, by connection and direction. */
  heard(): readonly Remains[] {
    return this.#heard.map(({ name, parts }) => ({
      name,
      bytes: joined(parts),
    }));
  }

  close(): void {
    for (const conn of this.#conns) close(conn);
    try {
      this.#listener.close();
    } catch {
      // It was closed before.
    }
  }

  async #listen(): Promise<void> {
    try {
      for await (const conn of this.#listener) this.#connect(conn);
    } catch {
      // The listener was closed.
    }
  }

  async #connect(device: Deno.TcpConn): Promise<void> {
    this.#conns.add(device);
    const node = this.#target === null
      ? null
      : await Deno.connect(this.#target).catch(() => null);
    if (node === null) return close(device);
    this.#conns.add(node);
    this.#pump(device, node, "link, from the device");
    this.#pump(node, device, "link, to the device");
  }

  async #pump(
    from: Deno.TcpConn,
    to: Deno.TcpConn,
    name: string,
  ): Promise<void> {
    const parts: Uint8Array[] = [];
    this.#heard.push({ name, parts });
    const writer = to.writable.getWriter();
    try {
      for await (const part of from.readable) {
        parts.push(part.slice());
        await writer.write(part);
      }
    } catch {
      // One side is gone: so is the other.
    }
    for (const conn of [from, to]) {
      this.#conns.delete(conn);
      close(conn);
    }
  }
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const size = parts.reduce((sum, { length }) => sum + length, 0);
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

function close(conn: Deno.TcpConn): void {
  try {
    conn.close();
  } catch {
    // It was closed before.
  }
}
