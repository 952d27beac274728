/**
 * No bytes make a step throw, and none make it break.
 *
 * Code 500 is our own mistake, so no input may lead to it either.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import { NETWORKS } from "../../src/bitcoin/networks.ts";
import {
  createSigner,
  type SignerState,
  step,
} from "../../src/signer/handle.ts";
import { REQUESTS } from "../../src/wire/hsmd.ts";
import {
  encodeMessage,
  messageType,
  type Row,
} from "../../src/wire/message.ts";
import { type NodeId } from "../../src/wire/types.ts";
import { NATIVE_CHAIN_MESSAGES } from "../../src/wire/chain_native.ts";
import { CHAIN_MESSAGES } from "../../src/wire/txoo.ts";
import { decodeSignerError, SIGNER_ERROR_TYPE } from "../../src/wire/vls.ts";
import { messageArbitrary, runs } from "../support/arbitrary.ts";
import { readEvents, recordingsIn } from "../support/recording.ts";
import { FILES, PEER } from "../keyderiv/tables.ts";

const peerId = Uint8Array.fromHex(PEER) as Uint8Array as NodeId;
const network = NETWORKS.regtest;

function lockedSigner(file: Uint8Array): SignerState {
  return createSigner({ secretFile: file, network, isDeveloper: true });
}

const INIT = Uint8Array.fromHex(
  "000b043587cf04358394" + network.genesisHash.toHex() +
    "0000000000" + "00000005" + "00000006",
);

function readySigner(file: Uint8Array): SignerState {
  const input = { peerId, dbid: 1n, message: INIT };
  return step(lockedSigner(file), input, 0).state;
}

const SIGNERS = [
  lockedSigner(FILES.S1),
  readySigner(FILES.S1),
  readySigner(FILES.M1),
];

/** Asks every signer; their answers are answers. */
function meet(message: Uint8Array): void {
  for (const state of SIGNERS) {
    const { reply } = step(state, { peerId, dbid: 1n, message }, 0);
    if (reply === null) {
      assert.equal(messageType(message), REQUESTS.dev_preinit.type);
    } else if (messageType(reply) === SIGNER_ERROR_TYPE) {
      const { code } = decodeSignerError(reply);
      assert.notEqual(code, 500, `internal: ${message.toHex()}`);
    }
  }
}

/** One recorded request of each type, the shortest there is. */
const SAMPLES: ReadonlyMap<number, Uint8Array> = (() => {
  const samples = new Map<number, Uint8Array>();
  for (const url of recordingsIn("flows")) {
    for (const event of readEvents(url)) {
      if (event.kind !== "request") continue;
      const known = samples.get(event.type);
      if (known && known.length <= event.bytes.length) continue;
      samples.set(event.type, event.bytes);
    }
  }
  return samples;
})();

Deno.test("any bytes are answered", () => {
  const any = fc.uint8Array({ maxLength: 300 });
  fc.assert(fc.property(any, meet), { numRuns: runs(300) });
});

/** What a broker asks of its own accord; their rows differ in their fields. */
const FED: readonly (readonly [string, unknown])[] = [
  ...Object.entries(CHAIN_MESSAGES),
  ...Object.entries(NATIVE_CHAIN_MESSAGES),
].filter(([name]) => !name.endsWith("_reply"));

for (const [name, row] of [...Object.entries(REQUESTS), ...FED]) {
  // Each init would open a secret; what it may hold is tested in handle_test.
  if (name === "init") continue;
  Deno.test(`any ${name} that can be written is answered`, () => {
    const typed = row as Row;
    fc.assert(
      fc.property(
        messageArbitrary(typed),
        (body) => meet(encodeMessage(typed, body)),
      ),
      { numRuns: runs(20) },
    );
  });

  Deno.test(`any bytes after the number of ${name} are answered`, () => {
    const { type } = row as Row;
    const body = fc.uint8Array({ maxLength: 200 });
    fc.assert(
      fc.property(
        body,
        (bytes) => meet(Uint8Array.of(type >> 8, type & 0xff, ...bytes)),
      ),
      { numRuns: runs(20) },
    );
  });
}

for (const [type, sample] of SAMPLES) {
  Deno.test(`a recorded request of type ${type}, cut anywhere, is answered`, () => {
    const stride = Math.ceil(sample.length / runs(60));
    for (let at = 0; at < sample.length; at += stride) {
      meet(sample.subarray(0, at));
    }
  });

  Deno.test(`a recorded request of type ${type}, changed anywhere, is answered`, () => {
    const at = fc.nat({ max: sample.length - 1 });
    const byte = fc.constantFrom(0, 1, 0x7f, 0x80, 0xfd, 0xfe, 0xff);
    fc.assert(
      fc.property(at, byte, (i, value) => {
        // A changed init may ask for a network or keys; it opens S1 and M1 fast.
        meet(sample.with(i, value));
      }),
      { numRuns: runs(type === REQUESTS.init.type ? 5 : 25) },
    );
  });
}
