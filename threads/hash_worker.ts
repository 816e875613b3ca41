/**
 * The Worker behind {@link HashBehind}: SHA-256 of what comes, one content after the other.
 * @module
 */
import { createHash } from "node:crypto";
import { FULL, type RingMemory } from "./ring.ts";
import { serveRing } from "./ring_worker.ts";

const ZEROS = new Uint8Array(1 << 20);

serveRing<RingMemory>(FULL, ({ staging, size }) => {
  let hash = createHash("sha256");
  return (index, word) => {
    if (word > 0) hash.update(new Uint8Array(staging, index * size, word));
    for (let left = -word; left > 0; left -= ZEROS.length) hash.update(ZEROS.subarray(0, Math.min(left, ZEROS.length)));
    if (word === 0) {
      new Uint8Array(staging, index * size, size).set(hash.digest());
      hash = createHash("sha256");
    }
    return 0;
  };
});
