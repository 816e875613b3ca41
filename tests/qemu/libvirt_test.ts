/**
 * A real libvirt reads and restores what `convert` writes, and what it saves itself is read here.
 * @module
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { type Image, openImage } from "../../containers/image.ts";
import { convertImage } from "../../reports/convert.ts";
import { libvirtManifest, loadLibvirt } from "../libvirt_fixtures.ts";
import { contentBytes } from "./content.ts";
import { domainMemory, emulator, type Libvirt, libvirtMissing, libvirtVersion, openLibvirt } from "./virsh.ts";

const FORMATS = ["libvirt-raw", "libvirt-sparse"] as const;
type Format = typeof FORMATS[number];

const MIB = 1 << 20;
const GUEST_BYTES = 32 * MIB;
const CONTENT_AT = 8 * MIB;
/** The guest of the stored images. */
const STORED = "fx-pc";
/** Every kind of image once, in the format that is not its own. */
const RESTORED: readonly (readonly [name: string, format: Format])[] = [
  ["raw-paused", "libvirt-sparse"],
  ["raw-edited", "libvirt-sparse"],
  ["raw-v1", "libvirt-raw"],
  ["raw-no-cookie", "libvirt-sparse"],
  ["snapshot-sparse-label", "libvirt-sparse"],
  ["sparse-unfinished", "libvirt-raw"],
  ["sparse-ch4", "libvirt-raw"],
  ["zstd", "libvirt-raw"],
];

function domain(content: string): string {
  const qemu = "http://libvirt.org/schemas/domain/qemu/1.0";
  return `<domain type='qemu' xmlns:qemu='${qemu}'>
  <name>ours</name>
  <memory unit='MiB'>${GUEST_BYTES / MIB}</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
  <features><acpi/><apic/></features>
  <devices>
    <emulator>${emulator()}</emulator>
    <controller type='usb' model='none'/>
    <serial type='null'/>
    <memballoon model='none'/>
  </devices>
  <qemu:commandline>
    <qemu:arg value='-device'/>
    <qemu:arg value='loader,file=${content},addr=${CONTENT_AT},force-raw=on'/>
  </qemu:commandline>
</domain>
`;
}

/** libvirt 11.2 was the first to know sparse images. */
function knowsSparse(): boolean {
  const [major, minor] = libvirtVersion()!;
  return major > 11 || (major === 11 && minor >= 2);
}

/** Those this libvirt knows. */
function formats(): readonly Format[] {
  return FORMATS.filter((format) => format === "libvirt-raw" || knowsSparse());
}

async function memoryOf(image: Image): Promise<Uint8Array> {
  await image.ram.prepare();
  const memory = new Uint8Array(GUEST_BYTES);
  image.ram.readRange("pc.ram", 0, memory);
  return memory;
}

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");
const registers = (libvirt: Libvirt, name: string) => libvirt.hmp(name, "info registers");
const frontOf = (libvirt: Libvirt, path: string) => libvirt.run(`save-image-dumpxml ${path} --security-info`);

async function saved(libvirt: Libvirt, t: Deno.TestContext): Promise<void> {
  const content = libvirt.path("content"), xml = libvirt.path("domain.xml");
  Deno.writeFileSync(content, contentBytes());
  Deno.writeTextFileSync(xml, domain(content));
  await libvirt.run(`create ${xml}`, "suspend ours");
  const memory = await domainMemory(libvirt, "ours", GUEST_BYTES), cpu = await registers(libvirt, "ours");
  const there = memory.subarray(CONTENT_AT, CONTENT_AT + Deno.statSync(content).size);
  assert.equal(sha256(there), sha256(Deno.readFileSync(content)));

  // what libvirt saves, what we make of it, what libvirt makes of that, and again
  let from = libvirt.path("saved");
  await libvirt.run(`save ours ${from} --running`);
  for (const [round, format] of formats().entries()) {
    await t.step(`a domain saved by virsh, as ${format}, goes on where it stopped`, async () => {
      await using image = await openImage(from);
      assert.equal(image.format, "libvirt-save");
      assert.deepEqual([image.complete, image.libvirt!.wasRunning], [true, true]);
      assert.equal(sha256(await memoryOf(image)), sha256(memory));
      const to = libvirt.path(`converted-${round}`), next = libvirt.path(`saved-${round}`);
      await convertImage(image, to, format);
      assert.equal(await frontOf(libvirt, to), await frontOf(libvirt, from));
      await libvirt.run(`restore ${to} --paused`);
      assert.equal(await registers(libvirt, "ours"), cpu);
      assert.equal(sha256(await domainMemory(libvirt, "ours", GUEST_BYTES)), sha256(memory));
      await libvirt.run(`save ours ${next} --running ${knowsSparse() ? "--image-format sparse" : ""}`);
      from = next;
    });
  }
  await t.step("a stream without libvirt's header, from virsh dump, goes on with the XML that is given", async () => {
    const dumped = libvirt.path("dumped"), to = libvirt.path("from-dump");
    await libvirt.run(`restore ${from} --paused`, `dump ours ${dumped}`);
    await libvirt.end("ours");
    await using image = await openImage(dumped);
    assert.equal(image.libvirt, undefined);
    await convertImage(image, to, "libvirt-raw", { xml: Deno.readTextFileSync(xml), running: true });
    await libvirt.run(`restore ${to}`);
    assert.equal((await libvirt.run("domstate ours")).trim(), "running");
    await libvirt.end("ours");
  });
}

async function stored(libvirt: Libvirt, t: Deno.TestContext): Promise<void> {
  const original = libvirt.path("original"), converted = libvirt.path("stored");
  await t.step("libvirt reads the same in front of each stored image, whatever it was converted to", async () => {
    let images = 0;
    for (const { name } of libvirtManifest().filter(({ restore }) => restore === "ok")) {
      Deno.writeFileSync(original, loadLibvirt(name));
      await using image = await openImage(original);
      if (!image.libvirt) continue;
      const paths = [original];
      for (const format of formats()) {
        paths.push(`${converted}-${format}`);
        await convertImage(image, paths.at(-1)!, format);
      }
      // one connection for all: making it takes longest
      const commands = paths.map((path) => `save-image-dumpxml ${path} --security-info`);
      const fronts = (await libvirt.run(...commands)).match(/<domain [\s\S]*?<\/domain>/g) ?? [];
      assert.equal(fronts.length, paths.length, name);
      for (const front of fronts) assert.equal(front, fronts[0], name);
      images += formats().length;
    }
    assert(images >= 15 * formats().length, `${images} images`);
  });
  for (const [name, format] of RESTORED) {
    const { ram_truth } = libvirtManifest().find((entry) => entry.name === name)!;
    await t.step({
      name: `${name}, converted to ${format}, is restored by libvirt with its memory`,
      ignore: !formats().includes(format),
      async fn() {
        Deno.writeFileSync(original, loadLibvirt(name));
        await using image = await openImage(original);
        await convertImage(image, converted, format);
        await libvirt.run(`restore ${converted} --paused`);
        try {
          assert.equal(sha256(await domainMemory(libvirt, STORED, GUEST_BYTES)), ram_truth["pc.ram"]);
        } finally {
          await libvirt.end(STORED);
        }
      },
    });
  }
}

const name = "libvirt reads and restores what was converted, and what it saves is read";
const missing = libvirtMissing();
Deno.test({
  name: missing ? `${name} (${missing})` : name,
  ignore: missing !== undefined,
  async fn(t) {
    await using libvirt = openLibvirt();
    const xml = libvirt.path("empty.xml");
    Deno.writeTextFileSync(xml, domain("/dev/null").replace("<name>ours", "<name>empty"));
    const reason = await libvirt.run(`create ${xml} --paused`, `save empty ${libvirt.path("empty")}`)
      .then(() => undefined, (error: Error) => error.message);
    // a machine where libvirt saves no guest of its own says nothing of our images
    if (reason) return void await t.step({ name: `libvirt saves no guest here: ${reason}`, ignore: true, fn() {} });
    await saved(libvirt, t);
    await stored(libvirt, t);
  },
});
