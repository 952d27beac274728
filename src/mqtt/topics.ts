/**
 * MQTT topics of the Sphinx session: `{cid}/{name}`, one row a name.
 *
 * Names from sphinx-rs glyph/src/topics.rs. `cid` is the MQTT client id of the
 * device; unlike the original we let nobody but its owner use it.
 *
 * @module
 */

/** Who publishes on a topic. */
export type Direction = "toDevice" | "fromDevice";

/** Every name, with its direction. */
export const TOPICS = {
  "hello": "fromDevice",
  "bye": "fromDevice",
  "init-1-msg": "toDevice",
  "init-1-res": "fromDevice",
  "init-2-msg": "toDevice",
  "init-2-res": "fromDevice",
  "init-3-msg": "toDevice",
  "init-3-res": "fromDevice",
  "vls": "toDevice",
  "vls-res": "fromDevice",
  "lss-msg": "toDevice",
  "lss-res": "fromDevice",
  "lss-conflict": "toDevice",
  "lss-conflict-res": "fromDevice",
  "control": "toDevice",
  "control-res": "fromDevice",
  "proxy": "toDevice",
  "proxy-res": "fromDevice",
  "error": "fromDevice",
  // Ours: not in the original, and no device of theirs publishes it.
  "card": "fromDevice",
  "led": "fromDevice",
  "paired": "fromDevice",
  "pong": "fromDevice",
  "ping": "toDevice",
  // What carries all of the above when it is sealed (BOLT 8).
  "sealed": "toDevice",
  "sealed-res": "fromDevice",
} as const satisfies Record<string, Direction>;

/** The last part of a topic. */
export type TopicName = keyof typeof TOPICS;

/** What a device subscribes to, all of it, before it says hello. */
export const DEVICE_SUBSCRIPTIONS: readonly TopicName[] = [
  "vls",
  "control",
  "proxy",
  "init-1-msg",
  "init-2-msg",
  "init-3-msg",
  "lss-msg",
  "lss-conflict",
];

/** All that a sealed device subscribes to. */
export const SEALED_SUBSCRIPTIONS: readonly TopicName[] = ["sealed"];

/** Ids that the original broker uses itself; a device may not have them. */
export const RESERVED_CLIENT_IDS: readonly string[] = [
  "localclient",
  "console",
];

/** Longest client id that we take, in UTF-16 units. */
const LONGEST_CLIENT_ID = 128;

/** Why a client id cannot be used, or null when it can. */
export function clientIdProblem(cid: string): string | null {
  if (cid === "") return "it is empty";
  if (cid.length > LONGEST_CLIENT_ID) {
    return `it has ${cid.length} characters, want at most ${LONGEST_CLIENT_ID}`;
  }
  // deno-lint-ignore no-control-regex
  if (/[+#$/\u0000-\u001f\u007f]/.test(cid)) {
    return "it contains one of + # $ / or a control character";
  }
  return RESERVED_CLIENT_IDS.includes(cid) ? "it is reserved" : null;
}

/** The topic of a device. */
export function topicOf(cid: string, name: TopicName): string {
  return `${cid}/${name}`;
}

/** The name in a topic of this device and direction; null for any other topic. */
export function nameIn(
  topic: string,
  cid: string,
  direction: Direction,
): TopicName | null {
  const prefix = `${cid}/`;
  if (!topic.startsWith(prefix)) return null;
  const name = topic.slice(prefix.length);
  return isTopicName(name) && TOPICS[name] === direction ? name : null;
}

function isTopicName(name: string): name is TopicName {
  return Object.hasOwn(TOPICS, name);
}
