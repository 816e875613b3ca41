import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { openImage } from "../../containers/image.ts";
import { whyFailed } from "../../reports/why.ts";
import { runIncoming } from "../../reports/why_run.ts";
import { capture, fixturePath, loadFixture } from "../fixtures.ts";
import { run, TempDir } from "../repl/capture.ts";
import { QEMU, qemuTest } from "./available.ts";
import { haltingRom } from "./rom.ts";

qemuTest("why --qemu: a real QEMU loads a good file, and says why it does not load it as another guest", async () => {
  const path = await fixturePath("pc-mapped-offset");
  const { stream_offset: offset = 0 } = capture("pc-mapped-offset");
  const rom = Deno.makeTempFileSync();
  try {
    Deno.writeFileSync(rom, haltingRom());
    const as = (machine: string, memory: string) => {
      const args = ["-machine", machine, "-m", memory, "-nodefaults", "-accel", "tcg", "-bios", rom];
      return runIncoming(QEMU, path, { args, offset, timeoutMs: 30_000 });
    };
    assert.deepEqual(await as("pc-i440fx-10.0", "12"), { loaded: true, said: "" });
    const other = await as("pc-i440fx-9.2", "12");
    assert.equal(other.loaded, false);
    const { findings: [machine], unknown } = await whyFailed(path, other.said, { offset });
    assert.deepEqual(machine.place, { offset: offset + 13, path: "configuration.machine", value: "pc-i440fx-10.0" });
    assert.deepEqual(unknown, []);
    const stream = await fixturePath("isapc-file");
    const args = ["-machine", "isapc", "-m", "9", "-nodefaults", "-accel", "tcg", "-bios", rom];
    const small = await runIncoming(QEMU, stream, { args, timeoutMs: 30_000 });
    assert.equal(small.loaded, false);
    const { findings: [memory] } = await whyFailed(stream, small.said);
    assert.deepEqual([memory.section, memory.damaged], ["ram", false], small.said);
    assert.deepEqual(memory.place, { offset: 50, path: "sections[0].ram.blocks[0].usedLength", value: 8 << 20 });
  } finally {
    Deno.removeSync(rom);
  }
});

qemuTest("why --qemu: what a real QEMU says of a file that is cut", async () => {
  const path = await fixturePath("bad/mapped-truncated-header");
  const { loaded, said } = await runIncoming(QEMU, path, { args: ["-machine", "pc"], timeoutMs: 30_000 });
  assert.equal(loaded, false);
  const { findings: [first], unknown } = await whyFailed(path, said);
  assert.deepEqual(unknown, []);
  assert(first.place, said);
});

qemuTest("why: a QEMU that can be asked names the subsection it does not know", async () => {
  const bytes = (await loadFixture("pc-kitchen-sink")).slice();
  const old = new TextEncoder().encode("e1000/full_mac_state"),
    strange = new TextEncoder().encode("e1000/half_mac_state");
  let renamed = 0;
  for (let at = 0; (at = find(bytes, old, at)) >= 0; renamed++) bytes.set(strange, at);
  assert(renamed >= 2, "in the device's state, and in the description");
  const { name, instanceId } = await withImage(bytes);
  const said = `error while loading state for instance 0x${instanceId.toString(16)} of device '${name}'\n` +
    "load of migration failed: No such file or directory";
  const subsections = async (against?: string) => {
    const { findings } = await whyFailed(bytes, said, { against });
    return findings.filter(({ frame }) => !frame).map(({ place }) => place!.value);
  };
  assert.deepEqual(await subsections(QEMU), ["e1000/half_mac_state"]);
  const all = await subsections();
  assert(all.length > 1 && all.includes("e1000/half_mac_state"), all.join());
  assert.deepEqual(await subsections("/no/such/qemu"), all);
});

qemuTest("why --qemu names the subsection, and only that one", async () => {
  using dir = new TempDir();
  const bytes = (await loadFixture("isapc-file")).slice(), text = new TextEncoder();
  const old = text.encode("fw_cfg/dma"), strange = text.encode("fw_cfg/zma");
  for (let at = 0; (at = find(bytes, old, at)) >= 0;) bytes.set(strange, at);
  const file = dir.file("renamed"), rom = dir.file("rom");
  Deno.writeFileSync(file, bytes);
  Deno.writeFileSync(rom, haltingRom());
  const machine = ["-machine", "isapc", "-m", "8", "-nodefaults", "-accel", "tcg", "-bios", rom];
  const { status, stdout } = await run("why", file, "--json", "--qemu", QEMU, "--", ...machine);
  const { loaded, findings, unknown } = JSON.parse(stdout);
  assert.deepEqual([status, loaded, unknown], [0, false, []], stdout);
  assert.equal(findings[0].place?.value, "fw_cfg/zma", stdout);
  assert.match(findings[0].cause, /which the QEMU that loads does not know$/);
  assert(findings.slice(1).every(({ frame }: { frame?: true }) => frame), stdout);
});

/** Where `part` begins at or behind `from`; -1 where it does not. */
function find(bytes: Uint8Array, part: Uint8Array, from: number): number {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).indexOf(part, from);
}

async function withImage(bytes: Uint8Array): Promise<{ name: string; instanceId: number }> {
  await using image = await openImage(bytes);
  const { name, instanceId } = image.devices.find(({ name }) => name.endsWith("/e1000"))!;
  return { name, instanceId };
}
