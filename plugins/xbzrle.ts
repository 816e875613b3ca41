/**
 * XBZRLE: a page sent again travels as its difference from the copy sent before.
 *
 *     record = u64 word(flag 40), [str8 block], u8 encoding(1), u16 n, n bytes of delta
 *     delta  = { zrun nzrun }          until the n bytes are used
 *     zrun   = uleb128 k               k bytes stay; only the first may be 0
 *     nzrun  = uleb128 k, k bytes      k bytes are replaced, k > 0
 *
 * A uleb128 has one byte or two. A page that would not shrink is sent plain; who receives needs no capability.
 * Source: QEMU migration/xbzrle.c, migration/ram.c load_xbzrle, migration/options.c, qapi/migration.json.
 * @module
 */
import type { Plugin } from "../core/plugin.ts";
import { RAM_SAVE_FLAG_XBZRLE } from "../stream/constants.ts";

const PAGE = 4096n;

/** QEMU's sentence for a delta that breaks the rules. */
const MALFORMED = "Failed to load XBZRLE page - decode error!";

/**
 * Apply one delta to a page.
 *
 * @param page  content until now, one target page; changed in place, also by the sound beginning of a bad delta
 * @param delta what follows the record's length
 * @returns     QEMU's sentence when a run leaves the page or the delta ends inside one, else undefined
 */
export function applyDelta(page: Uint8Array, delta: Uint8Array): string | undefined {
  const { length } = delta;
  let at = 0, offset = 0;
  while (at < length) {
    for (let literal = 0; literal < 2; literal++) {
      // every run takes two bytes at least: a zrun has an nzrun behind it, an nzrun a byte
      if (length - at < 2) return MALFORMED;
      const first = at === 0;
      let run = delta[at++];
      if (run & 0x80) {
        const high = delta[at++];
        if (high & 0x80) return MALFORMED;
        run = run & 0x7f | high << 7;
      }
      if (run === 0 && (literal || !first)) return MALFORMED;
      if (offset + run > page.length) return MALFORMED;
      if (literal) {
        if (at + run > length) return MALFORMED;
        for (let i = 0; i < run; i++) page[offset + i] = delta[at + i];
        at += run;
      }
      offset += run;
    }
  }
  return undefined;
}

/** Pages as differences. */
export const xbzrle: Plugin = Object.freeze<Plugin>({
  name: "xbzrle",
  help: "pages sent again travel as differences",
  tables: {
    ramFlags: { [RAM_SAVE_FLAG_XBZRLE]: { flag: RAM_SAVE_FLAG_XBZRLE, feature: "xbzrle", apply: applyDelta } },
  },
  capabilities: [{ name: "xbzrle", ordinal: 0, help: "Delta-encode pages that were sent before", since: "1.2" }],
  parameters: [{
    name: "xbzrle-cache-size",
    ordinal: 16,
    help: "Bytes of the cache of pages sent before",
    type: "size",
    default: 64 << 20,
    unit: "bytes",
    order: 10,
    check: (value: number | bigint) => {
      const bytes = BigInt(value);
      return bytes < PAGE || (bytes & (bytes - 1n)) !== 0n
        ? "Parameter 'xbzrle_cache_size' expects a power of two no less than the target page size"
        : undefined;
    },
  }],
});
