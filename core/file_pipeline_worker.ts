/**
 * The Worker behind {@link FilePipeline}: writes buffers in the order they are filled, until it is ended.
 * @module
 */
import fs from "node:fs";
import { errnoText } from "./errno.ts";
import { FAILED, FREE, FULL, type PipelineStart } from "./file_pipeline.ts";

interface WorkerScope {
  onmessage: ((event: MessageEvent<PipelineStart>) => void) | null;
  postMessage(message: unknown): void;
}
const scope = globalThis as unknown as WorkerScope;

scope.onmessage = ({ data: { path, start, control: shared, staging, size } }) => {
  const control = new Int32Array(shared);
  const buffers = control.length / 2;
  let position = start;
  let index = 0;
  try {
    const fd = fs.openSync(path, fs.constants.O_WRONLY);
    for (;; index = (index + 1) % buffers) {
      Atomics.wait(control, index * 2, FREE);
      if (Atomics.load(control, index * 2) !== FULL) return;
      const view = new Uint8Array(staging, index * size, control[index * 2 + 1]);
      for (let done = 0; done < view.length;) {
        const wrote = fs.writeSync(fd, view, done, view.length - done, position);
        if (wrote <= 0) throw Object.assign(new Error("no space left on device"), { code: "ENOSPC" });
        done += wrote;
        position += wrote;
      }
      if (Atomics.compareExchange(control, index * 2, FULL, FREE) !== FULL) return;
      Atomics.notify(control, index * 2);
    }
  } catch (error) {
    scope.postMessage(errnoText(error));
    for (let i = 0; i < buffers; i++) {
      Atomics.store(control, i * 2, FAILED);
      Atomics.notify(control, i * 2);
    }
  }
};
