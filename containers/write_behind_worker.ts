/**
 * The Worker behind {@link WriteBehind}: writes buffers in the order they are filled, until it is ended.
 * @module
 */
import * as fs from "node:fs";
import { errorText } from "./file_source.ts";
import { FAILED, FREE, FULL, PIECES, type WriteBehindStart } from "./write_behind.ts";

interface WorkerScope {
  onmessage: ((event: MessageEvent<WriteBehindStart>) => void) | null;
  postMessage(message: unknown): void;
}
const scope = globalThis as unknown as WorkerScope;

scope.onmessage = ({ data: { path, control: shared, pieces: list, staging, size } }) => {
  const control = new Int32Array(shared);
  const pieces = new Float64Array(list);
  const bytes = new Uint8Array(staging);
  const buffers = control.length / 2;
  try {
    const fd = fs.openSync(path, fs.constants.O_WRONLY);
    for (let index = 0;; index = (index + 1) % buffers) {
      Atomics.wait(control, index * 2, FREE);
      if (Atomics.load(control, index * 2) !== FULL) return;
      for (let i = 0; i < control[index * 2 + 1]; i++) {
        const at = (index * PIECES + i) * 3;
        const begin = index * size + pieces[at], length = pieces[at + 1], position = pieces[at + 2];
        for (let done = 0; done < length;) {
          const wrote = fs.writeSync(fd, bytes, begin + done, length - done, position + done);
          if (wrote <= 0) throw Object.assign(new Error("ENOSPC: no space left on device"), { code: "ENOSPC" });
          done += wrote;
        }
      }
      if (Atomics.compareExchange(control, index * 2, FULL, FREE) !== FULL) return;
      Atomics.notify(control, index * 2);
    }
  } catch (error) {
    scope.postMessage(errorText(error));
    for (let i = 0; i < buffers; i++) {
      Atomics.store(control, i * 2, FAILED);
      Atomics.notify(control, i * 2);
    }
  }
};
