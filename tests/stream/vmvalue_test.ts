import assert from "node:assert/strict";
import { decodeValue, isSelfDelimiting, plainFields, type VmNode } from "../../stream/vmvalue.ts";
import { vmLeaves, type VmValue } from "../../stream/vmvalue.ts";

function decode(type: string, ...bytes: number[]): VmValue {
  const shifted = Uint8Array.of(0xee, ...bytes, 0xee);
  return decodeValue(type, new DataView(shifted.buffer, 1), 0, bytes.length);
}

Deno.test("decodeValue() knows every primitive type, big-endian", () => {
  const cases: [string, number[], VmValue][] = [
    ["bool", [0], false],
    ["bool", [1], true],
    ["bool", [2], true],
    ["int8", [0xfe], -2],
    ["int16", [0xff, 0xfe], -2],
    ["int32", [0xff, 0xff, 0xff, 0xfe], -2],
    ["int64", [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe], -2n],
    ["uint8", [0xfe], 0xfe],
    ["uint16", [0xfe, 1], 0xfe01],
    ["uint32", [0xfe, 1, 2, 3], 0xfe010203],
    ["uint64", [0xfe, 1, 2, 3, 4, 5, 6, 7], 0xfe01020304050607n],
    ["int32 equal", [0xff, 0xff, 0xff, 0xff], -1],
    ["uint8 equal", [0xff], 0xff],
    ["uint16 equal", [0xff, 0xff], 0xffff],
    ["uint32 equal", [0xff, 0xff, 0xff, 0xff], 0xffffffff],
    ["int64 equal", [0xff, 0, 0, 0, 0, 0, 0, 1], 0xff00000000000001n],
    ["int32 le", [0, 0, 1, 2], 0x102],
    ["CPU_Double_U", [0x3f, 0xf0, 0, 0, 0, 0, 0, 1], 0x3ff0000000000001n],
    ["timer", [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], -1n],
    ["int32_as_uint16", [0, 0, 0xff, 0xff], 0xffff],
    ["uint16_from_uint8", [0xff], 0xff],
    ["nullptr", [0x30], null],
    ["capability", [3, 0x61, 0x62, 0x63], "abc"],
    ["capability", [0], ""],
    ["buffer", [1, 2, 3], Uint8Array.of(1, 2, 3)],
    ["buffer", [], new Uint8Array(0)],
    ["unused_buffer", [0, 0], Uint8Array.of(0, 0)],
    ["bitmap", [0, 0, 0, 0, 0, 0, 0, 5], Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 5)],
    ["pci config", [0x86, 0x80], Uint8Array.of(0x86, 0x80)],
    ["msix state", [1], Uint8Array.of(1)],
    ["fd", [0x20], Uint8Array.of(0x20)],
    ["cpsr", [0, 0, 1, 0xd3], Uint8Array.of(0, 0, 1, 0xd3)],
    ["no such type", [7], Uint8Array.of(7)],
    ["constructor", [7], Uint8Array.of(7)],
  ];
  for (const [type, bytes, value] of cases) assert.deepEqual(decode(type, ...bytes), value, type);
});

Deno.test("decodeValue() gives bytes where a number has a width no number has", () => {
  for (const type of ["int32", "uint64", "bool", "nullptr", "timer"]) {
    assert.deepEqual(decode(type, 1, 2, 3), Uint8Array.of(1, 2, 3), type);
    assert.deepEqual(decode(type), new Uint8Array(0), type);
  }
});

Deno.test("isSelfDelimiting() is true for str8 only", () => {
  assert.ok(isSelfDelimiting("capability"));
  assert.ok(!isSelfDelimiting("buffer"));
});

function leaf(name: string, value: VmValue): VmNode {
  return { kind: "leaf", name, type: "t", offset: 0, length: 1, value };
}

function branch(kind: "struct" | "array" | "tree" | "subsection", name: string, ...children: VmNode[]): VmNode {
  return { kind, name, type: kind, offset: 0, length: 1, children };
}

const TREE: VmNode[] = [
  leaf("flag", true),
  leaf("small", -5n),
  leaf("large", 1n << 60n),
  leaf("edge", BigInt(Number.MAX_SAFE_INTEGER)),
  leaf("past", -BigInt(Number.MAX_SAFE_INTEGER) - 1n),
  leaf("data", Uint8Array.of(0, 0xab)),
  branch("array", "list", branch("struct", "0", leaf("x", 1)), leaf("1", null), branch("array", "2", leaf("0", 9))),
  branch("struct", "inner", leaf("text", "abc")),
  branch("tree", "map", branch("struct", "0", leaf("key", 7n), branch("struct", "value", leaf("v", 8)))),
  branch(
    "subsection",
    "dev/more",
    { kind: "framing", name: "marker", type: "uint8", offset: 0, length: 1, value: 5 },
    leaf("y", 2),
  ),
];

Deno.test("plainFields() is JSON: safe numbers, decimal strings, hex", () => {
  const fields = plainFields(TREE);
  assert.deepEqual(fields, {
    flag: true,
    small: -5,
    large: "1152921504606846976",
    edge: 9007199254740991,
    past: "-9007199254740992",
    data: "00ab",
    list: [{ x: 1 }, null, [9]],
    inner: { text: "abc" },
    map: [{ key: 7, value: { v: 8 } }],
    "dev/more": { y: 2 },
  });
  assert.deepEqual(JSON.parse(JSON.stringify(fields)), fields);
});

Deno.test("plainFields() gives a field named __proto__ no power", () => {
  const fields = plainFields([branch("struct", "__proto__", leaf("polluted", true))]);
  assert.deepEqual(Object.keys(fields), ["__proto__"]);
  assert.equal(Object.getPrototypeOf(fields), Object.prototype);
  assert.equal("polluted" in fields, false);
});

Deno.test("vmLeaves() names every leaf by its path", () => {
  assert.deepEqual([...vmLeaves(TREE, "cpu")].map((each) => each.path), [
    "cpu.flag",
    "cpu.small",
    "cpu.large",
    "cpu.edge",
    "cpu.past",
    "cpu.data",
    "cpu.list[0].x",
    "cpu.list[1]",
    "cpu.list[2][0]",
    "cpu.inner.text",
    "cpu.map[0].key",
    "cpu.map[0].value.v",
    "cpu.dev/more.marker",
    "cpu.dev/more.y",
  ]);
});
