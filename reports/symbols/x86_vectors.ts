/**
 * Interrupt vectors: exceptions by their names, and lists of vectors.
 * Source: Intel SDM volume 3, table "Protected-Mode Exceptions and Interrupts"; AMD APM volume 2, table 8-1.
 * @module
 */

/** By number. 15 and 22 to 27 are reserved, 31 too; 9 is of no processor with an FPU of its own. */
const EXCEPTIONS: readonly string[] = [
  ..."#DE #DB NMI #BP #OF #BR #UD #NM #DF - #TS #NP #SS #GP #PF - #MF #AC #MC #XM #VE #CP - - - - - - #HV #VC #SX"
    .split(" "),
];

/** "#PF"; undefined for a vector that is no exception. */
export function exceptionName(vector: number): string | undefined {
  const name = EXCEPTIONS[vector];
  return name === "-" ? undefined : name;
}

/** Numbers of the bits that are set in words of 32, as a list: "32 48". */
export function setBits(words: readonly number[]): number[] {
  const numbers: number[] = [];
  words.forEach((word, at) => {
    for (let bit = 0; bit < 32; bit++) if (word >>> bit & 1) numbers.push(at * 32 + bit);
  });
  return numbers;
}
