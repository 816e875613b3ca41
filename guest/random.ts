/**
 * Random content for guest RAM: splitmix64, addressed by place.
 *
 *     word i of a block = mix(seed + (i + 1) * 0x9e3779b97f4a7c15)      little-endian, i = offset / 8
 *
 * A word depends on the seed and its place alone, so any part can be made by itself and comes out the same. Written by
 * WASM (random.wat) at the speed of memory. Source of the generator: S. Vigna, splitmix64.c (public domain).
 * @module
 */
import { type RamBlock, SEGMENT } from "./memory.ts";

/** random.wat, assembled; 158 bytes. */
const MODULE =
  "AGFzbQEAAAABBwFgA39/fgACEQEFZ3Vlc3QDcmFtAgMAgIAEAwIBAAcIAQRmaWxsAAAKagFoAQF+AkADQCABRQ0BIAJClfip+pe33puef3wh" +
  "AiACIAJCHoiFQrnLk+fR7ZGsv39+IQMgAyADQhuIhULro8SZsbeS6JR/fiEDIAAgAyADQh+IhTcDACAAQQhqIQAgAUEBayEBDAALCws=";

const GOLDEN = 0x9e3779b97f4a7c15n;

type Fill = (at: number, words: number, state: bigint) => void;

let compiled: WebAssembly.Module | undefined;
const fills = new WeakMap<WebAssembly.Memory, Fill>();

/**
 * Fill a range of a block.
 * @param offset bytes in the block, a multiple of 8
 * @param length bytes, a multiple of 8; any borders may be crossed
 * @param seed   64 bits
 * @throws {MemoryFaultError} when the range leaves the block
 */
export function fillRandom(block: RamBlock, offset: number, length: number, seed: bigint): void {
  for (let done = 0; done < length;) {
    const at = offset + done;
    const n = Math.min(length - done, SEGMENT - at % SEGMENT);
    block.writable(at, n);
    const memory = block.segments[Math.floor(at / SEGMENT)]!;
    fillOf(memory)(at % SEGMENT, n / 8, BigInt.asIntN(64, seed + GOLDEN * BigInt(at / 8)));
    done += n;
  }
}

function fillOf(memory: WebAssembly.Memory): Fill {
  let fill = fills.get(memory);
  if (!fill) {
    compiled ??= new WebAssembly.Module(Uint8Array.fromBase64(MODULE));
    fill = new WebAssembly.Instance(compiled, { guest: { ram: memory } }).exports.fill as Fill;
    fills.set(memory, fill);
  }
  return fill;
}
