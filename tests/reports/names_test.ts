/**
 * Names come from files nobody vouches for: what is printed of them moves no cursor and begins no line.
 * @module
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { StreamError } from "../../stream/errors.ts";
import { loadFixture } from "../fixtures.ts";
import { loadLibvirt } from "../libvirt_fixtures.ts";
import { run, TempDir } from "../repl/capture.ts";

/** Names of a file, and what stands there instead: as long, with a line feed and an escape character in it. */
const NAMES: readonly (readonly [what: string, file: string, name: string])[] = [
  ["RAM block", "pc-file-stopped", "pc.ram"],
  ["RAM block at fixed offsets", "pc-mapped", "pc.ram"],
  ["device", "pc-file-stopped", "i8259"],
  ["field", "pc-file-stopped", "env.regs"],
  ["machine", "pc-file-stopped", "pc-i440fx"],
  ["capability", "pc-mapped", "mapped-ram"],
  ["subsection", "pc-mapped", "configuration/"],
  ["disk with a dirty bitmap", "q35-dirty-bitmaps", "disk0"],
  ["domain", "libvirt raw", "fx-pc"],
];
// deno-lint-ignore no-control-regex
const CONTROL = /[\x00-\x09\x0b-\x1f\x7f-\x9f]/;

function renamed(bytes: Uint8Array, name: string): Buffer {
  const copy = Buffer.from(bytes);
  const other = Buffer.from(name);
  other.set([0x0a, 0x1b], name.length >> 1);
  const places = [];
  for (let at = copy.indexOf(name); at >= 0; at = copy.indexOf(name, at + 1)) places.push(at);
  assert(places.length > 0, name);
  for (const at of places) copy.set(other, at);
  return copy;
}

for (const [what, file, name] of NAMES) {
  Deno.test(`the name of a ${what} is printed as text, whatever is in it`, async () => {
    using dir = new TempDir();
    const bytes = file === "libvirt raw" ? loadLibvirt("raw") : await loadFixture(file);
    const good = dir.file("good"), bad = dir.file("bad"), out = dir.file("out");
    Deno.writeFileSync(good, bytes);
    Deno.writeFileSync(bad, renamed(bytes, name));
    for (
      const args of [
        ["inspect", "--sections", bad],
        ["inspect", "--device", "*", bad],
        ["explain", "--limit", "2000", bad],
        ["verify", bad],
        ["diff", bad, good],
        ["diff", good, bad],
        ["salvage", bad, "-o", dir.file("salvaged")],
        ["convert", bad, out, "--to", "elf"],
        ["convert", bad, out, "--to", "legacy"],
        ["extract", bad, "--block", "none", "-o", out],
        ["why", bad, "--error", "load of migration failed: Invalid argument"],
        ["--guest", bad, "-e", "info ramblock"],
      ]
    ) {
      const { stdout, stderr } = await run(...args);
      assert.doesNotMatch(stdout + stderr, CONTROL, args[0]);
      assert(stderr.split("\n").length <= 2 || args[0] === "convert", stderr);
    }
  });
}

Deno.test("a StreamError is one line, whatever its parts say", () => {
  const part = "a\nb\x1b[2J",
    { message } = new StreamError(`Cannot read ${part}`, {
      channel: part,
      offset: 16,
      found: part,
      expected: part,
      qemu: [part],
    });
  assert.doesNotMatch(message, new RegExp(`${CONTROL.source}|\n`));
  assert.equal(message.match(/a\\x0ab\\x1b\[2J/g)!.length, 5);
});
