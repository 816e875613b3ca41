/**
 * A real QEMU saved and restored in one call: as libvirt does it, live, busy, cancelled, and killed in the middle.
 * @module
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import { type Forecast, openImage, Qemu, TransportError, Workbench } from "../../mod.ts";
import { qemuTest } from "./available.ts";
import { guestFiles } from "./content.ts";
import { assertSameBytes } from "./here.ts";
import { SWEEP, sweepingRom } from "./rom.ts";

const RAM = 64 << 20;
const MACHINE = ["-machine", "pc", "-m", "64"];
const MAIN = new URL("../../main.ts", import.meta.url).pathname;

/** Guest-physical memory, as QEMU itself writes it. */
async function memoryOf(vm: Qemu): Promise<Uint8Array> {
  const filename = vm.path("pmemsave");
  await vm.execute("pmemsave", { val: 0, size: RAM, filename });
  return Deno.readFileSync(filename);
}

async function settingsOf(vm: Qemu): Promise<unknown[]> {
  return [await vm.execute("query-migrate-capabilities"), await vm.execute("query-migrate-parameters")];
}

async function runState(vm: Qemu): Promise<string> {
  return (await vm.execute("query-status") as { status: string }).status;
}

const names = (path: string) => [...Deno.readDirSync(path)].map(({ name }) => name).sort();

const WAYS = [
  { format: "mapped-ram" },
  { format: "mapped-ram", channels: 3 },
  { format: "mapped-ram", channels: 2, directIo: true, offset: 0x11921 },
  { format: "mapped-ram", live: true },
  { format: "legacy" },
  { format: "legacy", offset: 4096 },
  { format: "libvirt-sparse", channels: 1 },
] as const;

for (const way of WAYS) {
  qemuTest(`a busy guest saved with ${JSON.stringify(way)} comes back as it was, settings untouched`, async () => {
    using files = guestFiles(sweepingRom(), RAM);
    await using source = await Qemu.launch({ args: [...MACHINE, ...files.load] });
    await source.execute("migrate-set-capabilities", { capabilities: [{ capability: "xbzrle", state: true }] });
    await source.execute("migrate-set-parameters", { "max-bandwidth": 12345678, "multifd-channels": 7 });
    const before = await settingsOf(source);
    await using bench = await Workbench.open({ qmp: source.qmp });
    const saved = await bench.save(source.path("out"), way);
    assert.equal(saved.passedDescriptors, true);
    assert.equal(saved.wasRunning, true);
    assert.equal(fs.statSync(source.path("out")).mode & 0o777, 0o600);
    assert.equal(fs.statSync(source.path("out")).size, saved.bytes);
    assert.deepEqual(names(source.directory).filter((name) => name.startsWith("out")), ["out"]);
    assert.deepEqual(await settingsOf(source), before);
    assert.deepEqual(await source.execute("query-fdsets"), []);
    assert.equal(await runState(source), "postmigrate");

    await using target = await Qemu.launch({ args: [...MACHINE, ...files.bios, "-S", "-incoming", "defer"] });
    await using waiting = await Workbench.open({ qmp: target.qmp });
    const { format, live: _, ...reading } = way as { format: string; live?: boolean; offset?: number };
    const restored = await waiting.restore(source.path("out"), { ...reading, cont: false });
    assert.equal(restored.runState, "paused");
    assert.deepEqual(await target.execute("query-fdsets"), []);
    assertSameBytes(await memoryOf(target), await memoryOf(source), "guest-physical memory");
    assert.equal(await target.hmp("info registers"), await source.hmp("info registers"));
    await target.execute("cont");
    await until(async () => await sweep(target) > await sweep(source), "the guest stands still");
    await using image = await openImage(source.path("out"), { offset: format === "libvirt-sparse" ? 0 : saved.offset });
    assert.equal(image.streamOffset, saved.offset);
    assert.equal(image.complete, true);
    if (format === "libvirt-sparse") {
      assert.equal(image.libvirt?.complete, true);
      assert.equal(image.libvirt?.wasRunning, true);
      assert.match(image.libvirt!.xml, /<type arch='x86_64' machine='pc-i440fx-[\d.]+'>hvm<\/type>/);
    }
  });
}

async function sweep(vm: Qemu): Promise<number> {
  const filename = vm.path("word");
  await vm.execute("pmemsave", { val: SWEEP.first, size: 4, filename });
  return new DataView(Deno.readFileSync(filename).buffer).getUint32(0, true);
}

async function until(condition: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const end = performance.now() + 20_000;
  while (!await condition()) {
    assert(performance.now() < end, what);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

qemuTest("what stands in front of the stream in an older file is kept, and so is its mode", async () => {
  await using vm = await Qemu.launch({ args: [...MACHINE, "-S"] });
  await using bench = await Workbench.open({ qmp: vm.qmp });
  const front = new TextEncoder().encode("somebody's own header");
  Deno.writeFileSync(vm.path("out"), front, { mode: 0o640 });
  await bench.save(vm.path("out"), { offset: 0x2000 });
  const bytes = Deno.readFileSync(vm.path("out"));
  assertSameBytes(bytes.subarray(0, front.length), front, "header");
  assert(bytes.subarray(front.length, 0x2000).every((byte) => byte === 0));
  assert.equal(new TextDecoder().decode(bytes.subarray(0x2000, 0x2004)), "QEVM");
  assert.equal(fs.statSync(vm.path("out")).mode & 0o777, 0o640);
});

for (const live of [false, true]) {
  qemuTest(`a ${live ? "live " : ""}save cancelled in the middle leaves a running guest and no file`, async () => {
    using files = guestFiles(sweepingRom(), RAM);
    await using vm = await Qemu.launch({ args: [...MACHINE, ...files.load] });
    const before = await settingsOf(vm);
    await using bench = await Workbench.open({ qmp: vm.qmp });
    const abort = new AbortController();
    const save = bench.save(vm.path("out"), {
      live,
      maxBandwidth: 1 << 20,
      signal: abort.signal,
      onProgress: ({ transferred }) => transferred > 1 << 18 && abort.abort(),
    });
    await assert.rejects(save, /cancelled/);
    assert.equal(await runState(vm), "running");
    assert.deepEqual(names(vm.directory).filter((name) => name.startsWith("out")), []);
    assert.deepEqual(await settingsOf(vm), before);
    assert.deepEqual(await vm.execute("query-fdsets"), []);
    await bench.save(vm.path("out")); // and it can be done again
  });
}

qemuTest("a guest that writes faster than it is saved is said not to converge", async () => {
  using files = guestFiles(sweepingRom({ first: 4 << 20, pages: 8192 }), RAM);
  await using vm = await Qemu.launch({ args: [...MACHINE, ...files.load] });
  await using bench = await Workbench.open({ qmp: vm.qmp });
  const abort = new AbortController();
  let seen: Forecast | undefined;
  const save = bench.save(vm.path("out"), {
    live: true,
    maxBandwidth: 24 << 20,
    signal: abort.signal,
    onProgress(forecast) {
      if (forecast.converges !== false) return;
      seen = forecast;
      abort.abort();
    },
  });
  await assert.rejects(save, /cancelled/);
  // as fast as they leave, or faster: what is measured is pages of a pass, and each is written anew in each
  assert(seen!.dirtyBytesPerSecond > seen!.bytesPerSecond * 0.7, JSON.stringify(seen));
  assert.equal(seen!.secondsLeft, undefined);
  assert.equal(await runState(vm), "running");
});

qemuTest("a QEMU killed in the middle of a save leaves a file that is called partial", async () => {
  await using vm = await Qemu.launch({ args: MACHINE });
  const directory = Deno.makeTempDirSync({ prefix: "miglab-jobs-" });
  try {
    await using bench = await Workbench.open({ qmp: vm.qmp });
    const save = bench.save(`${directory}/out`, {
      maxBandwidth: 1 << 20,
      format: "legacy",
      onProgress: ({ transferred }) => transferred > 0 && vm.kill(),
    });
    await assert.rejects(save, /[Ll]ost QEMU at [^\n]*; what was written is in '[^']*\/out\.[0-9a-f]{6}\.partial'$/);
    assert.equal(names(directory).length, 1);
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
});

qemuTest("what cannot be saved or restored is refused before anything is touched", async () => {
  await using vm = await Qemu.launch({ args: [...MACHINE, "-S"] });
  await using bench = await Workbench.open({ qmp: vm.qmp });
  const out = vm.path("out");
  await assert.rejects(bench.save(out, { format: "legacy", channels: 2 }), /need the mapped-ram format/);
  await assert.rejects(bench.save(`${out}/no/such`), TransportError);
  await assert.rejects(bench.restore(out), /No such file/);
  Deno.writeTextFileSync(out, "not a stream");
  await assert.rejects(bench.restore(out), { name: "StreamError" });
  await bench.save(out);
  await assert.rejects(bench.save(out), /was saved or migrated already/);
  await assert.rejects(bench.restore(out), /the machine is postmigrate; start it with -incoming defer/);
  await using other = await Qemu.launch({ args: ["-machine", "q35", "-m", "64", "-incoming", "defer"] });
  await using waiting = await Workbench.open({ qmp: other.qmp });
  await assert.rejects(waiting.save(out), /waits for an incoming migration/);
  await assert.rejects(waiting.restore(out), /Machine type received is 'pc-i440fx|load of migration failed/);
});

qemuTest("without leave to send descriptors QEMU opens the file itself", async () => {
  await using vm = await Qemu.launch({ args: [...MACHINE, "-S"] });
  const { code, stdout, stderr } = await miglab(["--deny-ffi", "-A"], [
    "save",
    "--qmp",
    vm.qmp,
    "--json",
    vm.path("out"),
  ]);
  assert.deepEqual([code, stderr], [0, ""]);
  assert.equal(JSON.parse(stdout).passedDescriptors, false);
  await using image = await openImage(vm.path("out"));
  assert.equal(image.complete, true);
});

qemuTest("miglab save and restore do it from the command line", async () => {
  using files = guestFiles(sweepingRom(), RAM);
  await using source = await Qemu.launch({ args: [...MACHINE, ...files.load] });
  const out = source.path("out");
  const saved = await miglab(["-A"], ["save", "--qmp", source.qmp, "--channels", "2", "--direct-io", out]);
  assert.deepEqual([saved.code, saved.stderr], [0, ""]);
  assert.match(
    saved.stdout,
    /^\S+\/out: 64\.\d MiB of RAM, .* written, in [\d.]+ s, .*; the guest stays stopped: cont/,
  );
  await using target = await Qemu.launch({ args: [...MACHINE, ...files.bios, "-incoming", "defer"] });
  const restored = await miglab(["-A"], ["restore", "--qmp", target.qmp, "--cont", out]);
  assert.deepEqual([restored.code, restored.stderr], [0, ""]);
  assert.match(restored.stdout, /\/out: loaded in [\d.]+ s, the guest is running\n$/);
  const again = await miglab(["-A"], ["restore", "--qmp", target.qmp, out]);
  assert.deepEqual([again.code, again.stderr], [
    1,
    "miglab: Cannot restore: the machine is running; start it with -incoming defer\n",
  ]);
  for (const wrong of [["save", out], ["save", "--qmp", "x"], ["save", "--qmp", "x", "--channels", "0", out]]) {
    assert.equal((await miglab(["-A"], wrong)).code, 2);
  }
  assert.equal((await miglab(["-A"], ["save", "--qmp", "x", "--live", "--stop", out])).code, 2);
});

qemuTest("Ctrl-C during miglab save cancels it: the guest runs, nothing is left, exit status 1", async () => {
  using files = guestFiles(sweepingRom(), RAM);
  await using vm = await Qemu.launch({ args: [...MACHINE, ...files.load] });
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", MAIN, "save", "--qmp", vm.qmp, "--max-bandwidth", "1M", vm.path("out")],
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  await until(async () => (await vm.execute("query-migrate") as { status?: string }).status === "active", "no save");
  child.kill("SIGINT");
  const { code, stderr } = await child.output();
  assert.deepEqual([code, new TextDecoder().decode(stderr)], [1, "miglab: migration cancelled\n"]);
  assert.equal(await runState(vm), "running");
  assert.deepEqual(names(vm.directory).filter((name) => name.startsWith("out")), []);
});

/** Run the program with these permissions. */
async function miglab(permissions: readonly string[], args: readonly string[]) {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", ...permissions, MAIN, ...args],
    env: { NO_COLOR: "1" },
  }).output();
  const text = new TextDecoder();
  return { code, stdout: text.decode(stdout), stderr: text.decode(stderr) };
}
