/**
 * Loads that fail or are interrupted: the program names the file, what does not go together, and leaves settings as they were.
 * @module
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import { Qemu, Workbench } from "../../mod.ts";
import { run } from "../repl/capture.ts";
import { qemuTest } from "./available.ts";
import { guestFiles } from "./content.ts";
import { haltingRom } from "./rom.ts";
import { startProgram } from "../program.ts";

const MIB = 1 << 20;

/** A saved guest of 64 MiB in each format. */
async function withSaves(test: (saved: { path(name: string): string; bios: readonly string[] }) => Promise<void>) {
  using files = guestFiles(haltingRom(), 64 * MIB);
  await using vm = await Qemu.launch({ args: ["-machine", "pc", "-m", "64", ...files.load] });
  await using bench = await Workbench.open({ qmp: vm.qmp });
  for (const format of ["mapped-ram", "legacy"] as const) {
    await bench.save(vm.path(format), { format });
    await bench.qmp("cont");
  }
  await test({ path: (name) => vm.path(name), bios: files.bios });
}

qemuTest(
  "a load that fails names the file and what does not go together; the same QEMU is not asked again",
  () =>
    withSaves(async ({ path, bios }) => {
      for (const format of ["mapped-ram", "legacy"]) {
        fs.copyFileSync(path(format), path(`${format}.cut`));
        fs.truncateSync(path(`${format}.cut`), (format === "legacy" ? 5 : 20) * MIB);
      }
      fs.writeFileSync(path("other"), "no guest at all");
      const pc = ["-machine", "pc", "-m", "64"];
      const cases: readonly [args: readonly string[], file: string, why: RegExp][] = [
        [
          ["-machine", "q35", "-m", "64"],
          "mapped-ram",
          /; it was saved by a pc-i440fx-\S+, the machine is a pc-q35-\S+$/,
        ],
        [
          ["-machine", "pc", "-m", "96"],
          "legacy",
          /; it has 0x4000000 bytes of RAM block pc\.ram, the machine 0x6000000$/,
        ],
        [
          pc,
          "mapped-ram.cut",
          /; it is damaged: Cannot read pages of RAM block pc\.ram at offset 0x[0-9a-f]+ in "main": /,
        ],
        [
          pc,
          "legacy.cut",
          /; it is damaged: Cannot read [^"]* at offset 0x500000 in "main": /,
        ],
      ];
      for (const [args, file, why] of cases) {
        await using vm = await Qemu.launch({ args: [...args, ...bios, "-incoming", "defer"] });
        const settings = async () => [
          await vm.execute("query-migrate-capabilities"),
          await vm.execute("query-migrate-parameters"),
        ];
        const before = await settings();
        const failed = await run("restore", "--qmp", vm.qmp, path(file));
        assert.deepEqual([failed.status, failed.stdout], [1, ""]);
        const [line, ...more] = failed.stderr.split("\n");
        assert.deepEqual(more, [""]);
        assert(line.startsWith(`miglab: ${path(file)}: load of migration failed: `), line);
        assert.match(line, why);
        assert.deepEqual(await settings(), before);
        const again = await run("restore", "--qmp", vm.qmp, path("legacy"));
        assert.match(
          again.stderr,
          /^miglab: Cannot restore: the machine has failed to load before \(.*\); start it anew\n$/,
        );
      }
      await using vm = await Qemu.launch({ args: [...pc, "-incoming", "defer"] });
      const none = await run("restore", "--qmp", vm.qmp, path("other"));
      assert.match(none.stderr, /^miglab: \S+\/other: Cannot read stream header at offset 0x0 in "main": [^\n]*\n$/);
    }),
);

qemuTest(
  "a load fails with the RAM block the machine lacks, or, where nothing can be told, with where to look on",
  async () => {
    const pc = ["-machine", "pc", "-m", "32", "-S"];
    await using source = await Qemu.launch({
      args: [...pc, "-device", "VGA,vgamem_mb=4,addr=5", "-device", "virtio-rng-pci"],
    });
    await using bench = await Workbench.open({ qmp: source.qmp });
    await bench.save(source.path("saved"));
    const cases: readonly [device: readonly string[], why: RegExp][] = [
      [[], /; it has 0x400000 bytes of RAM block \S*vga\.vram, the machine has no such block\n$/],
      [
        ["-device", "VGA,vgamem_mb=8,addr=5"],
        /; it has 0x400000 bytes of RAM block \S*vga\.vram, the machine 0x800000\n$/,
      ],
      [
        ["-device", "VGA,vgamem_mb=4,addr=5"],
        /: load of migration failed: [^;]*; its stderr says more: miglab why \S+\/saved --error TEXT\n$/,
      ],
    ];
    for (const [device, why] of cases) {
      await using vm = await Qemu.launch({ args: [...pc, ...device, "-incoming", "defer"] });
      const failed = await run("restore", "--qmp", vm.qmp, source.path("saved"));
      assert.equal(failed.status, 1, failed.stdout);
      assert.match(failed.stderr, why);
    }
  },
);

/** A monitor between the program and QEMU: it holds the answer to one command until it is told to let go. */
function monitorBetween(qmp: string, path: string, held: string) {
  const listener = Deno.listen({ transport: "unix", path });
  const asked = Promise.withResolvers<void>(), release = Promise.withResolvers<void>();
  const decoder = new TextDecoder();
  const ended = (async () => {
    const near = await listener.accept();
    const far = await Deno.connect({ transport: "unix", path: qmp });
    let holding = Promise.resolve();
    const there = (async () => {
      for await (const piece of near.readable) {
        if (decoder.decode(piece).includes(`"${held}"`)) {
          holding = release.promise;
          asked.resolve();
        }
        for (let done = 0; done < piece.length;) done += await far.write(piece.subarray(done));
      }
    })().catch(() => {}).finally(() => far.close());
    const back = (async () => {
      const buffer = new Uint8Array(1 << 16);
      for (let got; (got = await far.read(buffer)) !== null;) {
        await holding;
        for (let done = 0; done < got;) done += await near.write(buffer.subarray(done, got));
      }
    })().catch(() => {});
    await back;
    await holding;
    try {
      near.close();
    } catch {
      // the program hung up first
    }
    await there;
  })();
  return {
    asked: asked.promise,
    release: release.resolve,
    async [Symbol.asyncDispose]() {
      release.resolve();
      await ended;
      listener.close();
    },
  };
}

/** The program restores by way of such a monitor; without FFI no descriptors travel, which the monitor between would lose. */
function restore(monitor: string, file: string) {
  return startProgram(["-A", "--deny-ffi"], ["restore", "--qmp", monitor, file]);
}

qemuTest(
  "Ctrl-C during a load is answered behind it, with everything put back; a second one leaves at once",
  () =>
    withSaves(async ({ path, bios }) => {
      const args = ["-machine", "pc", "-m", "64", ...bios, "-incoming", "defer"];
      const say = "miglab: QEMU cannot be interrupted while it loads; once more leaves it to itself\n";
      for (const keys of [1, 2]) {
        await using vm = await Qemu.launch({ args });
        const before = await vm.execute("query-migrate-capabilities");
        await using between = monitorBetween(vm.qmp, vm.path("between"), "migrate-incoming");
        const { child, ended } = restore(vm.path("between"), path("mapped-ram"));
        await between.asked;
        for (let i = 0; i < keys; i++) {
          child.kill("SIGINT");
          await new Promise((resolve) => setTimeout(resolve, 200));
        }
        if (keys === 1) between.release();
        const { code, stdout, stderr } = await ended;
        assert.deepEqual([code, stderr], [keys === 1 ? 0 : 130, say]);
        if (keys === 2) continue;
        assert.match(stdout, /\/mapped-ram: loaded in [\d.]+ s, the guest is paused; cont starts it\n$/);
        assert.deepEqual(await vm.execute("query-migrate-capabilities"), before);
      }
    }),
);

qemuTest("a QEMU that dies while it loads is one line", () =>
  withSaves(async ({ path, bios }) => {
    await using vm = await Qemu.launch({ args: ["-machine", "pc", "-m", "64", ...bios, "-incoming", "defer"] });
    await using between = monitorBetween(vm.qmp, vm.path("between"), "migrate-incoming");
    const { ended } = restore(vm.path("between"), path("legacy"));
    await between.asked;
    vm.kill();
    await vm.status;
    between.release();
    const { code, stdout, stderr } = await ended;
    assert.deepEqual([code, stdout], [1, ""]);
    assert.match(stderr, /^miglab: [Ll]ost QEMU at [^\n]*\n$/);
  }));
