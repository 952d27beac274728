/**
 * Control messages and their envelopes: the vectors of sphinx-rs (glyph,
 * auther), then properties, then bytes that are none.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import { publicKey } from "../../src/crypto/secp.ts";
import { Secret } from "../../src/crypto/secret.ts";
import { DecodeError } from "../../src/errors.ts";
import { openEnvelope, sealEnvelope } from "../../src/wire/control_envelope.ts";
import {
  type ControlMessage,
  type ControlResponse,
  decodeControlMessage,
  decodeControlResponse,
  DEFAULT_CONTROL_POLICY,
  encodeControlMessage,
  encodeControlResponse,
  formatControlMessage,
  formatControlResponse,
  parseControlMessage,
} from "../../src/wire/control_message.ts";

const hex = (text: string) => Uint8Array.fromHex(text);
const ascii = (text: string) => new TextEncoder().encode(text).toHex();

const HOURLY = {
  msatPerInterval: 1000n,
  interval: "hourly",
  htlcLimitMsat: 200n,
} as const;
const DEFAULT_HEX =
  "83b16d7361745f7065725f696e74657276616ccf00000004e3b29200a8696e7465727661" +
  "6ca56461696c79af68746c635f6c696d69745f6d736174ce3b9aca00";
const HOURLY_HEX =
  "83b16d7361745f7065725f696e74657276616ccd03e8a8696e74657276616ca6686f7572" +
  "6c79af68746c635f6c696d69745f6d736174ccc8";

const SHA_OF_NOTHING =
  "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const SAMPLE_SIG = "A".repeat(87) + "=";
const OTA = {
  version: 0n,
  url: "https://example.com/fw-",
  sha256Hash: SHA_OF_NOTHING,
  messageSig: SAMPLE_SIG,
};
const OTA_HEX =
  "84a776657273696f6e00a375726cb768747470733a2f2f6578616d706c652e636f6d2f66" +
  "772dab7368613235365f68617368d940" + ascii(SHA_OF_NOTHING) +
  "ab6d6573736167655f736967d958" + ascii(SAMPLE_SIG);

const MESSAGES: readonly (readonly [ControlMessage, string])[] = [
  [{ kind: "Nonce" }, "a54e6f6e6365"],
  [{ kind: "ResetWifi" }, "a9526573657457696669"],
  [{ kind: "ResetKeys" }, "a952657365744b657973"],
  [{ kind: "ResetAll" }, "a85265736574416c6c"],
  [{ kind: "QueryPolicy" }, "ab5175657279506f6c696379"],
  [
    { kind: "UpdatePolicy", value: DEFAULT_CONTROL_POLICY },
    `81ac557064617465506f6c696379${DEFAULT_HEX}`,
  ],
  [
    { kind: "UpdatePolicy", value: HOURLY },
    `81ac557064617465506f6c696379${HOURLY_HEX}`,
  ],
  [{ kind: "QueryAllowlist" }, "ae5175657279416c6c6f776c697374"],
  [
    { kind: "UpdateAllowlist", value: [] },
    "81af557064617465416c6c6f776c69737490",
  ],
  [
    { kind: "UpdateAllowlist", value: ["bcrt1qexample", "payee"] },
    "81af557064617465416c6c6f776c69737492ad6263727431716578616d706c65a5706179" +
    "6565",
  ],
  [{ kind: "QueryVelocity" }, "ad517565727956656c6f63697479"],
  [{ kind: "Ota", value: OTA }, `81a34f7461${OTA_HEX}`],
  [{ kind: "QueryAll" }, "a85175657279416c6c"],
];

const RESPONSES: readonly (readonly [ControlResponse, string])[] = [
  [{ kind: "Nonce", value: 0n }, "81a54e6f6e636500"],
  [{ kind: "Nonce", value: 7n }, "81a54e6f6e636507"],
  [{ kind: "Nonce", value: 300n }, "81a54e6f6e6365cd012c"],
  [{ kind: "Nonce", value: 1n << 32n }, "81a54e6f6e6365cf0000000100000000"],
  [{ kind: "ResetWifi" }, "a9526573657457696669"],
  [{ kind: "ResetKeys" }, "a952657365744b657973"],
  [{ kind: "ResetAll" }, "a85265736574416c6c"],
  [
    { kind: "PolicyCurrent", value: DEFAULT_CONTROL_POLICY },
    `81ad506f6c69637943757272656e74${DEFAULT_HEX}`,
  ],
  [
    { kind: "PolicyUpdated", value: HOURLY },
    `81ad506f6c69637955706461746564${HOURLY_HEX}`,
  ],
  [
    { kind: "AllowlistCurrent", value: [] },
    "81b0416c6c6f776c69737443757272656e7490",
  ],
  [
    { kind: "AllowlistUpdated", value: ["payee"] },
    "81b0416c6c6f776c6973745570646174656491a57061796565",
  ],
  [
    { kind: "VelocityCurrent", value: null },
    "81af56656c6f6369747943757272656e74c0",
  ],
  [
    {
      kind: "VelocityCurrent",
      value: [1700000400n, [0n, 5000n, 21000000000n]],
    },
    "81af56656c6f6369747943757272656e7492ce6553f2909300cd1388cf00000004e3b292" +
    "00",
  ],
  [{ kind: "OtaConfirm", value: OTA }, `81aa4f7461436f6e6669726d${OTA_HEX}`],
  [
    {
      kind: "AllCurrent",
      value: {
        policy: DEFAULT_CONTROL_POLICY,
        allowlist: [],
        velocity: null,
      },
    },
    `81aa416c6c43757272656e7483a6706f6c696379${DEFAULT_HEX}a9616c6c6f776c6973` +
    "7490a876656c6f63697479c0",
  ],
  [
    {
      kind: "AllCurrent",
      value: {
        policy: HOURLY,
        allowlist: ["payee"],
        velocity: [3600n, [1n, 2n]],
      },
    },
    `81aa416c6c43757272656e7483a6706f6c696379${HOURLY_HEX}a9616c6c6f776c69737` +
    "491a57061796565a876656c6f6369747992cd0e10920102",
  ],
  [
    { kind: "Error", value: "invalid nonce" },
    "81a54572726f72ad696e76616c6964206e6f6e6365",
  ],
];

Deno.test("every message of the original has its bytes", () => {
  for (const [message, bytes] of MESSAGES) {
    assert.equal(encodeControlMessage(message).toHex(), bytes);
    assert.deepEqual(decodeControlMessage(hex(bytes)), message);
  }
  assert.equal(encodeControlMessage({ kind: "Ota", value: OTA }).length, 223);
});

Deno.test("every response of the original has its bytes", () => {
  for (const [response, bytes] of RESPONSES) {
    assert.equal(encodeControlResponse(response).toHex(), bytes);
    assert.deepEqual(decodeControlResponse(hex(bytes)), response);
  }
});

Deno.test("a name in a map with nil, and integers of any form, are read", () => {
  assert.deepEqual(decodeControlMessage(hex("81a54e6f6e6365c0")), {
    kind: "Nonce",
  });
  const forms = [
    "07",
    "cc07",
    "cd0007",
    "ce00000007",
    "d007",
    "d30000000000000007",
  ];
  for (const form of forms) {
    assert.deepEqual(decodeControlResponse(hex(`81a54e6f6e6365${form}`)), {
      kind: "Nonce",
      value: 7n,
    });
  }
});

Deno.test("what is no message is a decode error, wherever it is cut", () => {
  for (const [, bytes] of MESSAGES) {
    const whole = hex(bytes);
    for (let size = 0; size < whole.length; size++) {
      assert.throws(
        () => decodeControlMessage(whole.slice(0, size)),
        DecodeError,
      );
    }
    assert.throws(
      () => decodeControlMessage(Uint8Array.of(...whole, 0)),
      DecodeError,
    );
  }
  const wrong = [
    "a4466f6f6f", // another name
    `81ac557064617465506f6c696379c0`, // no policy
    `81ac557064617465506f6c696379${HOURLY_HEX.replace("686f7572", "776f7572")}`,
    "ac557064617465506f6c696379", // a variant without its value
    "81a54e6f6e636500", // a value where none belongs
    "82a54e6f6e6365c0a54e6f6e6365c0", // two at once
    "81af557064617465416c6c6f776c697374ddffffffff", // a list of 2^32
    "c0",
    "07",
  ];
  for (const bytes of wrong) {
    assert.throws(() => decodeControlMessage(hex(bytes)), DecodeError, bytes);
  }
});

Deno.test("any bytes are a message or a decode error", () => {
  const starts = MESSAGES.map(([, bytes]) => [...hex(bytes)]);
  fc.assert(fc.property(
    fc.constantFrom(...starts),
    fc.array(fc.tuple(fc.nat(300), fc.nat(255)), { maxLength: 6 }),
    fc.uint8Array({ maxLength: 20 }),
    (start, changes, tail) => {
      const bytes = Uint8Array.from([...start, ...tail]);
      for (const [at, value] of changes) bytes[at % bytes.length] = value;
      for (const decode of [decodeControlMessage, decodeControlResponse]) {
        try {
          decode(bytes);
        } catch (error) {
          assert.ok(error instanceof DecodeError, String(error));
        }
      }
    },
  ));
});

const uint = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });
const policy = fc.record({
  msatPerInterval: uint,
  interval: fc.constantFrom("hourly" as const, "daily" as const),
  htlcLimitMsat: uint,
}, { noNullPrototype: true });
const velocity = fc.tuple(uint, fc.array(uint));

Deno.test("what is encoded is decoded", () => {
  fc.assert(fc.property(
    policy,
    fc.array(fc.string({ unit: "grapheme" })),
    fc.option(velocity),
    (policy, allowlist, velocity) => {
      const all: ControlResponse = {
        kind: "AllCurrent",
        value: { policy, allowlist, velocity },
      };
      assert.deepEqual(decodeControlResponse(encodeControlResponse(all)), all);
    },
  ));
});

// ----------------------------------------------------------------------- JSON

Deno.test("a message as JSON has the original's names, and is read again", () => {
  assert.equal(formatControlMessage({ kind: "Nonce" }), '"Nonce"');
  assert.equal(
    formatControlMessage({ kind: "UpdatePolicy", value: HOURLY }),
    '{"UpdatePolicy":{"msat_per_interval":1000,"interval":"hourly",' +
      '"htlc_limit_msat":200}}',
  );
  for (const [message] of MESSAGES) {
    assert.deepEqual(
      parseControlMessage(formatControlMessage(message)),
      message,
    );
  }
  assert.deepEqual(parseControlMessage('{"Nonce":null}'), { kind: "Nonce" });
});

Deno.test("a number that JSON readers lose digits of is a string", () => {
  const value = (1n << 64n) - 1n;
  assert.equal(
    formatControlResponse({ kind: "Nonce", value }),
    '{"Nonce":"18446744073709551615"}',
  );
});

Deno.test("JSON that is no message is a decode error", () => {
  const wrong = [
    "",
    "{",
    "[]",
    "null",
    "{}",
    '"Nope"',
    '{"Nonce":1}',
    '{"Nonce":null,"ResetAll":null}',
    '{"UpdateAllowlist":[1.5]}',
    '{"UpdateAllowlist":[-1]}',
    '{"UpdateAllowlist":{"0":"a"}}',
    '{"UpdatePolicy":{"interval":"hourly"}}',
    '{"__proto__":null}',
  ];
  for (const json of wrong) {
    assert.throws(() => parseControlMessage(json), DecodeError, json);
  }
});

// ------------------------------------------------------------------- envelope

const KEY = new Secret(new Uint8Array(32).fill(0xcd));
const POINT = publicKey(KEY.reveal());

const ENVELOPES: readonly (readonly [string, bigint, string])[] = [
  [
    "a54e6f6e6365",
    0n,
    "1f91ec8328c1f9bed66b497509301c5d6a9176fe797929059a9354090a8cd90dc73c8b85" +
    "a7d3ce7a600c8ba64dc7192e1d672f28425342d8c9af04a18407374908",
  ],
  [
    "ab5175657279506f6c696379",
    1n,
    "1f92ebc60a039dcded3ac76a2d8809a849acf1ed8eee47450f3f739a591c6eb69a140f67" +
    "cae799087c87a5ea648795fbbc1ddfe5587f27ad688204229003aa3154",
  ],
  [
    `81ac557064617465506f6c696379${HOURLY_HEX}`,
    2n,
    "1f471b4bd9345be408804b43844f5764ccc897ed9a2901c9b8c10743fa43dc2ea130f40d" +
    "281feb06073ba051a9dd7fcbd6b1331726732d3abe4259a58d9b733f23",
  ],
  [
    "010203",
    1n,
    "1f6e559583b95a424c371e09c2339bd58711f7b8e833201b09a6c4902af7a0700e1d90fe" +
    "6fb0dfd1ce06bf6803b05bc1f30ca867256182e762a17c9389fa74717a",
  ],
];

Deno.test("an envelope of the original is made and opened", () => {
  for (const [payload, nonce, signature] of ENVELOPES) {
    const bytes = sealEnvelope({ payload: hex(payload), nonce }, KEY);
    const number = nonce.toString(16).padStart(16, "0");
    assert.equal(bytes.toHex(), payload + number + signature);
    const opened = openEnvelope(bytes, POINT);
    assert.equal(opened?.payload.toHex(), payload);
    assert.equal(opened?.nonce, nonce);
  }
});

Deno.test("an envelope that is changed anywhere else than in its header is not opened", () => {
  const [first] = ENVELOPES;
  assert.ok(first !== undefined);
  const [payload, nonce] = first;
  const bytes = sealEnvelope({ payload: hex(payload), nonce }, KEY);
  for (let at = 0; at < bytes.length; at++) {
    const changed = bytes.slice();
    changed[at] = (changed[at] ?? 0) ^ 1;
    const isHeader = at === bytes.length - 65;
    assert.equal(openEnvelope(changed, POINT) !== null, isHeader, `${at}`);
  }
});

Deno.test("an envelope with a high s, or of another key, is not opened", () => {
  const order = BigInt(
    "0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141",
  );
  const bytes = sealEnvelope({ payload: hex("a54e6f6e6365"), nonce: 0n }, KEY);
  const s = BigInt(`0x${bytes.slice(-32).toHex()}`);
  const high = (order - s).toString(16).padStart(64, "0");
  const changed = Uint8Array.of(...bytes.slice(0, -32), ...hex(high));
  assert.equal(openEnvelope(changed, POINT), null);
  const other = publicKey(new Uint8Array(32).fill(0xce));
  assert.equal(openEnvelope(bytes, other), null);
});

Deno.test("an envelope shorter than 74 bytes is a decode error", () => {
  for (const size of [0, 1, 73]) {
    assert.throws(() => openEnvelope(new Uint8Array(size), POINT), DecodeError);
  }
  assert.equal(openEnvelope(new Uint8Array(74), POINT), null);
});
