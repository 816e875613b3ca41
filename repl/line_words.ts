/**
 * Words of a line that holds a command with options, as a shell parts them: blanks end a word, "..." and '...' hold one
 * together, a backslash keeps the next character as it is (but not between '...').
 * @module
 */

/** The words of a line. */
export interface LineWords {
  /** Those that are complete, and the last one. */
  readonly words: readonly string[];
  /** The last one as it was typed, with its quotes; "" behind a blank. It is not complete while the cursor stands behind it. */
  readonly last: string;
  /** The quote that was opened and not closed. */
  readonly open?: string;
}

/** Part a line. */
export function lineWords(line: string): LineWords {
  const words: string[] = [];
  let word: string | undefined;
  let start = 0;
  let open: string | undefined;
  for (let i = 0; i < line.length; i++) {
    const char = line[i];
    if (open === undefined && /\s/.test(char)) {
      if (word !== undefined) words.push(word);
      word = undefined;
      continue;
    }
    if (word === undefined) [word, start] = ["", i];
    if (char === open) open = undefined;
    else if (open === undefined && (char === '"' || char === "'")) open = char;
    else if (char === "\\" && open !== "'" && i + 1 < line.length) word += line[++i];
    else word += char;
  }
  if (word === undefined) return { words, last: "" };
  return { words: [...words, word], last: line.slice(start), ...(open !== undefined ? { open } : {}) };
}
