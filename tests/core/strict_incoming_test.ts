import assert from "node:assert/strict";
import { Workbench } from "../../mod.ts";

Deno.test("a destination that expects a machine has the content that came, and not what it had", async () => {
  const directory = await Deno.makeTempDir();
  try {
    for (const mapped of [false, true]) {
      await using source = await Workbench.open({ ram: "8M", content: "random:at=2M,bytes=1M" });
      await source.setCapability("mapped-ram", mapped);
      await source.migrate(`file:${directory}/saved`);
      for (const ram of ["8M", undefined]) {
        await using bench = await Workbench.open({ incoming: "defer", ...(ram ? { ram } : {}) });
        await bench.setCapability("mapped-ram", mapped);
        await bench.migrateIncoming(`file:${directory}/saved`);
        for (const { idstr, usedLength } of source.session.guest.memory.blocks) {
          const sent = new Uint8Array(usedLength), came = new Uint8Array(usedLength);
          source.session.guest.memory.block(idstr)!.read(0, sent);
          bench.session.guest.memory.block(idstr)!.read(0, came);
          assert.deepEqual(came, sent, `${idstr}, ${ram ?? "whatever comes"}`);
        }
      }
    }
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});
