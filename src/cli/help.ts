/**
 * What the broker says to a person who started it by hand.
 *
 * @module
 */

import { environmentName, SETTING_NAMES, SETTINGS } from "./config.ts";

/** Commands of the broker, with what they do. */
export const COMMANDS = {
  help: "this page (--help)",
  version: "lightningd's version, as lightningd asks for it (--version)",
  config: "every setting, its value, and where the value is from",
  pair: "a string and a QR code for a device's owner; --device NODE_ID for a " +
    "Sphinx signer",
  unpair: "forget a device, or all of them",
  devices: "which devices are paired",
  use: "choose the device that signs",
  status: "who signs, what waits, what was refused; --watch to stay",
  control: "send a device a message that its owner signs",
  verify: "type or name a backup, learn whether it is the paired device's",
} as const;

/** A command's name. */
export type CommandName = keyof typeof COMMANDS;

function rows(pairs: readonly (readonly [string, string])[]): string {
  const width = Math.max(...pairs.map(([left]) => left.length));
  return pairs.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`)
    .join("\n");
}

/** The help page. */
export function helpText(): string {
  const settings = SETTING_NAMES.map((name) => {
    const { about, fallback } = SETTINGS[name];
    return [name, `${about} [${fallback}]`] as const;
  });
  return `remote_hsmd_mqtt: the hsmd of a Core Lightning node whose keys are elsewhere.

lightningd starts it; give it to your node with
  lightningd --subdaemon=hsmd:/path/to/remote_hsmd_mqtt
and connect a signer device to it (softkey, or a Sphinx-Key).

By hand:
${rows(Object.entries(COMMANDS))}

Settings, in remote_hsmd.toml beside the node's database or one folder up,
or in the environment as ${environmentName("pairing")} and so on:
${rows(settings)}
`;
}
