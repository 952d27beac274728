/**
 * The light of a signer: which colour and which rhythm say what it is doing.
 *
 * The hardware of the field has one RGB light. It comes on for a time that the
 * status sets, is off for 400 ms, and so on. Its driver shifts each byte of a
 * colour out with the lowest bit first, so that what is seen is not the constant
 * in the source but its bytes with their bits reversed: 000001 is a blue of 128,
 * ffa500 is orange by luck, because its bytes read the same from both ends.
 *
 * | event | light |
 * | --- | --- |
 * | power_on | power_on |
 * | card_mounting | mounting_card |
 * | started | starting |
 * | no_config | setup_open |
 * | configuring | configuring |
 * | config_found | connecting_to_wifi |
 * | time_syncing | syncing_time |
 * | mqtt_connecting, disconnected | connecting_to_mqtt |
 * | connected | connecting_to_mqtt the first time, connected from then on |
 * | request | signing, and it stays |
 * | ota_accepted | ota |
 * | alarm | alarm, which none of connecting, connected and signing hides |
 * | calm | what it would be without the alarm |
 *
 * The hardware's button erases its settings, not its seed, by a gesture that
 * nobody makes by accident; the light leads through it:
 *
 *     hold 10 s     release     alone 10 s    press      hold 10 s    release
 *     reset1a  ---> reset1 ---> reset2a  ---> reset2 ---> reset3a ---> reset3
 *     yellow        yellow      orange        orange      red          red
 *
 * A press that comes too early and a hold of more than 20 s lead to waiting, and
 * the release after it to starting. A release that comes too early and more than
 * 20 s of nothing lead to starting at once.
 *
 * Where a softkey is not the hardware: a lost connection does not restart it, so
 * that `connected` does happen, on each reconnect until the next request; on the
 * hardware it cannot. `configuring`, which the hardware never sends, is the
 * light while the owner is asked about what came in by the setup pages. An alarm
 * has a light of its own, which the hardware has not. A softkey
 * joins no WiFi, sets no clock, takes no update over the air and has no button:
 * rows with `isSoftkeys` false are the hardware's alone, and no event of a
 * softkey leads to them. What erases a softkey is `softkey card wipe`. While the
 * gesture is under way other events do not change the light, since requests would
 * hide when to let go.
 *
 * What it does not do: light anything (`led_outputs.ts`), keep time. Whoever has
 * a button asks {@linkcode wakeAt} and sends `time` then.
 *
 * @module
 */

/** A colour as it is seen: red, green, blue, 0 to 255. */
export type Rgb = readonly [red: number, green: number, blue: number];

/** One status of the light. */
export interface LedRow {
  /** The hardware's name of the status. */
  readonly source: string;
  /** The constant in the hardware's source, 0xRRGGBB. */
  readonly constant: number;
  /** What is seen: each byte of the constant with its bits reversed. */
  readonly rgb: Rgb;
  /** What the hardware's source calls the colour. */
  readonly colour: string;
  readonly onMs: number;
  /** Whether a softkey gets there; otherwise only the hardware does. */
  readonly isSoftkeys: boolean;
  /** What it means, for the owner. */
  readonly words: string;
}

/** How long the light is off between two flashes, whatever the status. */
export const LED_OFF_MS = 400;

/** The byte with its lowest bit first. */
function reverseBits(byte: number): number {
  let reversed = 0;
  for (let bit = 0; bit < 8; bit++) {
    reversed = reversed << 1 | byte >> bit & 1;
  }
  return reversed;
}

/** What the light emits for a constant of the source. */
function emittedRgb(constant: number): Rgb {
  return [
    reverseBits(constant >> 16 & 0xff),
    reverseBits(constant >> 8 & 0xff),
    reverseBits(constant & 0xff),
  ];
}

function row(
  source: string,
  [constant, colour, onMs]: readonly [number, string, number],
  words: string,
): LedRow {
  const rgb = emittedRgb(constant);
  return { source, constant, rgb, colour, onMs, isSoftkeys: true, words };
}

function hardwareRow(...columns: Parameters<typeof row>): LedRow {
  return { ...row(...columns), isSoftkeys: false };
}

/** Every status of the light. */
export const LED_ROWS = {
  power_on: row("", [0x000001, "blue", 100], "starting up"),
  mounting_card: row(
    "MountingSDCard",
    [0x000102, "cyan", 100],
    "opening the card",
  ),
  starting: row("Starting", [0x000001, "blue", 100], "starting"),
  setup_open: row(
    "WifiAccessPoint",
    [0x000100, "green", 100],
    "not set up yet: the setup pages are open",
  ),
  configuring: row(
    "Configuring",
    [0x010000, "red", 20],
    "settings came in: the owner is asked",
  ),
  connecting_to_wifi: hardwareRow(
    "ConnectingToWifi",
    [0x010100, "yellow", 350],
    "joining the WiFi",
  ),
  syncing_time: hardwareRow(
    "SyncingTime",
    [0x000122, "cyan", 100],
    "setting the clock",
  ),
  connecting_to_mqtt: row(
    "ConnectingToMqtt",
    [0x010001, "purple", 100],
    "looking for the node",
  ),
  connected: row("Connected", [0x000101, "cyan", 400], "connected again"),
  signing: row("Signing", [0x111111, "white", 100], "signing for the node"),
  ota: hardwareRow("Ota", [0xffa500, "orange", 100], "taking an update"),
  waiting: hardwareRow(
    "Waiting",
    [0x000001, "blue", 100],
    "reset given up: let the button go",
  ),
  reset1a: hardwareRow(
    "Reset1a",
    [0x017700, "yellow", 100],
    "reset: let the button go",
  ),
  reset1: hardwareRow(
    "Reset1",
    [0x017700, "yellow", 100],
    "reset: leave the button alone",
  ),
  reset2a: hardwareRow(
    "Reset2a",
    [0xffa500, "orange", 100],
    "reset: hold the button",
  ),
  reset2: hardwareRow(
    "Reset2",
    [0xffa500, "orange", 100],
    "reset: keep holding",
  ),
  reset3a: hardwareRow(
    "Reset3a",
    [0x010000, "red", 100],
    "reset: let the button go, and the settings are erased",
  ),
  reset3: hardwareRow("Reset3", [0x010000, "red", 100], "settings erased"),
  // A softkey's alone: the hardware knows no alarms.
  alarm: row("", [0x010000, "red", 400], "an alarm: see the log and the book"),
} as const satisfies Record<string, LedRow>;

/** Name of a status. */
export type LedStatus = keyof typeof LED_ROWS;

/** What happens to a signer that its light shows. */
export type SignerEvent =
  | "power_on"
  | "card_mounting"
  | "started"
  | "no_config"
  | "configuring"
  | "config_found"
  | "time_syncing"
  | "mqtt_connecting"
  | "connected"
  | "request"
  | "disconnected"
  | "ota_accepted"
  | "alarm"
  | "calm";

/** The hardware's button, and time that passes while a gesture is under way. */
export interface ButtonEvent {
  readonly kind: "button_down" | "button_up" | "time";
  /** Milliseconds of any clock that never goes back. */
  readonly atMs: number;
}

/** Whatever moves the light. */
export type LedEvent = SignerEvent | ButtonEvent;

/** The light, and what it has to remember. */
export interface LedState {
  readonly status: LedStatus;
  /** How far the reset gesture has come. */
  readonly stage: GestureStage;
  /** When the button last went down or up. */
  readonly sinceMs: number;
  /** Whether there has been a connection: the next one is a reconnect. */
  readonly hasConnected: boolean;
  /** What an alarm hides; null while there is none. */
  readonly hidden: LedStatus | null;
}

const HOLD_MS = 10_000;
const TOO_LONG_MS = 20_000;

/** Where a gesture may be. */
export type GestureStage =
  | "idle"
  | "pressed"
  | "aborted"
  | "waiting"
  | "reset1a"
  | "reset1"
  | "reset2a"
  | "reset2"
  | "reset3a"
  | "reset3";

/** One stage: its light, and where a press, a release and time lead. */
interface StageRow {
  /** Null: the light stays what it is. */
  readonly status: LedStatus | null;
  /** Whether the light is the gesture's alone. */
  readonly isGesture: boolean;
  readonly down?: GestureStage;
  readonly up?: GestureStage;
  /** Where more than so many milliseconds without a change lead. */
  readonly after?: { readonly ms: number; readonly to: GestureStage };
}

const toAborted = { ms: TOO_LONG_MS, to: "aborted" } as const;
const toWaiting = { ms: TOO_LONG_MS, to: "waiting" } as const;
const then = (to: GestureStage) => ({ ms: HOLD_MS, to });

const STAGES: Readonly<Record<GestureStage, StageRow>> = {
  idle: { status: null, isGesture: false, down: "pressed" },
  pressed: {
    status: null,
    isGesture: false,
    up: "idle",
    after: then("reset1a"),
  },
  aborted: { status: "starting", isGesture: false, down: "pressed" },
  waiting: { status: "waiting", isGesture: true, up: "aborted" },
  reset1a: {
    status: "reset1a",
    isGesture: true,
    up: "reset1",
    after: toWaiting,
  },
  reset1: {
    status: "reset1",
    isGesture: true,
    down: "waiting",
    after: then("reset2a"),
  },
  reset2a: {
    status: "reset2a",
    isGesture: true,
    down: "reset2",
    after: toAborted,
  },
  reset2: {
    status: "reset2",
    isGesture: true,
    up: "aborted",
    after: then("reset3a"),
  },
  reset3a: {
    status: "reset3a",
    isGesture: true,
    up: "reset3",
    after: toWaiting,
  },
  // The end: the settings are erased and the device starts again (power_on).
  reset3: { status: "reset3", isGesture: true },
};

/** The light before anything has happened. */
export const START: LedState = {
  status: "power_on",
  stage: "idle",
  sinceMs: 0,
  hasConnected: false,
  hidden: null,
};

/** The light that an event leads to; `connected` is told apart below. */
const LIGHTS: Readonly<Record<SignerEvent, LedStatus>> = {
  power_on: "power_on",
  card_mounting: "mounting_card",
  started: "starting",
  no_config: "setup_open",
  configuring: "configuring",
  config_found: "connecting_to_wifi",
  time_syncing: "syncing_time",
  mqtt_connecting: "connecting_to_mqtt",
  connected: "connected",
  request: "signing",
  disconnected: "connecting_to_mqtt",
  ota_accepted: "ota",
  alarm: "alarm",
  calm: "connected",
};

/** What an alarm is seen through. */
const HIDDEN_BY_ALARM: ReadonlySet<LedStatus> = new Set<LedStatus>([
  "connecting_to_mqtt",
  "connected",
  "signing",
]);

/** What comes of an event; the same object when nothing does. */
export function step(state: LedState, event: LedEvent): LedState {
  if (event === "power_on") return START;
  if (typeof event === "string") return stepSigner(state, event);
  const late = passTime(state, event.atMs);
  if (event.kind === "time") return late;
  const { down, up } = STAGES[late.stage];
  const to = event.kind === "button_down" ? down : up;
  return to === undefined ? late : enter({ ...late, sinceMs: event.atMs }, to);
}

/** When a `time` event is due unless the button changes before; null for never. */
export function wakeAt({ stage, sinceMs }: LedState): number | null {
  const { after } = STAGES[stage];
  // "More than": a whole millisecond more, as clocks count.
  return after === undefined ? null : sinceMs + after.ms + 1;
}

function stepSigner(state: LedState, event: SignerEvent): LedState {
  if (event === "alarm") return beginAlarm(state);
  if (event === "calm") return endAlarm(state);
  const next = stepQuiet(state, event);
  const isHidden = state.hidden !== null && HIDDEN_BY_ALARM.has(next.status);
  return isHidden ? { ...next, status: "alarm", hidden: next.status } : next;
}

function beginAlarm(state: LedState): LedState {
  if (state.hidden !== null) return state;
  const { status } = state;
  const isSeen = HIDDEN_BY_ALARM.has(status);
  return { ...state, status: isSeen ? "alarm" : status, hidden: status };
}

function endAlarm(state: LedState): LedState {
  if (state.hidden === null) return state;
  const status = state.status === "alarm" ? state.hidden : state.status;
  return { ...state, status, hidden: null };
}

function stepQuiet(state: LedState, event: SignerEvent): LedState {
  const status = STAGES[state.stage].isGesture
    ? state.status
    : lightOf(event, state);
  const hasConnected = state.hasConnected || event === "connected";
  const isSame = status === state.status && hasConnected === state.hasConnected;
  return isSame ? state : { ...state, status, hasConnected };
}

/** The first connection is not shown: the hardware waits for a request. */
function lightOf(event: SignerEvent, { hasConnected }: LedState): LedStatus {
  const isFirst = event === "connected" && !hasConnected;
  return isFirst ? "connecting_to_mqtt" : LIGHTS[event];
}

/** Every stage that time alone has led through until then. */
function passTime(state: LedState, atMs: number): LedState {
  const { after } = STAGES[state.stage];
  const isOver = after !== undefined && atMs - state.sinceMs > after.ms;
  return isOver ? passTime(enter(state, after.to), atMs) : state;
}

function enter(state: LedState, stage: GestureStage): LedState {
  return { ...state, stage, status: STAGES[stage].status ?? state.status };
}
