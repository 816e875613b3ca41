/**
 * A live migration between two real QEMUs through the recorder: it arrives, and the capture is what was sent.
 * @module
 */
import assert from "node:assert/strict";
import {
  type Capture,
  DEFAULT_TRANSPORTS,
  openImage,
  Qemu,
  recordMigration,
  replayMigration,
  Workbench,
} from "../../mod.ts";
import { qemuTest } from "./available.ts";
import { guestFiles } from "./content.ts";
import { assertSameBytes } from "./here.ts";
import { sweepingRom } from "./rom.ts";

const RAM = 64 << 20;
const MACHINE = ["-machine", "pc", "-m", "64"];

async function memoryOf(vm: Qemu): Promise<Uint8Array> {
  const filename = vm.path("pmemsave");
  await vm.execute("pmemsave", { val: 0, size: RAM, filename });
  return Deno.readFileSync(filename);
}

for (const channels of [0, 3]) {
  qemuTest(
    `a migration with ${channels || "no"} multifd channels passes, is kept, and loads again from the capture`,
    async () => {
      using files = guestFiles(sweepingRom(), RAM);
      await using source = await Qemu.launch({ args: [...MACHINE, ...files.load] });
      const setUp = async (vm: Qemu) => {
        const bench = await Workbench.open({ qmp: vm.qmp });
        await bench.setCapabilities({ multifd: channels > 0, "return-path": true });
        await bench.setParameter("multifd-channels", Math.max(channels, 1));
        await bench.setParameter("max-bandwidth", 0);
        return bench;
      };
      const destination = async () => {
        const vm = await Qemu.launch({ args: [...MACHINE, ...files.bios, "-S", "-incoming", "defer"] });
        const bench = await setUp(vm);
        await bench.qmp("migrate-incoming", { uri: `unix:${vm.path("in")}`, "exit-on-error": false });
        return { vm, bench, uri: `unix:${vm.path("in")}` };
      };
      await using bench = await setUp(source);
      const first = await destination();
      await using _one = first.vm;
      const directory = source.path("capture");
      const listening = Promise.withResolvers<string>();
      const recorded: Promise<Capture> = recordMigration({
        directory,
        listen: `unix:${source.path("here")}`,
        forward: first.uri,
        transports: DEFAULT_TRANSPORTS,
        onListening: listening.resolve,
      });
      await bench.migrate(await listening.promise);
      await first.bench.settled();
      assert.equal(first.bench.info().status, "completed");
      const memory = await memoryOf(source);
      assertSameBytes(await memoryOf(first.vm), memory, "memory behind the recorder");

      const capture = await recorded;
      assert.equal(capture.channels.length, 1 + channels);
      assert.equal(capture.ended, true);
      const names = Array.from({ length: channels }, (_, i) => `ch${i}.bin`);
      assert.deepEqual(capture.channels.map(({ file }) => file).sort(), [...names, "main.bin"]);
      await using image = await openImage(`${directory}/main.bin`, {
        channels: names.map((name) => `${directory}/${name}`),
      });
      assert.equal(image.complete, true);
      const page = await image.ram.readPage("pc.ram", 5 << 20);
      assertSameBytes(page, memory.subarray(5 << 20, (5 << 20) + 4096), "a page of the capture");

      const second = await destination();
      await using _two = second.vm;
      const replayed = await replayMigration({ directory, uri: second.uri, transports: DEFAULT_TRANSPORTS });
      await second.bench.settled();
      assert.equal(second.bench.info().status, "completed");
      assert.equal(replayed.accepted, true);
      assertSameBytes(await memoryOf(second.vm), memory, "memory behind the replay");
      for (const one of [first.bench, second.bench]) await one[Symbol.asyncDispose]();
      await refusedElsewhere(directory, channels, files.bios);
    },
  );
}

/** A destination set up for other channels, and one that dies, end a replay: none of them runs a guest without its memory. */
async function refusedElsewhere(directory: string, channels: number, bios: readonly string[]): Promise<void> {
  const destination = async (multifd: boolean, stopped = false) => {
    const vm = await Qemu.launch({ args: [...MACHINE, ...bios, "-incoming", "defer"] });
    const capabilities = [{ capability: "multifd", state: multifd }];
    await vm.execute("migrate-set-capabilities", { capabilities });
    const uri = `unix:${vm.path("in")}`;
    await vm.execute("migrate-incoming", { uri, "exit-on-error": false });
    if (stopped) Deno.kill(vm.pid, "SIGSTOP");
    const options = { directory, uri, transports: DEFAULT_TRANSPORTS, stallMs: 500 };
    return { vm, replayed: replayMigration(options) };
  };
  const other = await destination(channels === 0);
  await using _other = other.vm;
  await assert.rejects(other.replayed, {
    name: "TransportError",
    message: channels
      ? /^Cannot replay 'ch\d\.bin', one of 4 channels: [^\n]*; is the destination set up for that many\?$/
      : /the destination took nothing for 500 ms at 0x[0-9a-f]+ of 0x[0-9a-f]+ bytes; is it set up for 1 channel\?$/,
  });
  assert.deepEqual(await other.vm.execute("query-status"), { status: "inmigrate", running: false });
  if (channels) return;
  const dying = await destination(false, true);
  await using _dying = dying.vm;
  setTimeout(() => dying.vm.kill(), 200);
  await assert.rejects(dying.replayed, {
    name: "TransportError",
    message: /^Cannot replay '\S+\/main\.bin': the destination hung up at 0x[0-9a-f]+ of 0x[0-9a-f]+: /,
  });
}

for (const copy of [false, true]) {
  const by = copy ? "this program" : "the kernel";
  qemuTest(`a postcopy with urgent pages passes when ${by} passes it on, answers and all`, async () => {
    using files = guestFiles(sweepingRom(), RAM);
    await using source = await Qemu.launch({ args: [...MACHINE, ...files.load] });
    await using target = await Qemu.launch({ args: [...MACHINE, ...files.bios, "-incoming", "defer"] });
    await using from = await Workbench.open({ qmp: source.qmp });
    await using to = await Workbench.open({ qmp: target.qmp });
    const on = { "postcopy-ram": true, "postcopy-preempt": true, "return-path": true };
    const refused = await to.setCapabilities(on).then(() => undefined, (error: Error) => error.message);
    if (refused !== undefined) return assert.match(refused, /[Pp]ostcopy is not supported|userfault/); // no userfaultfd here
    await from.setCapabilities(on);
    await from.setParameter("max-bandwidth", 8 << 20);
    const forward = `unix:${target.path("in")}`;
    await to.qmp("migrate-incoming", { uri: forward, "exit-on-error": false });
    const directory = source.path("capture");
    const listening = Promise.withResolvers<string>();
    const recorded = recordMigration({
      directory,
      listen: `unix:${source.path("here")}`,
      forward,
      transports: DEFAULT_TRANSPORTS,
      copy,
      onListening: listening.resolve,
    });
    const migration = from.migrate(await listening.promise);
    while ((from.info().ram?.transferred ?? 0) < 1 << 20) await new Promise((resolve) => setTimeout(resolve, 20));
    await from.hmp("migrate_start_postcopy");
    assert.equal((await migration).status, "completed");
    await to.settled();
    assert.equal(to.info().status, "completed");
    const { channels, complete, ended } = await recorded;
    assert.deepEqual([complete, ended], [true, true]);
    assert.deepEqual(channels.map(({ file, back }) => [file, back?.file]), [
      ["main.bin", "main.rp.bin"],
      ["preempt.bin", undefined],
    ]);
    await using image = await openImage(`${directory}/main.bin`, { channels: [`${directory}/preempt.bin`] });
    assert.equal(image.complete, true);

    // all pages come, whatever it asks for
    await using third = await Qemu.launch({ args: [...MACHINE, ...files.bios, "-incoming", "defer"] });
    await using again = await Workbench.open({ qmp: third.qmp });
    await again.setCapabilities(on);
    const uri = `unix:${third.path("in")}`;
    await again.qmp("migrate-incoming", { uri, "exit-on-error": false });
    const replayed = await replayMigration({ directory, uri, transports: DEFAULT_TRANSPORTS });
    await again.settled();
    assert.equal(again.info().status, "completed");
    assert(replayed.answered > 0);
    assert.deepEqual(await third.execute("query-status"), { status: "running", running: true });
  });
}
