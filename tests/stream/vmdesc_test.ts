import assert from "node:assert/strict";
import { StreamError } from "../../stream/errors.ts";
import {
  configurationText,
  findVmdescription,
  parseDeviceDescription,
  parseVmdescription,
  writeVmdescription,
} from "../../stream/vmdesc.ts";
import { fixtureFile, loadFixture, manifest } from "../fixtures.ts";

const DEVICE = '{"name": "timer", "instance_id": 0, "vmsd_name": "timer", "version": 2, "fields": []}';

/** A description with one device of one field. */
function withField(field: string): string {
  const device = `{"name": "d", "instance_id": 1, "vmsd_name": "d", "version": 1, "fields": [${field}]}`;
  return `{"page_size": 4096, "devices": [${device}]}`;
}

/** Captures with a description, each with its text. */
async function* descriptions() {
  for (const capture of manifest()) {
    const vmdesc = capture.ops?.find((op: { op: string }) => op.op === "vmdesc");
    if (!vmdesc || fixtureFile(capture.name).size > 64e6) continue;
    const bytes = await loadFixture(capture.name);
    yield { capture, bytes, text: findVmdescription(bytes)!.text };
  }
}

Deno.test("writeVmdescription() and configurationText() repeat every capture's description byte for byte", async () => {
  const subsections = new Set<string>();
  let count = 0;
  for await (const { capture, text } of descriptions()) {
    const description = parseVmdescription(text);
    const stream = capture.stream;
    const configuration = configurationText({
      machine: stream.machine,
      ...(stream.config_page_bits ? { targetPageBits: stream.config_page_bits } : {}),
      capabilities: stream.config_capabilities,
      ...(stream.config_uuid ? { uuid: new Uint8Array(16) } : {}),
    });
    assert.equal(configuration, description.configurationText, capture.name);
    const deviceTexts = description.devices.map((device) => device.text);
    assert.equal(
      writeVmdescription({ configurationText: configuration, pageSize: description.pageSize!, deviceTexts }),
      text,
    );
    description.configuration!.subsections.forEach((each) => subsections.add(each.vmsdName));
    count++;
  }
  assert.equal(count, 55);
  assert.deepEqual([...subsections].sort(), [
    "configuration/capabilities",
    "configuration/target-page-bits",
    "configuration/uuid",
  ]);
});

Deno.test("configurationText() counts several capabilities and gives the first one's size", () => {
  const text = configurationText({ machine: "pc", capabilities: ["x-ignore-shared", "mapped-ram"] });
  assert.match(text, /\{"name": "capabilities", "array_len": 2, "type": "capability", "size": 16\}\]\}\]\}$/);
});

Deno.test("writeVmdescription() leaves out a configuration that was not sent", () => {
  const text = writeVmdescription({ pageSize: 1024, deviceTexts: [] });
  assert.equal(text, '{"page_size": 1024, "devices": []}');
  assert.equal(parseVmdescription(text).configuration, undefined);
  assert.equal(parseVmdescription(text).pageSize, 1024);
});

Deno.test("parseVmdescription() lists the devices of each capture's sections, found by name and instance id", async () => {
  for await (const { capture, text } of descriptions()) {
    const description = parseVmdescription(text);
    assert.equal(description.pageSize, capture.stream.page_size, capture.name);
    assert.equal(description.devices.length, capture.sections!.length, capture.name);
    for (const section of capture.sections!) {
      const device = description.device(section.name, section.instance)!;
      assert.equal(device.name, section.name);
      if (!device.oldStyle) assert.equal(device.version, section.version, section.name);
      const { text: _, ...alone } = parseDeviceDescription(device.text);
      const { text: __, ...inside } = device;
      assert.deepEqual(alone, inside);
    }
    assert.equal(description.device("no such device", 0), undefined);
  }
});

Deno.test("parseVmdescription() keeps every element of a qtailq", async () => {
  const { text } = findVmdescription(await loadFixture("s390x-ccw-file"))!;
  const field = parseVmdescription(text).device("s390_css", 0)!.fields.find((each) => each.name === "pending_crws")!;
  assert.equal(field.type, "qtailq");
  assert.deepEqual(field.inline.map((vmsd) => [vmsd.vmsdName, vmsd.version, vmsd.fields.length]), [
    ["s390_crw_container", 1, 1],
    ["s390_crw_container", 1, 1],
  ]);
});

Deno.test("parseVmdescription() reads an old-style device without vmsd_name and version", () => {
  const device = '{"name": "slirp", "instance_id": 0, "size": 9, ' +
    '"fields": [{"name": "data", "size": 9, "type": "buffer"}]}';
  const [slirp] = parseVmdescription(`{"page_size": 4096, "devices": [${device}]}`).devices;
  assert.equal(slirp.oldStyle, true);
  assert.equal(slirp.vmsdName, "slirp");
  assert.equal(slirp.fields[0].size, 9);
});

Deno.test("parseVmdescription() names the member that has no sane value", () => {
  const cases: [string, RegExp][] = [
    ["[]", /VMDESCRIPTION root .*an array, expected an object/],
    ['{"page_size": 4096}', /VMDESCRIPTION devices .*nothing, expected an array/],
    ['{"page_size": 4096, "devices": [3]}', /VMDESCRIPTION devices\[0\] .*3, expected an object/],
    ['{"page_size": 3000, "devices": []}', /page_size .*3000, expected a power of two/],
    ['{"page_size": 0, "devices": []}', /page_size .*0, expected a power of two/],
    ['{"page_size": 1e300, "devices": []}', /page_size .*expected an integer/],
    ['{"configuration": 1, "page_size": 4096, "devices": []}', /VMDESCRIPTION configuration .*1, expected an object/],
    [`{"devices": [${DEVICE}, {"name": "x"}]}`, /devices\[1\]\.fields .*nothing/],
    [`{"devices": [${DEVICE.replace('"name": "timer", ', "")}]}`, /devices\[0\]\.name .*nothing/],
    [`{"devices": [${DEVICE.replace("0,", "-1,")}]}`, /devices\[0\]\.instance_id .*-1, expected an integer from 0/],
    [`{"devices": [${DEVICE.replace("2,", "2.5,")}]}`, /devices\[0\]\.version .*2\.5/],
    [
      `{"devices": [${DEVICE.replace(/}$/, ', "vmsd_name": "t", "version": 1, "fields": []}')}]}`,
      /vmsd_name .*2 of it/,
    ],
    [withField('{"name": "f", "type": "uint8", "size": -4}'), /devices\[0\]\.fields\[0\]\.size .*-4/],
    [withField('{"name": "f", "type": "uint8", "size": "1"}'), /fields\[0\]\.size .*"1"/],
    [withField('{"name": "f", "type": "uint8"}'), /fields\[0\]\.size .*nothing/],
    [withField('{"name": "f", "size": 1}'), /fields\[0\]\.type .*nothing/],
    [withField('{"name": "f", "array_len": 2147483648, "type": "uint8", "size": 1}'), /fields\[0\]\.array_len/],
    [withField('{"name": "f", "array_len": -1, "type": "uint8", "size": 1}'), /fields\[0\]\.array_len .*-1/],
    [withField('{"name": "f", "index": 0.5, "type": "uint8", "size": 1}'), /fields\[0\]\.index/],
    [withField('{"name": "f", "type": "struct", "size": 1}'), /fields\[0\]\.struct .*nothing, expected an object/],
    [withField('{"name": "f", "type": "struct", "struct": {}, "size": 1}'), /fields\[0\]\.struct\.vmsd_name/],
    [withField('{"name": "a\\nb", "type": "uint8", "size": 1}'), /fields\[0\]\.name .*printable/],
    [withField(`{"name": "${"x".repeat(256)}", "type": "uint8", "size": 1}`), /fields\[0\]\.name .*at most 255/],
    [
      withField('{"name": "f", "type": "qlist", "vmsd_name": "e", "version": 1, "size": 1}'),
      /fields\[0\]\.fields .*nothing/,
    ],
  ];
  for (const [text, message] of cases) {
    assert.throws(() => parseVmdescription(text), (error: Error) => {
      assert.ok(error instanceof StreamError);
      assert.match(error.message, message);
      assert.ok(!error.message.includes("\n"));
      return true;
    }, text);
  }
});

Deno.test("parseVmdescription() takes time in proportion to a hostile text", () => {
  const copy = '"vmsd_name": "e", "version": 1, "fields": [], ';
  const text = withField(`{"name": "f", "type": "qtailq", ${copy.repeat(50_000)}"size": 1}`);
  const begun = performance.now();
  assert.equal(parseVmdescription(text).devices[0].fields[0].inline.length, 50_000);
  assert.ok(performance.now() - begun < 20_000);
});
