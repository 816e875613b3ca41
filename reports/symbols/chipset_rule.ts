/**
 * Rules of a device as one table: fields by their path without the numbers of elements, and what each says.
 *
 *     fieldTable(/^port92$/, { outport: flags("0 INIT_NOW, 1 A20") })
 *     "timer[].config"      timer[0].config, timer[1].config, ...
 *
 * @module
 */
import type { VmValue } from "../../stream/vmvalue.ts";
import { bitNames, bits, type DeviceView, hexText, integer, type Meaning, type SymbolRule } from "./rule.ts";

/** A field that is asked about. */
export interface Asked {
  readonly value: VmValue;
  /** Numbers of the elements it stands in, outermost first: [0] of `timer[0].config`. */
  readonly index: readonly number[];
  /** Path of the struct it is in, with "." at its end: `timer[0].`; "" outside of any. */
  readonly inside: string;
  /** Bytes on the wire. */
  readonly length: number;
  readonly device: DeviceView;
}

/** What a field says; undefined where its value is not of the kind that was expected. */
export type Say = (asked: Asked) => Meaning | undefined;

/** One rule for many fields of a device. A path is looked up once, however many fields there are. */
export function fieldTable(device: RegExp, fields: Readonly<Record<string, Say>>): SymbolRule[] {
  const table = new Map(Object.entries(fields));
  return [{
    device,
    describe(value, { input: path }, device, { length }) {
      const say = table.get(path.replace(/\[\d+\]/g, "[]"));
      if (!say) return undefined;
      const index = [...path.matchAll(/\[(\d+)\]/g)].map(([, number]) => Number(number));
      return say({ value, index, inside: path.slice(0, path.lastIndexOf(".") + 1), length, device });
    },
  }];
}

/** Tables under a prefix: what is in a struct of several devices. */
export function within(prefix: string, fields: Readonly<Record<string, Say>>): Record<string, Say> {
  return Object.fromEntries(Object.entries(fields).map(([path, say]) => [prefix + path, say]));
}

/** Numbers of up to 32 bits, without a sign. */
export function number(say: (value: number, asked: Asked) => Meaning | undefined): Say {
  return (asked) => {
    const value = integer(asked.value);
    if (value === undefined || asked.length > 4) return undefined;
    return say(Number(BigInt.asUintN(8 * asked.length, value)), asked);
  };
}

/** Numbers of any width, without a sign. */
export function wide(say: (value: bigint, asked: Asked) => Meaning | undefined): Say {
  return (asked) => {
    const value = integer(asked.value);
    return value === undefined ? undefined : say(BigInt.asUintN(8 * asked.length, value), asked);
  };
}

/** Bytes. */
export function bytes(say: (value: Uint8Array, asked: Asked) => Meaning | undefined): Say {
  return (asked) => asked.value instanceof Uint8Array ? say(asked.value, asked) : undefined;
}

/** A register: its name, zero-padded hex as wide as the field, and what `words` makes of it. */
export function register(symbol: string | undefined, words?: (value: number, asked: Asked) => string | undefined): Say {
  return number((value, asked) => {
    const meaning = words?.(value, asked);
    return {
      ...(symbol !== undefined ? { symbol } : {}),
      text: hexText(value, 2 * asked.length),
      ...(meaning ? { meaning } : {}),
    };
  });
}

/** A register of flags: a table of `bits`. */
export function flags(table: string, symbol?: string): Say {
  const names = bits(table);
  return register(symbol, (value) => bitNames(value, names));
}

/** Words for a number, by a list or by a map; none for a number without any. */
export function choice(
  words: readonly string[] | Readonly<Record<number, string>>,
  symbol?: string,
): Say {
  return number((value) => {
    const meaning = Object.hasOwn(words, value) ? (words as Readonly<Record<number, string>>)[value] : undefined;
    return symbol === undefined && meaning === undefined ? undefined : {
      ...(symbol !== undefined ? { symbol } : {}),
      ...(meaning !== undefined ? { meaning } : {}),
    };
  });
}

/** A flag that is sent as a number: 0 `no`, else `yes`. */
export function either(yes: string, no?: string): Say {
  return number((value) => {
    const meaning = value !== 0 ? yes : no;
    return meaning === undefined ? undefined : { meaning };
  });
}

/** A number that a field has beside this one; undefined where there is none. */
export function beside({ device, inside }: Asked, name: string): number | undefined {
  const value = integer(device.value(inside + name));
  return value === undefined ? undefined : Number(value);
}

/** A MAC address, "52:54:00:aa:bb:01". */
export function macText(address: Uint8Array): string {
  return address.toHex().replace(/..(?=.)/g, "$&:");
}
