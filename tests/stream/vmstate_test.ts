import assert from "node:assert/strict";
import fc from "fast-check";
import { StreamError } from "../../stream/errors.ts";
import { findVmdescription, parseVmdescription, type VmDescription } from "../../stream/vmdesc.ts";
import { measureDevice, type PlainValue, vmLeaves, type VmNode, walkDevice } from "../../stream/vmstate.ts";
import {
  type Capture,
  capture,
  type DeviceCheck,
  fixtureFile,
  fixturePath,
  loadFixture,
  manifest,
} from "../fixtures.ts";

interface Described {
  readonly capture: Capture;
  readonly description: VmDescription;
  /** Bytes of the file from `begin`. */
  readonly bytes: Uint8Array;
  /** Offset in the file of the first of `bytes`: only the tail is read, the devices are there. */
  readonly begin: number;
}

/** Every capture with a description. */
async function* described(): AsyncGenerator<Described> {
  for (const each of manifest()) {
    const vmdesc = each.ops?.find((op: { op: string }) => op.op === "vmdesc");
    if (vmdesc) yield await describe(each);
  }
}

async function describe(each: Capture): Promise<Described> {
  const size = fixtureFile(each.name).size;
  const begin = Math.max(0, size - 4 * 1024 * 1024);
  let bytes: Uint8Array;
  if (size > 64e6) {
    using file = await Deno.open(await fixturePath(each.name));
    await file.seek(begin, Deno.SeekMode.Start);
    bytes = new Uint8Array(size - begin);
    for (let at = 0; at < bytes.length;) at += (await file.read(bytes.subarray(at)))!;
  } else {
    bytes = (await loadFixture(each.name)).subarray(begin);
  }
  return { capture: each, description: parseVmdescription(findVmdescription(bytes)!.text), bytes, begin };
}

function at(fields: PlainValue, path: readonly (string | number)[]): PlainValue {
  let value = fields;
  for (const step of path) value = (value as Record<string, PlainValue>)[step];
  return value;
}

function nodeAt(nodes: readonly VmNode[], path: readonly (string | number)[]): VmNode {
  const [step, ...rest] = path;
  const node = nodes.find((each) => each.name === String(step))!;
  if (rest.length === 0) return node;
  assert.ok("children" in node);
  return nodeAt(node.children, rest);
}

/** The plain value a check's `value` stands for. */
function expected(check: DeviceCheck): PlainValue {
  if (check.type === "buffer" || check.type === "pci config") return check.raw;
  const number = Number(check.value);
  return Number.isSafeInteger(number) ? number : BigInt(check.value).toString();
}

Deno.test("walkDevice() and measureDevice() account for every byte of every captured device", async () => {
  let sections = 0;
  for await (const { capture, description, bytes, begin } of described()) {
    for (const section of capture.sections!) {
      const where = `${capture.name} ${section.name} ${section.instance}`;
      const device = description.device(section.name, section.instance)!;
      const offset = section.offset - begin;
      assert.equal(measureDevice(device, bytes, offset), section.size, where);
      const walked = walkDevice(device, bytes.subarray(offset, offset + section.size), { framing: true });
      assert.equal(walked.consumed, section.size, where);
      let covered = 0;
      for (const { leaf, path } of vmLeaves(walked.nodes)) {
        assert.equal(leaf.offset, covered, `${where} ${path}`);
        covered += leaf.length;
      }
      assert.equal(covered, section.size, where);
      assert.deepEqual(JSON.parse(JSON.stringify(walked.fields)), walked.fields, where);
      sections++;
    }
  }
  assert.ok(sections > 1600, `${sections}`);
});

Deno.test("every device field whose value is known from elsewhere is decoded to it", async () => {
  let checks = 0;
  for await (const { capture, description, bytes, begin } of described()) {
    for (const check of capture.device_checks ?? []) {
      const section = capture.sections!.find((each) =>
        each.name === check.section && each.instance === check.instance
      )!;
      const where = `${capture.name} ${check.section} ${check.path.join(".")}`;
      const body = bytes.subarray(section.offset - begin, section.offset - begin + section.size);
      const walked = walkDevice(description.device(check.section, check.instance)!, body);
      const leaf = nodeAt(walked.nodes, check.path);
      assert.ok(leaf.kind === "leaf", where);
      assert.equal(leaf.type, check.type, where);
      assert.equal(section.offset + leaf.offset + (check.byte_offset ?? 0), check.offset, where);
      const value = at(walked.fields, check.path);
      if (typeof value === "string" && check.byte_offset !== undefined) {
        const from = check.byte_offset * 2;
        assert.equal(value.slice(from, from + check.raw.length), check.value, where);
      } else {
        assert.equal(value, expected(check), where);
      }
      if (check.path[0] === "runstate") {
        const text = new TextDecoder().decode(Uint8Array.fromHex(value as string)).replace(/\0+$/, "");
        assert.equal(text, check.value, where);
      }
      checks++;
    }
  }
  assert.equal(checks, 1084);
});

Deno.test("the configuration section is a vmsd like any other", async () => {
  const { description } = await describe(capture("pc-2.4-old-machine"));
  const bytes = await loadFixture("pc-2.4-old-machine");
  const { fields, consumed } = walkDevice(description.configuration!, bytes.subarray(9));
  assert.equal(fields.len, "pc-i440fx-2.4".length);
  assert.equal(new TextDecoder().decode(Uint8Array.fromHex(fields.name as string)), "pc-i440fx-2.4");
  const uuid = (fields["configuration/uuid"] as { "uuid.data": number[] })["uuid.data"];
  assert.equal(Uint8Array.from(uuid).toHex(), capture("pc-2.4-old-machine").stream.config_uuid);
  assert.equal(9 + consumed, capture("pc-2.4-old-machine").ops[1].end);
});

Deno.test("the elements of a qtailq and a pointer array are arrays", async () => {
  const { capture, description, bytes, begin } = await describe(
    manifest().find((each) => each.name === "s390x-ccw-file")!,
  );
  const section = capture.sections!.find((each) => each.name === "s390_css")!;
  const { fields } = walkDevice(description.device("s390_css", 0)!, bytes.subarray(section.offset - begin));
  const crws = fields.pending_crws as { crw: { flags: number; rsid: number } }[];
  assert.equal(crws.length, 2);
  assert.ok(crws.every((each) => Object.keys(each.crw).join() === "flags,rsid"));
  const css = fields.css as PlainValue[];
  assert.equal(css.length, 256);
  assert.equal(css.filter((each) => each !== null).length, 1);
});

Deno.test("a subsection QEMU does not know is refused as QEMU does", async () => {
  const { capture, description } = await describe(manifest().find((each) => each.name === "pc-file-stopped")!);
  const bytes = await loadFixture("bad/legacy-subsection-unknown");
  const section = capture.sections!.find((each) => each.name === "fw_cfg")!;
  const origin = { channel: "main", offset: section.offset };
  assert.throws(() => measureDevice(description.device("fw_cfg", 0)!, bytes, section.offset, bytes.length, origin), {
    name: "StreamError",
    reason: "No such file or directory",
    message: /^Cannot decode fw_cfg fw_cfg\/dma at offset 0x[0-9a-f]+ in "main": subsection "fw_cfg\/zma"/,
  });
});

Deno.test("walkDevice() keeps what it decoded before a fault when asked to", async () => {
  const { capture, description, bytes, begin } = await describe(
    manifest().find((each) => each.name === "pc-file-stopped")!,
  );
  const section = capture.sections!.find((each) => each.name === "cpu")!;
  const body = bytes.subarray(section.offset - begin, section.offset - begin + 200);
  const walked = walkDevice(description.device("cpu", 0)!, body, { partial: true });
  assert.equal(walked.problem?.name, "TruncatedStreamError");
  assert.equal((walked.fields["env.regs"] as PlainValue[]).length, 16);
  assert.equal(walked.fields["env.eip"], 0xfff0);
  assert.ok(walked.consumed <= 200);
});

Deno.test("any byte changed or cut off gives a value or a StreamError", async () => {
  for (const name of ["s390x-ccw-file", "microvm-file", "q35-virtio-devices"]) {
    const { capture, description, bytes, begin } = await describe(manifest().find((each) => each.name === name)!);
    fc.assert(
      fc.property(
        fc.constantFrom(...capture.sections!.filter((section) => section.size > 0)),
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        fc.integer({ min: 1, max: 255 }),
        fc.boolean(),
        (section, where, flip, cut) => {
          const device = description.device(section.name, section.instance)!;
          const body = bytes.slice(section.offset - begin, section.offset - begin + section.size);
          const position = Math.floor(where * body.length);
          body[position] ^= flip;
          const given = cut ? body.subarray(0, position) : body;
          const results = [() => measureDevice(device, given), () => walkDevice(device, given).consumed].map((run) => {
            try {
              return run();
            } catch (error) {
              assert.ok(error instanceof StreamError, `${error}`);
              assert.ok(error.offset <= given.length && !error.message.includes("\n"));
              return undefined;
            }
          });
          for (const result of results) assert.ok(result === undefined || result <= given.length);
          if (cut) assert.deepEqual(results, [undefined, undefined]);
        },
      ),
      { numRuns: 300 },
    );
  }
});

Deno.test("any byte changed in a description gives a description or a StreamError, and any body then a value or one", async () => {
  const { capture, description, bytes, begin } = await describe(
    manifest().find((each) => each.name === "s390x-ccw-file")!,
  );
  const section = capture.sections!.find((each) => each.name === "s390_css")!;
  const body = bytes.subarray(section.offset - begin, section.offset - begin + section.size);
  const text = description.device("s390_css", 0)!.text;
  const digits = "0123456789";
  fc.assert(
    fc.property(fc.nat(text.length - 1), fc.integer({ min: 0x20, max: 0x7e }), (position, code) => {
      const letter = digits.includes(text[position]) ? digits[code % 10] + "9" : String.fromCharCode(code);
      const changed = `{"devices": [${text.slice(0, position)}${letter}${text.slice(position + 1)}]}`;
      try {
        for (const device of parseVmdescription(changed).devices) {
          assert.ok(measureDevice(device, body) <= body.length);
          assert.ok(walkDevice(device, body).consumed <= body.length);
        }
      } catch (error) {
        assert.ok(error instanceof StreamError, `${error}`);
      }
    }),
    { numRuns: 2000 },
  );
});
