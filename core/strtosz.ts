/**
 * Sizes as QEMU reads them: a number, perhaps a fraction, perhaps one letter.
 *
 *     size     = blank* ["+"] ( "0x" hexdigits | digits ["." digits*] [letter] | "." digits letter )
 *     letter   = one of b k m g t p e, either case; factors of 1024
 *
 * Decimal even with a leading 0 (`010` is 10). Hexadecimal takes neither fraction nor letter, so `0x1b` is 27. A fraction
 * that is not zero needs a factor larger than one byte, its half rounds up, and it is as exact as a double.
 * `e` is always exa, never an exponent. Nothing may follow. Source: QEMU util/cutils.c (do_strtosz, parse_uint).
 * @module
 */

/** Outcome: bytes, or the name of the errno. */
export type SizeResult =
  | { readonly ok: true; readonly value: bigint }
  | { readonly ok: false; readonly error: "EINVAL" | "ERANGE" };

const SUFFIXES = "BKMGTPE";
const MAX = (1n << 64n) - 1n;
const INVALID: SizeResult = { ok: false, error: "EINVAL" };
const RANGE: SizeResult = { ok: false, error: "ERANGE" };

/** Factor a letter stands for, or undefined when it is no size letter. */
function factorOf(letter: string): bigint | undefined {
  const power = letter.length === 1 ? SUFFIXES.indexOf(letter.toUpperCase()) : -1;
  return power < 0 ? undefined : 1n << BigInt(10 * power);
}

/**
 * Read a size.
 *
 * @param text          all of it must be the size; leading blanks are allowed, trailing ones are not
 * @param defaultSuffix unit of a number without a letter: "B", or "M" where QEMU reads mebibytes
 * @returns `EINVAL` when malformed, `ERANGE` when well formed but negative (`-0` too) or 2^64 and above
 */
export function strtosz(text: string, defaultSuffix: "B" | "M" = "B"): SizeResult {
  const head = /^[ \t-\r]*([+-]?)(\d+)/.exec(text);
  if (!head) return fractionOnly(text, defaultSuffix);
  const rest = text.slice(head[0].length);
  const value = BigInt(head[2]);
  if (head[1] === "-" || value > MAX) return rest === "" ? RANGE : INVALID;
  if (value === 0n && /^[xX]/.test(rest)) return hexadecimal(head[2], rest, defaultSuffix);
  const digits = /^\.(\d*)/.exec(rest);
  return scale(value, digits?.[1] ?? "", rest.slice(digits?.[0].length ?? 0), defaultSuffix);
}

/** `.5k`: no digit before the point. */
function fractionOnly(text: string, defaultSuffix: string): SizeResult {
  const match = /^[ \t-\r]*([+-]?)\.(\d+)/.exec(text);
  if (!match) return INVALID;
  const rest = text.slice(match[0].length);
  if (match[1] === "-") return rest === "" ? RANGE : INVALID;
  return scale(0n, match[2], rest, defaultSuffix);
}

/** `0x10`: `zeros` is what stood before the x, which must be a single 0. */
function hexadecimal(zeros: string, rest: string, defaultSuffix: string): SizeResult {
  const match = /^[xX]([0-9a-fA-F]+)$/.exec(rest);
  if (!match || zeros.length !== 1) return INVALID;
  const value = BigInt("0x" + match[1]);
  if (value > MAX) return RANGE;
  return scale(value, "", "", defaultSuffix);
}

/** Put whole part, decimals and letter together: 64.64 fixed point, half rounds up. */
function scale(whole: bigint, decimals: string, suffix: string, defaultSuffix: string): SizeResult {
  const own = factorOf(suffix[0] ?? "");
  const factor = own ?? factorOf(defaultSuffix)!;
  const trailing = suffix.length > (own === undefined ? 0 : 1);
  const fraction = decimals === "" ? 0 : Number("0." + decimals);
  let parts = 0n;
  if (fraction === 1) whole += 1n;
  else if (/[1-9]/.test(decimals)) parts = BigInt(Math.max(1, Math.trunc(fraction * 2 ** 64)));
  if (trailing || (factor === 1n && parts !== 0n)) return INVALID;
  const value = whole * factor + ((parts * factor + (1n << 63n)) >> 64n);
  return value > MAX ? RANGE : { ok: true, value };
}
