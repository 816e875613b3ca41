import assert from "node:assert/strict";
import { decode } from "../../stream/decode.ts";
import { capture, loadFixture } from "../fixtures.ts";

for (const name of ["q35-multifd-2-zlib", "microvm-file", "pc-file-stopped", "q35-virtio-devices", "isapc-file"]) {
  Deno.test(`a source that stays open behind the last byte of ${name} is not waited for`, async () => {
    const bytes = await loadFixture(name);
    let position = 0;
    const source = {
      name: "main",
      read(view: Uint8Array): number | Promise<number> {
        const n = Math.min(view.length, bytes.length - position, 5000);
        if (n === 0) return new Promise(() => {}); // a peer that waits for our answer
        view.set(bytes.subarray(position, position + n));
        position += n;
        return n;
      },
    };
    const counted = (async () => {
      let devices = 0;
      for await (const { kind } of decode(source, { ignoreTrailing: true })) if (kind === "device") devices++;
      return devices;
    })();
    const late = Promise.withResolvers<string>();
    const timer = setTimeout(() => late.resolve("it waits"), 5000);
    const devices = await Promise.race([counted, late.promise]);
    clearTimeout(timer);
    assert.equal(devices, capture(name).sections!.length);
  });
}
