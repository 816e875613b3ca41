import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { verifyImage } from "../../reports/verify.ts";
import { verifyText } from "../../reports/verify_text.ts";
import { fixturePath } from "../fixtures.ts";

/** The layout of one device as a dump has it, with one thing changed. */
function dump(change: (pit: { [member: string]: unknown; Fields: Record<string, unknown>[] }) => void): object {
  const channel =
    "count latched_count count_latched status_latched status read_state write_state write_latch rw_mode mode " +
    "bcd gate count_load_time next_transition_time";
  const sizes = [4, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 8, 8];
  const pit = {
    name: "i8254",
    version_id: 3,
    minimum_version_id: 2,
    Fields: [
      { field: "channels[0].irq_disabled", version_id: 3, field_exists: false, size: 4 },
      {
        field: "channels",
        version_id: 2,
        field_exists: false,
        num: 3,
        size: 56,
        Description: {
          name: "pit channel",
          version_id: 2,
          minimum_version_id: 2,
          Fields: channel.split(" ").map((field, i) => ({ field, version_id: 0, field_exists: false, size: sizes[i] })),
        },
      },
      { field: "channels[0].next_transition_time", version_id: 0, field_exists: false, size: 8 },
    ] as Record<string, unknown>[],
  };
  change(pit);
  return {
    vmschkmachine: { Name: "isapc" },
    "isa-pit": { Name: "isa-pit", version_id: 3, minimum_version_id: 2, Description: pit },
  };
}

const directory = mkdtempSync(join(tmpdir(), "miglab-dump-"));
globalThis.addEventListener("unload", () => rmSync(directory, { recursive: true }));

async function against(change: Parameters<typeof dump>[0]) {
  const path = join(directory, "dump.json");
  writeFileSync(path, JSON.stringify(dump(change)));
  const report = await verifyImage(await fixturePath("isapc-file"), { against: path });
  const pit = report.against!.devices.find(({ name }) => name === "i8254")!;
  return { report, pit };
}

Deno.test("a device is accepted by the layout it was written with; the others are not in the dump", async () => {
  const { report, pit } = await against(() => {});
  assert.deepEqual(pit, { name: "i8254", instanceId: 0, version: 3, vmsd: "i8254", verdict: "accepted", reasons: [] });
  assert.deepEqual([report.ok, report.against!.machine], [true, undefined]);
  assert(report.against!.devices.every(({ name, verdict }) => name === "i8254" || verdict === "unknown"));
  assert.match(verifyText("vm.sav", report), /1 accepted, 0 refused, 20 not to be told\n/);
});

const REFUSED: [string, Parameters<typeof dump>[0], RegExp][] = [
  ["an older target", (pit) => pit.version_id = 2, /^version 3 of i8254 is newer than its 2$/],
  [
    "a target that dropped the version",
    (pit) => Object.assign(pit, { version_id: 5, minimum_version_id: 4 }),
    /older than the 4/,
  ],
  ["a field it lacks", (pit) => pit.Fields.shift(), /^field i8254\.channels\[0\]\.irq_disabled is not one it reads$/],
  [
    "a field the stream lacks",
    (pit) => pit.Fields.push({ field: "extra", version_id: 3, field_exists: false, size: 4 }),
    /^field i8254\.extra is expected, and the stream has none$/,
  ],
  ["another size", (pit) => pit.Fields[0].size = 8, /irq_disabled has 4 bytes in the stream, it reads 8$/],
  ["another number of elements", (pit) => pit.Fields[1].num = 4, /channels has 3 elements in the stream, it reads 4$/],
  ["another order", (pit) => pit.Fields.reverse(), /is not one it reads there/],
];

for (const [what, change, reason] of REFUSED) {
  Deno.test(`verify --against: ${what}`, async () => {
    const { report, pit } = await against(change);
    assert.equal(pit.verdict, "refused");
    assert(pit.reasons.some((text) => reason.test(text)), pit.reasons.join("\n"));
    const errors = report.findings.filter(({ severity }) => severity === "error");
    assert.deepEqual([report.ok, errors.length], [false, pit.reasons.length]);
    assert.match(errors[0].message, /^i8254: /);
    assert.equal(errors[0].path, "sections[12]");
  });
}

Deno.test("verify --against: fields with a test, or of later versions, may be absent", async () => {
  const { pit } = await against((pit) => {
    pit.version_id = 4;
    pit.Fields.push({ field: "a", version_id: 0, field_exists: true, size: 4 });
    pit.Fields.push({ field: "b", version_id: 4, field_exists: false, size: 4 });
  });
  assert.deepEqual(pit.reasons, []);
});

Deno.test("verify --against: what is no dump, and what is no program", async () => {
  const good = await fixturePath("isapc-file");
  const path = join(directory, "other.json");
  writeFileSync(path, '{"some": "thing"}');
  await assert.rejects(
    verifyImage(good, { against: path }),
    /^TransportError: Cannot read '.*': not what -dump-vmstate writes$/,
  );
  writeFileSync(path, "{");
  await assert.rejects(verifyImage(good, { against: path }), /Cannot read '.*': no JSON/);
  await assert.rejects(
    verifyImage(good, { against: "/no/such/qemu" }),
    /Cannot ask '\/no\/such\/qemu': No such file or directory/,
  );
  await assert.rejects(
    verifyImage(good, { against: good }),
    /^TransportError: Cannot ask '.*': [^\n;]+; and it is not what -dump-vmstate writes$/,
  );
  await assert.rejects(
    verifyImage(good, { against: "true" }),
    /^TransportError: Cannot ask 'true': no QEMU, it lists no machine types$/,
  );
  await assert.rejects(
    verifyImage(good, { against: "false" }),
    /^TransportError: Cannot ask 'false': ended with status 1$/,
  );
  const complaint = "echo first >&2; echo last >&2; exit 3";
  const program = join(directory, "complains");
  writeFileSync(program, `#!/bin/sh\n${complaint}\n`, { mode: 0o700 });
  await assert.rejects(verifyImage(good, { against: program }), /^TransportError: Cannot ask '.*complains': last$/);
});

Deno.test("verify --against: a dump with members that are not what they should be", async () => {
  const good = await fixturePath("isapc-file");
  const path = join(directory, "odd.json");
  const layout = { name: "i8254", version_id: 3, minimum_version_id: 2 };
  const odd: unknown[] = [
    null,
    7,
    { Description: null },
    { Description: [] },
    { Description: { ...layout, version_id: "3" } },
    { Description: { ...layout, Fields: {} } },
    { Description: { ...layout, Fields: [null] } },
    { Description: { ...layout, Fields: [{ field: "x", version_id: 0, field_exists: false }] } },
    { Description: { ...layout, Subsections: [{ name: "s" }] } },
  ];
  for (const device of odd) {
    writeFileSync(path, JSON.stringify({ vmschkmachine: { Name: "isapc" }, "isa-pit": device }));
    await assert.rejects(
      verifyImage(good, { against: path }),
      /^TransportError: Cannot read '.*': isa-pit has no layout$/,
      JSON.stringify(device),
    );
  }
});

Deno.test("verify --against: a dump of another machine type is worth knowing", async () => {
  const path = join(directory, "machine.json");
  const made = dump(() => {});
  for (const [name, warnings] of [["isapc", 0], ["pc-i440fx-9.2", 1]] as const) {
    writeFileSync(path, JSON.stringify({ ...made, vmschkmachine: { Name: name } }));
    const { ok, findings } = await verifyImage(await fixturePath("isapc-file"), { against: path });
    assert.deepEqual([ok, findings.length], [true, warnings]);
    if (!warnings) continue;
    const { severity, offset, path: where, message } = findings[0];
    assert.deepEqual([severity, offset, where], ["warning", 13, "configuration.machine"]);
    assert.match(message, /^machine type isapc: .*machine\.json was dumped from pc-i440fx-9\.2, and a QEMU/);
  }
});
