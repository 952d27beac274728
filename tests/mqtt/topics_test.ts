/**
 * Topics and client ids: what a name in a topic means, and for whom.
 *
 * @module
 */

import assert from "node:assert/strict";
import {
  clientIdProblem,
  DEVICE_SUBSCRIPTIONS,
  nameIn,
  RESERVED_CLIENT_IDS,
  SEALED_SUBSCRIPTIONS,
  type TopicName,
  topicOf,
  TOPICS,
} from "../../src/mqtt/topics.ts";

const NAMES = Object.keys(TOPICS) as TopicName[];

Deno.test("A topic of a device is read back in its direction only", () => {
  for (const name of NAMES) {
    const topic = topicOf("aa", name);
    const isToDevice = TOPICS[name] === "toDevice";
    assert.equal(nameIn(topic, "aa", "toDevice"), isToDevice ? name : null);
    assert.equal(nameIn(topic, "aa", "fromDevice"), isToDevice ? null : name);
  }
});

Deno.test("A topic of another client id is nobody's", () => {
  for (
    const topic of ["bb/vls", "a/vls", "aaa/vls", "vls", "/vls", "aa//vls"]
  ) {
    assert.equal(nameIn(topic, "aa", "toDevice"), null, topic);
  }
});

Deno.test("A name that is none of ours is none, inherited ones included", () => {
  for (
    const name of ["", "VLS", "vls ", "vls/x", "constructor", "__proto__", "#"]
  ) {
    assert.equal(nameIn(`aa/${name}`, "aa", "toDevice"), null, name);
    assert.equal(nameIn(`aa/${name}`, "aa", "fromDevice"), null, name);
  }
});

Deno.test("A device subscribes to every topic towards it, or to the one that carries them", () => {
  const toDevice = NAMES.filter((name) => TOPICS[name] === "toDevice");
  // A ping is never said but inside a seal.
  const all = [...DEVICE_SUBSCRIPTIONS, ...SEALED_SUBSCRIPTIONS, "ping"];
  assert.deepEqual(all.toSorted(), toDevice.toSorted());
});

Deno.test("Client ids of real devices can be used", () => {
  for (
    const cid of [
      "0123456789abcdef0123456789abcdef",
      "paho-cca866cc73ba9643bb060e45b330af9a",
      "CocoaMQTT-aGVsbG8=",
      "a".repeat(128),
    ]
  ) assert.equal(clientIdProblem(cid), null, cid);
});

Deno.test("Reserved, illegal and endless client ids cannot", () => {
  const bad = [
    "",
    "a/b",
    "+",
    "a#",
    "$SYS",
    "a\u0000",
    "a\u001f",
    "a\u007f",
    "a".repeat(129),
    ...RESERVED_CLIENT_IDS,
  ];
  for (const cid of bad) assert.notEqual(clientIdProblem(cid), null, cid);
});
