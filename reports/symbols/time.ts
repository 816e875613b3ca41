/**
 * Times: timers of QEMU's clocks, in nanoseconds.
 * @module
 */
import { integer, type SymbolRule } from "./rule.ts";

const UNITS: readonly (readonly [ns: bigint, unit: string])[] = [[1_000_000_000n, "s"], [1_000_000n, "ms"], [
  1_000n,
  "us",
]];

/** Nanoseconds as people say them, all digits kept: "1.5 s", "250 us", "-3 ns". */
export function durationText(ns: bigint): string {
  const size = ns < 0n ? -ns : ns;
  const [scale, unit] = UNITS.find(([scale]) => size >= scale) ?? [1n, "ns"];
  const digits = scale.toString().length - 1;
  const rest = digits === 0 ? "" : (size % scale).toString().padStart(digits, "0").replace(/0+$/, "");
  return `${ns < 0n ? "-" : ""}${size / scale}${rest && "." + rest} ${unit}`;
}

/** Source: QEMU migration/savevm.c (timer_put), util/qemu-timer.c (timer_expire_time_ns: -1 when it is not pending). */
export const TIMES: readonly SymbolRule[] = [
  {
    type: "timer",
    describe(value) {
      const ns = integer(value);
      if (ns === undefined) return undefined;
      return BigInt.asIntN(64, ns) === -1n
        ? { text: "not armed" }
        : { text: durationText(ns), meaning: "of its clock" };
    },
  },
];
