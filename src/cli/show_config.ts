/**
 * `remote_hsmd_mqtt config`: every setting and where its value is from.
 *
 * @module
 */

import { SETTING_NAMES, SETTINGS, showText } from "./config.ts";
import { readConfig } from "./sources.ts";

/** The settings as lines of `name = value (source)`. */
export function config(): string {
  const settings = readConfig();
  const lines = SETTING_NAMES.map((name) => {
    const { text, source } = settings[name];
    return `${name} = ${showText(SETTINGS[name], text)}  (${source})`;
  });
  return lines.join("\n") + "\n";
}
