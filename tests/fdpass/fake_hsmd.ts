/**
 * An hsmd that holds no keys: it hands client connections over and echoes.
 *
 *     fake_hsmd.ts [--program <installed helper>] [--revoke] <directory>...
 *
 * A request of type 9 is answered as lightningd expects it: reply frame 109,
 * then the descriptor. Every other frame comes back as it was, on fd 3 and on
 * the client connections. A status frame reports each event that a test waits
 * for, as text.
 *
 * @module
 */

import net from "node:net";
import { parseArgs } from "node:util";
import { type Handover, startHandover } from "../../src/fdpass/spawn.ts";

const CLIENT_REQUEST = 9;
const CLIENT_REPLY = Uint8Array.of(0, 0, 0, 2, 0, 109);
const HEADER_LENGTH = 4;

const { values, positionals } = parseArgs({
  options: { program: { type: "string" }, revoke: { type: "boolean" } },
  allowPositionals: true,
});

// A terminal's Ctrl-C reaches the whole group; lightningd decides, not we.
Deno.addSignalListener("SIGINT", () => {});
const status = new net.Socket({ fd: 0, readable: false, writable: true });
const master = new net.Socket({ fd: 3 });
const handover = await startHandover({
  directories: positionals,
  program: values.program,
});
if (values.revoke) await Deno.permissions.revoke({ name: "run" });
handover.ended.then(report);
report("ready");
await serve();
await handover[Symbol.asyncDispose]();
// Like the real one, at once and with 2, whatever clients are still there.
Deno.exit(2);

/** Serves fd 3, one request after the other, until lightningd closes it. */
async function serve(): Promise<void> {
  let held = new Uint8Array(0);
  for await (const chunk of master) {
    held = concat(held, chunk);
    for (let frame = take(held); frame !== null; frame = take(held)) {
      held = held.slice(frame.length);
      await answer(frame, handover);
    }
  }
}

async function answer(frame: Uint8Array, handover: Handover): Promise<void> {
  if (
    frame[HEADER_LENGTH] === 0 && frame[HEADER_LENGTH + 1] === CLIENT_REQUEST
  ) {
    await send(CLIENT_REPLY);
    await passClient(handover);
  } else {
    await send(frame);
  }
}

async function passClient(handover: Handover): Promise<void> {
  try {
    const client = await handover.pass();
    client.on("data", (chunk) => client.write(chunk));
  } catch (error) {
    report(error instanceof Error ? error.message : String(error));
  }
}

/** Resolves when the kernel has the bytes. */
function send(bytes: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    master.write(bytes, (error) => error ? reject(error) : resolve());
  });
}

function report(text: string): void {
  const body = new TextEncoder().encode(text);
  const frame = new Uint8Array(HEADER_LENGTH + body.length);
  new DataView(frame.buffer).setUint32(0, body.length);
  frame.set(body, HEADER_LENGTH);
  status.write(frame);
}

/** The first whole frame with its header, null while it is incomplete. */
function take(held: Uint8Array): Uint8Array | null {
  if (held.length < HEADER_LENGTH) return null;
  const view = new DataView(held.buffer, held.byteOffset);
  const length = HEADER_LENGTH + view.getUint32(0);
  return held.length < length ? null : held.subarray(0, length);
}

function concat(a: Uint8Array, b: Uint8Array): Uint8Array<ArrayBuffer> {
  const joined = new Uint8Array(a.length + b.length);
  joined.set(a);
  joined.set(b, a.length);
  return joined;
}
