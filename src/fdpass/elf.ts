/**
 * The form in which a small native program travels inside a TypeScript module.
 *
 * `scripts/build_helpers.ts` writes such modules; whoever runs the program
 * takes the bytes for this machine from here. Text instead of a file beside
 * the module, because it survives bundling and needs no read permission.
 *
 * @module
 */

/** The processor architectures that Deno, and so this project, runs on. */
export type Architecture = typeof Deno.build.arch;

/** One executable, and what it was made from. */
export interface ElfImage {
  /** First line of the compiler's version text and the linker's. */
  readonly compiler: string;
  /** SHA-256 of the source files, one after the other. */
  readonly source: string;
  /** SHA-256 of the executable. */
  readonly sha256: string;
  /** The executable; line breaks in it mean nothing. */
  readonly base64: string;
}

/** The same program for every architecture. */
export type ElfImages = Readonly<Record<Architecture, ElfImage>>;

/** Decodes one executable. */
export function decodeElf(image: ElfImage): Uint8Array<ArrayBuffer> {
  return Uint8Array.fromBase64(image.base64);
}

/** Returns the executable for the machine that we run on. */
export function nativeElf(images: ElfImages): Uint8Array<ArrayBuffer> {
  return decodeElf(images[Deno.build.arch]);
}
