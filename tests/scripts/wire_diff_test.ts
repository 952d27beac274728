/**
 * The tables agree with every definition file that we have, and a file with one
 * change in it is told from them.
 *
 * @module
 */

import assert from "node:assert/strict";
import {
  compare,
  compareHistory,
  parseDefinition,
  readDefinitions,
} from "../../scripts/wire_diff.ts";

const NEWEST = await Deno.readTextFile(
  new URL("../fixtures/hsmd_wire/v26.06.6.csv", import.meta.url),
);

Deno.test("The tables agree with every release", async () => {
  const definitions = await readDefinitions();
  assert.equal(definitions.length, 7);
  assert.deepEqual(definitions.flatMap(compare), []);
  assert.deepEqual(compareHistory(definitions), []);
});

const CHANGES: readonly (readonly [string, string, string, RegExp])[] = [
  [
    "number",
    "msgtype,hsmd_ecdh_req,1",
    "msgtype,hsmd_ecdh_req,61",
    /ecdh_req has number 1, want 61/,
  ],
  [
    "new message",
    "msgtype,hsmd_ecdh_req,1",
    "msgtype,hsmd_new,61\nmsgtype,hsmd_ecdh_req,1",
    /new \(61\) has no row/,
  ],
  [
    "type",
    "hsmd_check_pubkey,index,u32",
    "hsmd_check_pubkey,index,u64",
    /check_pubkey, field 1: index \(u32\), want index \(u64\)/,
  ],
  [
    "name",
    "hsmd_check_pubkey,index,u32",
    "hsmd_check_pubkey,idx,u32",
    /check_pubkey, field 1: index \(u32\), want idx \(u32\)/,
  ],
  [
    "new field",
    "msgdata,hsmd_check_pubkey,index,u32,",
    "msgdata,hsmd_check_pubkey,index,u32,\nmsgdata,hsmd_check_pubkey,n,u8,",
    /check_pubkey, field 3: nothing, want pubkey \(pubkey\)/,
  ],
  [
    "lost field",
    "msgdata,hsmd_check_pubkey,index,u32,\n",
    "",
    /check_pubkey, field 2: pubkey \(pubkey\), want nothing/,
  ],
  [
    "field that became optional",
    "hsmd_sign_any_remote_htlc_to_us,input,u32",
    "hsmd_sign_any_remote_htlc_to_us,input,?u32",
    /input \(u32\), want input \(\?u32\)/,
  ],
  [
    "wider count",
    "hsmd_sign_message,len,u16",
    "hsmd_sign_message,len,u32",
    /msg \(u16 \* u8\), want msg \(u32 \* u8\)/,
  ],
  [
    "type inside of a list",
    "inputs,hsm_utxo,num_inputs",
    "inputs,hsm_utxo2,num_inputs",
    /inputs \(u16 \* hsm_utxo\), want inputs \(u16 \* hsm_utxo2\)/,
  ],
  [
    "field of a subtype",
    "subtypedata,hsm_htlc,cltv_expiry,u32",
    "subtypedata,hsm_htlc,cltv_expiry,u16",
    /hsm_htlc, field 4: cltvExpiry \(u32\), want cltvExpiry \(u16\)/,
  ],
  [
    "number of a record",
    "tlvtype,hsmd_init_reply_v4_tlvs,bip86_base,2",
    "tlvtype,hsmd_init_reply_v4_tlvs,bip86_base,4",
    /hsmd_init_reply_v4_tlvs, field 1: nothing, want 4 bip86Base \(ext_key\)/,
  ],
  [
    "type of a record",
    "hsm_passphrase,passphrase,wirestring",
    "hsm_passphrase,passphrase,secret",
    /1 hsmPassphrase \(wirestring\), want 1 hsmPassphrase \(secret\)/,
  ],
];

for (const [name, before, after, found] of CHANGES) {
  Deno.test(`A definition with another ${name} is told from the tables`, () => {
    const csv = NEWEST.replaceAll(before, after);
    assert.notEqual(csv, NEWEST);
    const lines = compare(parseDefinition("next", csv));
    assert.ok(lines.some((line) => found.test(line)), lines.join("\n"));
  });
}

Deno.test("A row whose message is gone must say until when it was there", async () => {
  const definitions = await readDefinitions();
  const csv = NEWEST.split("\n")
    .filter((line) => !line.includes(",hsmd_dev_memleak")).join("\n");
  const next = parseDefinition("v27.01", csv);
  assert.deepEqual(compareHistory([...definitions, next]), [
    "dev_memleak (33) says every release, want to v26.06.6",
  ]);
});

Deno.test("A row that no release has is found", async () => {
  const definitions = (await readDefinitions())
    .filter(({ release }) => release !== "v26.06.6" && release !== "v25.12");
  const lines = compareHistory(definitions);
  assert.ok(lines.includes("no release has check_bip86_pubkey (56)"));
  assert.ok(
    lines.includes("no release has record hsmd_init_tlvs 1 hsmPassphrase"),
  );
});

Deno.test("A line that is no definition stops the reading", () => {
  assert.throws(() => parseDefinition("next", "msgtipe,hsmd_init,11"), {
    message: /Cannot read next: a line of kind msgtipe/,
  });
});
