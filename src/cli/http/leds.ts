/**
 * What the light of a signer says, for a page: a colour that can be seen on a
 * screen, and the device's own words for it.
 *
 * The names are those of `LED_ROWS` in device/led.ts, which this program does
 * not import; a test holds the two together.
 *
 * @module
 */

/** A state of the light. */
export interface LedWords {
  /** The hardware's name of the colour. */
  readonly colour: LedColour;
  readonly words: string;
}

/** Colours as screens have them. */
export const LED_COLOURS = {
  blue: "#3b82f6",
  cyan: "#06b6d4",
  green: "#22c55e",
  orange: "#f97316",
  purple: "#a855f7",
  red: "#ef4444",
  white: "#ffffff",
  yellow: "#eab308",
} as const;

/** The name of a colour. */
export type LedColour = keyof typeof LED_COLOURS;

const led = (colour: LedColour, words: string): LedWords => ({ colour, words });

/** Each state by the name that a device gives. */
export const LEDS: Readonly<Record<string, LedWords>> = {
  power_on: led("blue", "starting up"),
  mounting_card: led("cyan", "opening the card"),
  starting: led("blue", "starting"),
  setup_open: led("green", "not set up yet: the setup pages are open"),
  configuring: led("red", "settings came in: the owner is asked"),
  connecting_to_wifi: led("yellow", "joining the WiFi"),
  syncing_time: led("cyan", "setting the clock"),
  connecting_to_mqtt: led("purple", "looking for the node"),
  connected: led("cyan", "connected again"),
  signing: led("white", "signing for the node"),
  ota: led("orange", "taking an update"),
  waiting: led("blue", "reset given up: let the button go"),
  reset1a: led("yellow", "reset: let the button go"),
  reset1: led("yellow", "reset: leave the button alone"),
  reset2a: led("orange", "reset: hold the button"),
  reset2: led("orange", "reset: keep holding"),
  reset3a: led("red", "reset: let the button go, and the settings are erased"),
  reset3: led("red", "settings erased"),
  alarm: led("red", "an alarm: see the log and the book"),
};

/** What a device's word for its light means; null for a word we do not know. */
export function ledOf(name: string): LedWords | null {
  return Object.hasOwn(LEDS, name) ? LEDS[name] ?? null : null;
}
