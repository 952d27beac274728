/**
 * How the softkey talks with a person at a terminal.
 *
 * @module
 */

/** A person at a terminal. */
export interface Prompter {
  /** Lines that stay. */
  show(text: string): void;
  /** A line typed in clear, without its end. */
  ask(question: string): Promise<string>;
  /** A line that is not shown while it is typed. */
  askHidden(question: string): Promise<string>;
  /**
   * Shows text on a screen of its own until Enter, then takes it away: it is in
   * no scroll-back.
   */
  showOnce(text: string): Promise<void>;
}
