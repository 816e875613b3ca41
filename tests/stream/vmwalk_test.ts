import assert from "node:assert/strict";
import { StreamError, TruncatedStreamError } from "../../stream/errors.ts";
import { parseDeviceDescription } from "../../stream/vmdesc.ts";
import { measureDevice, type PlainFields, vmLeaves, walkDevice } from "../../stream/vmstate.ts";

/** VMSD members in JSON. */
function vmsd(name: string, fields: string, subsections = ""): string {
  return `"vmsd_name": "${name}", "version": 1, "fields": [${fields}]` +
    (subsections === "" ? "" : `, "subsections": [${subsections}]`);
}

function device(fields: string, subsections = "") {
  return parseDeviceDescription(`{"name": "0/dev", "instance_id": 0, ${vmsd("dev", fields, subsections)}}`);
}

function field(name: string, type: string, size: number, more = ""): string {
  return `{"name": "${name}", ${more}"type": "${type}", "size": ${size}}`;
}

function struct(name: string, inner: string, size: number, more = ""): string {
  return `{"name": "${name}", ${more}"type": "struct", "struct": {${inner}}, "size": ${size}}`;
}

/** A field whose VMSD members stand beside its own. */
function inline(name: string, type: string, copies: string[], size: number, more = ""): string {
  return `{"name": "${name}", ${more}"type": "${type}", ${copies.map((copy) => copy + ", ").join("")}"size": ${size}}`;
}

/** Hex digits, with text in quotes: `05 03"dev" 00000001`. */
function bytes(text: string): Uint8Array {
  const hex = text.replace(/"([^"]*)"/g, (_, plain: string) => new TextEncoder().encode(plain).toHex());
  return Uint8Array.fromHex(hex.replaceAll(" ", ""));
}

/** Both ways of going through a body agree, the leaves cover it, and every cut is seen as one. */
function check(description: ReturnType<typeof device>, body: Uint8Array, fields: PlainFields) {
  const walked = walkDevice(description, body, { framing: true });
  assert.deepEqual(walked.fields, fields);
  assert.equal(walked.consumed, body.length);
  let covered = 0;
  for (const { leaf } of vmLeaves(walked.nodes)) {
    assert.equal(leaf.offset, covered);
    covered += leaf.length;
  }
  assert.equal(covered, body.length);
  assert.deepEqual(walkDevice(description, body).fields, fields);
  assert.equal(measureDevice(description, body), body.length);
  const padded = new Uint8Array(body.length + 8).fill(0x7e);
  padded.set(body, 3);
  assert.equal(measureDevice(description, padded, 3), body.length);
  for (let cut = 0; cut < body.length; cut++) {
    assert.throws(() => measureDevice(description, padded, 3, 3 + cut), TruncatedStreamError, `cut at ${cut}`);
    assert.throws(() => walkDevice(description, body.subarray(0, cut)), TruncatedStreamError, `cut at ${cut}`);
  }
}

function faulty(
  description: ReturnType<typeof device>,
  body: Uint8Array,
  offset: number,
  message: RegExp,
): StreamError {
  for (const run of [measureDevice, walkDevice]) {
    assert.throws(() => run(description, body), (error: Error) => {
      assert.ok(error instanceof StreamError && !(error instanceof TruncatedStreamError), String(error));
      assert.equal(error.offset, offset);
      assert.match(error.message, message);
      return true;
    });
  }
  try {
    walkDevice(description, body);
  } catch (error) {
    return error as StreamError;
  }
  throw new Error("no fault");
}

const U8 = field("x", "uint8", 1);
const U16 = field("y", "uint16", 2);

Deno.test("a body of plain fields and arrays", () => {
  const description = device([
    field("a", "uint32", 4),
    field("b", "uint16", 2, '"array_len": 3, '),
    field("c", "timer", 8),
    field("d", "buffer", 2),
    field("e", "bool", 1),
  ].join(", "));
  check(description, bytes("00000102 0001 0002 ffff ffffffffffffffff beef 01"), {
    a: 0x102,
    b: [1, 2, 0xffff],
    c: -1,
    d: "beef",
    e: true,
  });
});

Deno.test("an indexed array ends with an element that has no index", () => {
  const inner = vmsd("e", U8);
  const description = device(
    [struct("s", inner, 1, '"index": 0, '), struct("s", inner, 1, '"index": 1, '), struct("s", inner, 1), U16].join(
      ", ",
    ),
  );
  check(description, bytes("01 02 03 0004"), { s: [{ x: 1 }, { x: 2 }, { x: 3 }], y: 4 });
});

Deno.test("a compressed array of structs is read by its first element's layout", () => {
  check(device(struct("s", vmsd("e", `${U8}, ${U16}`), 3, '"array_len": 2, ')), bytes("01 0002 03 0004"), {
    s: [{ x: 1, y: 2 }, { x: 3, y: 4 }],
  });
});

Deno.test("an array of pointers: runs of NULL and of structs", () => {
  const nulls = (count: number) => field("p", "nullptr", 1, count > 1 ? `"array_len": ${count}, ` : "");
  const some = (more: string) => struct("p", vmsd("e", U8), 1, more);
  check(device([nulls(2), some(""), nulls(1)].join(", ")), bytes("30 30 07 30"), { p: [null, null, { x: 7 }, null] });
  // The first run says 5, the whole array's length.
  check(device([some('"array_len": 5, '), nulls(2), some("")].join(", ")), bytes("01 02 30 30 03"), {
    p: [{ x: 1 }, { x: 2 }, null, null, { x: 3 }],
  });
  const error = faulty(device(nulls(2)), bytes("30 31"), 1, /0x31, expected a NULL pointer/);
  assert.deepEqual(error.qemu, ["vmstate: get_nullptr expected VMS_NULLPTR_MARKER", "Failed to load dev:p"]);
});

Deno.test("capabilities are str8, each of its own length", () => {
  const description = device(
    `${field("caps_count", "uint32", 4)}, ${field("capabilities", "capability", 16, '"array_len": 2, ')}`,
  );
  check(description, bytes('00000002 0f"x-ignore-shared" 0a"mapped-ram"'), {
    caps_count: 2,
    capabilities: ["x-ignore-shared", "mapped-ram"],
  });
});

Deno.test("vstruct and tmp hold their fields without framing", () => {
  const description = device(
    [inline("v", "vstruct", [vmsd("e", U8)], 1), inline("t", "tmp", [vmsd("f", U16)], 2), inline("o", "tmp", [], 2)]
      .join(", "),
  );
  check(description, bytes("09 000a beef"), { v: { x: 9 }, t: { y: 10 }, o: "beef" });
});

Deno.test("qtailq and qlist: elements marked 01, the end 00", () => {
  const copy = vmsd("e", U8);
  const description = device(
    [inline("q", "qtailq", [copy, vmsd("e", `${U8}, ${U16}`)], 7), inline("l", "qlist", [], 1)].join(", "),
  );
  check(description, bytes("01 05 01 06 0007 00 00"), { q: [{ x: 5 }, { x: 6, y: 7 }], l: [] });
  faulty(description, bytes("01 05 01 06 0007 00 01"), 7, /expected none by the description/);
  faulty(description, bytes("01 05 00 00"), 0, /3 bytes, expected 7 by the description/);
  faulty(description, bytes("01 05 01 06 0007 01 08 0009 00 00"), 0, /11 bytes, expected 7 by/);
});

Deno.test("lists in an array may be longer than the first one, which is the one described", () => {
  const list = inline("q", "qtailq", [vmsd("e", U8)], 3);
  const description = device(struct("s", vmsd("w", list), 3, '"array_len": 2, '));
  check(description, bytes("01 05 00 01 06 01 07 00"), {
    s: [{ q: [{ x: 5 }] }, { q: [{ x: 6 }, { x: 7 }] }],
  });
});

Deno.test("gtree: direct keys, or keys with fields of their own", () => {
  const direct = inline("t", "gtree", [vmsd("v", U8), vmsd("v", U8)], 25);
  check(device(direct), bytes("00000002 01 0000000000000005 0a 01 ffffffffffffffff 0b 00"), {
    t: [{ key: 5, value: { x: 10 } }, { key: "18446744073709551615", value: { x: 11 } }],
  });
  const keyed = inline("t", "gtree", [vmsd("k", U16), vmsd("v", U8)], 9);
  check(device(keyed), bytes("00000001 01 0102 0a 00"), { t: [{ key: { y: 0x102 }, value: { x: 10 } }] });
  check(device(inline("t", "gtree", [], 5)), bytes("00000000 00"), { t: [] });
  const error = faulty(device(keyed), bytes("00000003 01 0102 0a 00"), 0, /a count of 3, expected 1/);
  assert.equal(error.qemu[0], "t inconsistent stream when loading the gtree");
});

Deno.test("pci irq state is four lines, each 0 or 1", () => {
  const description = device(field("irq_state", "pci irq state", 16));
  check(description, bytes("00000000 00000001 00000000 00000001"), { irq_state: [0, 1, 0, 1] });
  const wrong = bytes("00000000 00000002 00000000 00000000");
  assert.equal(measureDevice(description, wrong), 16);
  assert.throws(() => walkDevice(description, wrong), { offset: 4, message: /QEMU: irq state 2: must be 0 or 1\./ });
});

Deno.test("subsections follow the fields, of a struct's vmsd too", () => {
  const inner = vmsd("e", U8, `{${vmsd("e/s", U16)}}`);
  const description = device(
    `${struct("s", inner, 13)}, ${U8}`,
    `{${vmsd("dev/one", U8, `{${vmsd("dev/one/deep", U8)}}`)}}, {${vmsd("dev/two", "")}}`,
  );
  const body = bytes(
    '01 05 03"e/s" 00000001 0002 03 05 07"dev/one" 00000001 04 05 0c"dev/one/deep" 00000001 06 05 07"dev/two" 00000001',
  );
  const size = 1 + 1 + 4 + 4 + 2; // x, marker, name, version, y
  const fixed = device(
    `${struct("s", inner, size)}, ${U8}`,
    `{${vmsd("dev/one", U8, `{${vmsd("dev/one/deep", U8)}}`)}}, {${vmsd("dev/two", "")}}`,
  );
  check(fixed, body, {
    s: { x: 1, "e/s": { y: 2 } },
    x: 3,
    "dev/one": { x: 4, "dev/one/deep": { x: 6 } },
    "dev/two": {},
  });
  faulty(description, body, 0, /12 bytes, expected 13 by the description/);
});

Deno.test("a subsection that is not the described one is told by its name, its version or its absence", () => {
  const description = device(U8, `{${vmsd("dev/one", U8)}}`);
  const unknown = faulty(
    description,
    bytes('01 05 07"dev/two" 00000001 04'),
    1,
    /subsection "dev\/two", expected "dev\/one"/,
  );
  assert.equal(unknown.reason, "No such file or directory");
  const foreign = faulty(description, bytes('01 05 07"cpu/one" 00000001 04'), 1, /expected "dev\/one"/);
  assert.equal(foreign.reason, "Invalid argument");
  faulty(description, bytes('01 05 07"dev/one" 00000002 04'), 10, /version 2 of "dev\/one", expected 1/);
  faulty(description, bytes("01 7e 00 00 00 01"), 1, /0x7e, expected subsection "dev\/one"/);
});

Deno.test("a subsection the description does not have is not passed over", () => {
  const error = faulty(
    device(U8),
    bytes('01 05 07"dev/two" 00000001'),
    1,
    /subsection "dev\/two", expected no further one/,
  );
  assert.equal(error.reason, "No such file or directory");
});

Deno.test("05 without a name that begins with the vmsd's is the next field", () => {
  check(device(`${struct("s", vmsd("e", U8), 1)}, ${field("b", "buffer", 5)}`), bytes('01 05 03"f/s"'), {
    s: { x: 1 },
    b: "0503662f73",
  });
  check(device(`${struct("s", vmsd("e", U8), 1)}, ${field("b", "buffer", 3)}`), bytes('01 05 01"e"'), {
    s: { x: 1 },
    b: "050165",
  });
});

Deno.test("a cut body says what QEMU says, innermost first, with repeated names as in its source", () => {
  const description = device(struct("s", vmsd("e", `${U8}, ${field("config[1]", "buffer", 16)}`), 17));
  assert.throws(() => walkDevice(description, bytes("01 02"), { channel: "main", offset: 0x1000 }), {
    name: "TruncatedStreamError",
    channel: "main",
    offset: 0x1001,
    reason: "Input/output error",
    qemu: ["Failed to load e:config", "Failed to load dev:s"],
    message: 'Cannot decode dev s.config[1] at offset 0x1001 in "main": 1 bytes before the end, expected 16 ' +
      "(QEMU: Failed to load e:config; Failed to load dev:s)",
  });
});

Deno.test("absurd counts cost nothing", () => {
  const huge = '"array_len": 2147483647, ';
  const empty = struct("s", vmsd("e", ""), 0, huge);
  const begun = performance.now();
  assert.throws(() => measureDevice(device(field("a", "uint64", 8, huge)), new Uint8Array(1000)), TruncatedStreamError);
  assert.throws(() => walkDevice(device(field("a", "uint64", 8, huge)), new Uint8Array(1000)), TruncatedStreamError);
  assert.equal(measureDevice(device(empty), new Uint8Array(1)), 0);
  assert.throws(() => walkDevice(device(empty), new Uint8Array(1)), /more values than a device has/);
  // One byte an element, thousands of empty fields in each.
  const padding = Array.from({ length: 5000 }, (_, i) => field(`f${i}`, "buffer", 0)).join(", ");
  const slow = device(struct("s", vmsd("e", `${U8}, ${padding}`), 1, '"array_len": 1000000, '));
  assert.throws(() => measureDevice(slow, new Uint8Array(1_000_000)), /more values than a device has/);
  assert.throws(() => walkDevice(slow, new Uint8Array(1_000_000)), /more values than a device has/);
  assert.ok(performance.now() - begun < 10_000);
});
