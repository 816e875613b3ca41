/**
 * Floating point of 80 bits as decimal numbers.
 *
 *     0x4000_c90fdaa22168c235   3.14159265358979323851
 *     0x3fff_8000000000000000   1
 *
 * Source: Intel SDM volume 1, "x87 FPU Data Types and Formats".
 * @module
 */

/** Significant digits that tell any two values apart. */
const DIGITS = 21;
const INTEGER_BIT = 1n << 63n;

/**
 * What a register holds.
 * @param mantissa 64 bits, the first of them before the point
 * @param signExponent 16 bits
 * @returns "-1.5", "Inf", "NaN"; undefined for what the processor itself takes for no number
 */
export function float80Text(mantissa: bigint, signExponent: number): string | undefined {
  const sign = signExponent & 0x8000 ? "-" : "";
  const exponent = signExponent & 0x7fff;
  if (exponent === 0x7fff) {
    if (!(mantissa & INTEGER_BIT)) return undefined;
    return mantissa === INTEGER_BIT ? `${sign}Inf` : "NaN";
  }
  if (mantissa === 0n) return exponent === 0 ? `${sign}0` : undefined;
  if (exponent !== 0 && !(mantissa & INTEGER_BIT)) return undefined;
  // denormals have the exponent of the smallest normal number
  return sign + decimal(mantissa, Math.max(exponent, 1) - 16383 - 63);
}

/** mantissa * 2 ** exponent, rounded to DIGITS digits, which are left out at the end where they are 0. */
function decimal(mantissa: bigint, exponent: number): string {
  const bits = mantissa.toString(2).length - 1 + exponent;
  // from a power of ten that is one too low, or two: at the right one there are as many digits as there should be
  for (let power = Math.floor(bits * Math.LOG10E * Math.LN2) - 1;; power++) {
    const scale = DIGITS - 1 - power;
    const numerator = mantissa * 2n ** BigInt(Math.max(exponent, 0)) * 10n ** BigInt(Math.max(scale, 0));
    const denominator = 2n ** BigInt(Math.max(-exponent, 0)) * 10n ** BigInt(Math.max(-scale, 0));
    const digits = ((numerator * 2n + denominator) / (denominator * 2n)).toString();
    if (digits.length === DIGITS) return placePoint(digits, power);
  }
}

function placePoint(digits: string, power: number): string {
  const short = digits.replace(/0+$/, "");
  if (power < -5 || power >= DIGITS) {
    const rest = short.slice(1);
    return `${short[0]}${rest && "." + rest}e${power < 0 ? "-" : "+"}${Math.abs(power)}`;
  }
  if (power < 0) return `0.${"0".repeat(-power - 1)}${short}`;
  const whole = digits.slice(0, power + 1);
  const rest = short.slice(power + 1);
  return rest ? `${whole}.${rest}` : whole;
}
