import assert from "node:assert/strict";
import fc from "fast-check";
import { combine, DEFAULT_PLUGINS } from "../../mod.ts";
import { openImage } from "../../containers/image.ts";
import { xbzrle } from "../../plugins/xbzrle.ts";
import { conversionProblems } from "../../reports/convert.ts";
import { explainImage } from "../../reports/explain.ts";
import { verifyImage, type VerifyReport } from "../../reports/verify.ts";
import { verifyText } from "../../reports/verify_text.ts";
import { badManifest, type BadVariant, type FixtureFile, fixturePath, loadFixture, manifest } from "../fixtures.ts";
import { loadLibvirt } from "../libvirt_fixtures.ts";

const tables = xbzrle.tables!;
const verify = (input: string | Uint8Array, offset = 0) => verifyImage(input, { offset, tables });

/** Loaded by a real QEMU or not: the file alone gives no reason to doubt it. */
const SOUND_ALONE = [
  "legacy-machine-other",
  "legacy-capability-not-set",
  "mapped-capability-not-set",
  "legacy-equal-field-differs",
  "legacy-page-bit-flipped",
  "bitmap-node-unknown",
];
/** Doubted, not refused: incomplete, and might be what somebody wanted. */
const DOUBTED = ["legacy-page-missing", "mapped-bitmap-bits-lost"];
/** The fault shows further on than the bytes that were changed, or in front of them. */
const ELSEWHERE: Record<string, string> = {
  "legacy-block-unknown": "the first page of the block that is listed under another name",
  "legacy-block-length-half": "the first page beyond the shorter length",
  "legacy-section-removed": "the description, which lists the section",
  "legacy-total-too-small": "the first block, which is longer than the total",
  "postcopy-package-length": "the end of what is in the package",
  "legacy-capability-count": "the name that is none, behind the last that is one",
};

/** Bytes of the record before an edit that a finding may begin at: a record's head, or all of a page that is cut. */
const RECORD = 4104 + 16;

function edited({ edits }: BadVariant): number[] {
  // deno-lint-ignore no-explicit-any -- edits differ in shape
  return edits.map((edit: any) => edit.at ?? edit.cut_at ?? edit.inserted_at ?? edit.deleted?.[0]);
}

for (const c of manifest()) {
  Deno.test(`verifyImage() of ${c.name}`, async () => {
    const { ok, findings } = await verify(await fixturePath(c.name), c.stream_offset ?? 0);
    const broken = c.group === "partial" || c.name === "pc-postcopy-recover";
    assert.equal(ok, !broken, findings.map(({ message }) => message).join("\n"));
    for (const { offset, path, message } of findings) {
      assert(Number.isSafeInteger(offset) && offset >= (c.stream_offset ?? 0));
      assert.doesNotMatch(path + message, /\n|undefined|NaN/);
    }
  });
}

for (const variant of badManifest()) {
  const { name, what } = variant;
  if (name.startsWith("multifd-")) continue;
  Deno.test(`verifyImage() of bad/${name}: ${what}`, async () => {
    const { ok, findings } = await verify(await fixturePath(`bad/${name}`));
    const errors = findings.filter(({ severity }) => severity === "error");
    assert.equal(ok, errors.length === 0);
    if (SOUND_ALONE.includes(name)) return assert(ok, errors[0]?.message);
    if (DOUBTED.includes(name)) return assert(ok && findings.length > 0);
    assert(!ok, "no error");
    if (name in ELSEWHERE) return;
    const places = edited(variant);
    assert(
      errors.some(({ offset }) => places.some((at) => offset <= at + 8 && at - offset < RECORD)),
      `${errors.map(({ offset }) => offset)} for an edit at ${places}`,
    );
  });
}

/** A sound stream with some of its bytes changed. */
async function changed(name: string, ...edits: (readonly [at: number, ...bytes: number[]])[]): Promise<VerifyReport> {
  const bytes = (await loadFixture(name)).slice();
  for (const [at, ...values] of edits) bytes.set(values, at);
  return await verify(bytes);
}

function find(bytes: Uint8Array, text: string, from = 0): number {
  const want = new TextEncoder().encode(text);
  for (let at = from; at + want.length <= bytes.length; at++) {
    if (want.every((byte, i) => bytes[at + i] === byte)) return at;
  }
  throw new Error(`no ${text}`);
}

Deno.test("verifyImage() holds what QEMU does not look at", async () => {
  const bytes = await loadFixture("pc-file-stopped");
  const only = ({ ok, findings }: VerifyReport, severity: string, offset: number, path: RegExp, message: RegExp) => {
    const [first] = findings;
    assert.deepEqual([ok, findings.length], [severity === "warning", 1], JSON.stringify(findings));
    assert.deepEqual([first.severity, first.offset], [severity, offset]);
    assert.match(first.path, path);
    assert.match(first.message, message);
  };
  // run state and its length
  const state = find(bytes, "globalstate\0\0\0\0\0\0\0\x01") + 19;
  only(
    await changed("pc-file-stopped", [state + 3, 9]),
    "error",
    state,
    /\.globalstate\.size$/,
    /size 9 of run state \w+/,
  );
  only(
    await changed("pc-file-stopped", [state + 4, 0x58]),
    "error",
    state + 4,
    /\.globalstate\.runstate$/,
    /^run state "X\w+", which QEMU 10\.0 does not know$/,
  );
  // a bool of 2
  let bool = 0;
  for await (const line of explainImage(bytes, { pages: "runs" })) {
    if (line.meaning.startsWith("true or false")) bool = line.offset;
  }
  only(await changed("pc-file-stopped", [bool, 2]), "warning", bool, /^sections\[\d+\]/, /^a bool that is 2/);
  // a mark with other bits
  const eos = find(bytes, "\0\0\0\0\0\0\0\x10\x7e\0\0\0");
  const marked = await changed("pc-file-stopped", [eos + 6, 0x10]);
  only(marked, "error", eos, /^sections\[0\]\.ram$/, /0x1010 where 0x10 is expected/);
});

Deno.test("verifyImage() follows sections: twice under another id, PART behind END", async () => {
  const bytes = await loadFixture("isapc-file");
  const second = find(bytes, "\x05i8259\0\0\0\x01") - 5;
  const doubled = await changed("isapc-file", [second + 14, 0]);
  assert(!doubled.ok);
  assert(doubled.findings.some(({ message }) => /i8259 instance 0 again, it came as section \d+/.test(message)));
  const end = find(bytes, "\x08\0\x0b\0\0\x03\0\0\0\x01") + 5;
  const section = bytes.subarray(end, end + 18);
  const again = new Uint8Array(bytes.length + 18);
  again.set(bytes.subarray(0, end + 18));
  again.set(section, end + 18);
  again[end + 18] = 2;
  again.set(bytes.subarray(end + 18), end + 36);
  const { ok, findings } = await verify(again);
  assert(!ok);
  assert.match(findings[0].message, /^ram: part behind its end$/);
});

Deno.test("verifyImage() follows postcopy: ranges in whole pages, once, and LISTEN behind one", async () => {
  const bytes = await loadFixture("pc-postcopy");
  const discard = find(bytes, "\x08\0\x06") + 5;
  const ranges = discard + 3 + bytes[discard + 1];
  const unaligned = await changed("pc-postcopy", [ranges + 7, 1]);
  assert(
    unaligned.findings.some(({ offset, path, message }) =>
      offset === ranges && path === "commands[4].ranges[0]" && /not made of whole pages of 4096 bytes/.test(message)
    ),
  );
  const twice = await changed("pc-postcopy", [ranges + 16, ...bytes.subarray(ranges, ranges + 16)]);
  assert(twice.findings.some(({ offset, message }) => offset === ranges + 16 && /was discarded before/.test(message)));
});

Deno.test("verifyImage() takes pipes, and says where one ends", async () => {
  const bytes = await loadFixture("isapc-file");
  const cut = bytes.subarray(0, 100_000);
  const { bufferSource } = await import("../../stream/channel.ts");
  assert.deepEqual(await verifyImage(bufferSource(bytes, { sequential: true })), { ok: true, findings: [] });
  const { ok, findings } = await verifyImage(bufferSource(cut, { sequential: true }));
  assert.deepEqual([ok, findings.length], [false, 1]);
  assert.deepEqual((await verify(cut)).findings, findings);
});

Deno.test("verifyText() has a line for each finding and one that sums up", async () => {
  assert.equal(verifyText("vm.sav", { ok: true, findings: [] }), "vm.sav: good, 0 errors, 0 warnings\n");
  const report = await verify(await fixturePath("bad/legacy-trailing-garbage"));
  assert.match(
    verifyText("vm.sav", report),
    /^error {4}0x43631 {5}opaque {2}Cannot account for bytes behind the end .*\nvm\.sav: not good, 1 error, 0 warnings\n$/,
  );
});

/** A capture's files of some roles. */
function parts(name: string, files: readonly FixtureFile[], ...roles: string[]): Promise<string[]> {
  const own = files.filter(({ role }) => roles.includes(role));
  return Promise.all(own.map(({ file }) => fixturePath((name.startsWith("bad/") ? "bad/" : "") + file)));
}

const everyTable = combine(DEFAULT_PLUGINS).tables;

for (const c of manifest()) {
  if (!c.files.some(({ role }) => role === "multifd" || role === "postcopy-preempt")) continue;
  Deno.test(`verifyImage() of ${c.name} with its further channels`, async () => {
    const channels = await parts(c.name, c.files, "multifd", "postcopy-preempt");
    const report = await verifyImage(await fixturePath(c.name), { channels, tables: everyTable });
    assert.deepEqual(report, { ok: true, findings: [] });
  });
}

for (const variant of badManifest()) {
  const { name, what, files } = variant;
  if (!name.startsWith("multifd-")) continue;
  Deno.test(`verifyImage() of bad/${name} with its channels: ${what}`, async () => {
    const channels = await parts(`bad/${name}`, files, "multifd");
    const { ok, findings } = await verifyImage(await fixturePath(`bad/${name}`), { channels, tables: everyTable });
    const [first] = findings.filter(({ severity }) => severity === "error");
    assert.equal(ok, false);
    assert(first, JSON.stringify(findings));
    const [{ part, dropped }] = variant.edits;
    if (dropped) return assert.match(first.message, /packets are on channels that were not given/);
    assert.match(first.channel!, part === ".ch0" ? /^multifd 0$/ : /\.ch1\.bin$/);
    const at = edited(variant)[0];
    // an id that is there twice is the whole message's fault, data that does not unpack the payload's
    assert(Math.abs(first.offset - at) < 1344 + 24, `${first.offset} for an edit at ${at}`);
  });
}

Deno.test("verifyImage() follows the way back: requests in pages of known blocks, bitmaps of their size", async () => {
  let recordings = 0;
  for (const c of manifest()) {
    for (const returnPath of await parts(c.name, c.files, "return-path", "return-path-resumed")) {
      const { findings } = await verifyImage(await fixturePath(c.name), { returnPath, tables });
      assert.deepEqual(findings.filter(({ channel }) => channel !== undefined), [], `${c.name} ${returnPath}`);
      recordings++;
    }
  }
  assert(recordings >= 8);
  const sound = await loadFixture("pc-postcopy.rp");
  const request = sound.findIndex((_, i) =>
    sound[i] === 0 && sound[i + 1] === 3 && sound[i + 2] === 0 && sound[i + 3] > 13
  );
  const main = await fixturePath("pc-postcopy");
  const edits: [number, number[], number, RegExp][] = [
    [0, [0, 9], 0, /^message type 9: 1 to 7 expected/],
    [2, [0, 5], 2, /^PONG of 5 bytes: 4 expected$/],
    [request + 11, [1], request + 4, /is not made of whole pages of 4096 bytes$/],
    [request + 4, [1], request + 4, /goes beyond its 0x[0-9a-f]+ bytes$/],
    [request + 17, [0x58], request + 16, /^block "X[^"]+" is none of the list/],
  ];
  for (const [at, bytes, offset, message] of edits) {
    const returnPath = sound.slice();
    returnPath.set(bytes, at);
    const { ok, findings } = await verifyImage(main, { returnPath });
    assert.equal(ok, false);
    assert.deepEqual([findings[0].channel, findings[0].offset], ["return path", offset]);
    assert.match(findings[0].message, message);
  }
  const cut = await verifyImage(main, { returnPath: sound.subarray(0, request + 9) });
  assert.match(cut.findings.at(-1)!.message, /^Cannot read REQ_PAGES_ID .* before the end/);
});

Deno.test("verifyImage() of cuts and flipped bytes: a report, within bounds, whatever they hit", async () => {
  for (const name of ["isapc-file", "pc-postcopy", "pc-mapped"]) {
    const whole = await loadFixture(name);
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 0, max: whole.length }),
        fc.array(fc.tuple(fc.nat(1 << 14), fc.integer({ min: 1, max: 255 })), { maxLength: 4 }),
        fc.boolean(),
        async (cut, flips, tail) => {
          const bytes = whole.slice(0, tail ? whole.length : cut);
          for (const [at, by] of flips) {
            const where = tail ? bytes.length - 1 - at : at;
            if (where >= 0 && where < bytes.length) bytes[where] ^= by;
          }
          const { ok, findings } = await verify(bytes);
          assert.equal(ok, findings.every(({ severity }) => severity === "warning"));
          for (const { offset, message } of findings) {
            assert(offset >= 0 && Number.isSafeInteger(offset), message);
            assert.doesNotMatch(message, /\n|undefined|NaN/);
          }
        },
      ),
      { numRuns: 60, seed: 11 },
    );
  }
});

Deno.test("verifyImage() finds labels of libvirt images that are not true, and finished streams behind unfinished headers", async () => {
  const labelled = (name: string, label: number) => {
    const bytes = loadLibvirt(name);
    bytes[28] = label;
    return bytes;
  };
  const cases: readonly (readonly [Uint8Array, RegExp])[] = [
    [labelled("raw", 1), /^labelled gzip, but the stream is not packed: libvirt will not restore it$/],
    [labelled("gzip", 0), /^labelled raw, but the stream is packed with gzip: libvirt will not restore it$/],
    [labelled("zstd", 3), /^labelled xz, but the stream is packed with zstd: libvirt will not restore it$/],
    [labelled("sparse", 0), /^labelled raw, but the stream is mapped-ram: libvirt will not restore it$/],
  ];
  for (const [bytes, message] of cases) {
    const { ok, findings } = await verify(bytes);
    assert.deepEqual([ok, findings.length, findings[0].offset, findings[0].path], [false, 1, 28, "libvirt.format"]);
    assert.match(findings[0].message, message);
  }
  // what only libvirt calls unfinished can be carried over, and is finished then
  await using image = await openImage(loadLibvirt("sparse-unfinished"));
  assert.deepEqual([image.complete, image.stream.complete, conversionProblems(image, "libvirt-raw")], [
    false,
    true,
    [],
  ]);
});
