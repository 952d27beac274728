/**
 * A QR code for a terminal: two rows of squares to a line, black on white
 * whatever the terminal's colours are.
 *
 * What it does not do: know what the code says.
 *
 * @module
 */

import encodeQR from "qr";

/** White squares around the code; 4 are the standard, readers do with 2. */
const BORDER = 2;
const BLACK_ON_WHITE = "\x1b[30;107m";
const USUAL = "\x1b[0m";

/** By whether the upper and the lower square are black. */
const HALVES = { none: " ", upper: "▀", lower: "▄", both: "█" } as const;

/** The lines of a code; without colours for what is no terminal. */
export function qrLines(
  text: string,
  { hasColour }: { readonly hasColour: boolean },
): readonly string[] {
  const squares = encodeQR(text, "raw", { ecc: "low", border: BORDER });
  const lines: string[] = [];
  for (let y = 0; y < squares.length; y += 2) {
    const upper = squares[y] ?? [];
    const lower = squares[y + 1] ?? [];
    const line = upper.map((isUpper, x) => halfOf(isUpper, lower[x] ?? false))
      .join("");
    lines.push(hasColour ? `${BLACK_ON_WHITE}${line}${USUAL}` : line);
  }
  return lines;
}

function halfOf(isUpper: boolean, isLower: boolean): string {
  if (isUpper) return isLower ? HALVES.both : HALVES.upper;
  return isLower ? HALVES.lower : HALVES.none;
}
