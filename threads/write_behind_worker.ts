/**
 * The Worker behind {@link WriteBehind}: writes the pieces of each buffer through a handle of its own.
 * @module
 */
import * as fs from "node:fs";
import { FULL } from "./ring.ts";
import { serveRing } from "./ring_worker.ts";
import { PIECES, type WriteBehindStart } from "./write_behind.ts";

serveRing<WriteBehindStart>(FULL, ({ path, pieces: list, staging, size }) => {
  const fd = fs.openSync(path, fs.constants.O_WRONLY);
  const pieces = new Float64Array(list);
  const bytes = new Uint8Array(staging);
  return (index, listed) => {
    for (let i = 0; i < listed; i++) {
      const at = (index * PIECES + i) * 3;
      const begin = index * size + pieces[at], length = pieces[at + 1], position = pieces[at + 2];
      for (let done = 0; done < length;) {
        const wrote = fs.writeSync(fd, bytes, begin + done, length - done, position + done);
        if (wrote <= 0) throw Object.assign(new Error("ENOSPC: no space left on device"), { code: "ENOSPC" });
        done += wrote;
      }
    }
    return 0;
  };
});
