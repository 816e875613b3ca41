import assert from "node:assert/strict";
import { xbzrle } from "../../plugins/xbzrle.ts";
import { whyFailed, type WhyReport } from "../../reports/why.ts";
import { whyText } from "../../reports/why_text.ts";
import { loadLibvirt } from "../libvirt_fixtures.ts";
import { badManifest, type BadVariant, fixturePath, loadFixture } from "../fixtures.ts";

const tables = xbzrle.tables!;

/** A real QEMU said nothing about these that would tell a place, and the file alone gives no reason to doubt it. */
const NOTHING_TO_SAY = ["legacy-page-bit-flipped"];
/** Where the fault shows, when it is not where bytes were changed. */
const ELSEWHERE: Record<string, RegExp> = {
  "legacy-section-removed": /^vmdescription$/,
  "legacy-capability-not-set": /^configuration\.subsections\[0\]\.capabilities\[0\]$/,
  "mapped-capability-not-set": /^configuration\.subsections\[0\]\.capabilities\[0\]$/,
  "legacy-capability-count": /^configuration$/,
  "legacy-page-missing": /^sections\[0\]\.ram\.blocks\[0\]$/,
  "postcopy-package-length": /^commands\[14\]\.bytes$/,
};
/** A record's head, or all of a page that is cut. */
const RECORD = 4104 + 16;

function edited({ edits }: BadVariant): number[] {
  // deno-lint-ignore no-explicit-any -- edits differ in shape
  return edits.map((edit: any) => edit.at ?? edit.cut_at ?? edit.inserted_at ?? edit.deleted?.[0]);
}

/** The section QEMU's own lines name, and the one the edit is in. */
function sectionSaid(stderr: string): string | undefined {
  return /error while loading state (?:for instance \S+ of device '|section id \d+\()([^')]+)/.exec(stderr)?.[1];
}

for (const variant of badManifest()) {
  const { name, what, qemu } = variant;
  const channels = name.startsWith("multifd-");
  if (channels && qemu.stderr === "") continue; // QEMU hung without a word, and the main channel is good
  Deno.test(`whyFailed() of bad/${name}: ${what}`, async () => {
    const report = await whyFailed(await fixturePath(`bad/${name}`), qemu.stderr, { tables });
    assert.doesNotMatch(JSON.stringify(report), /\$\d|undefined|NaN/);
    if (NOTHING_TO_SAY.includes(name)) return assert.deepEqual(report.findings, []);
    const [first] = report.findings;
    assert(first?.place, JSON.stringify(report));
    assert(first.cause.length > 20 && first.advice.length > 6);
    const said = sectionSaid(qemu.stderr);
    if (said) assert.equal(first.section, said);
    if (name in ELSEWHERE) return assert.match(first.place.path, ELSEWHERE[name]);
    const { offset, channel } = first.place;
    if (channels) assert.equal(channel, `multifd ${name === "multifd-channel-id-twice" ? 0 : 1}`);
    const places = edited(variant);
    assert(places.some((at) => offset <= at + 16 && at - offset < RECORD), `${offset} for an edit at ${places}`);
    for (const line of report.unknown) assert.match(line, /^Unable to shutdown socket/);
  });
}

const why = async (name: string, error: string) => await whyFailed(await fixturePath(name), error, { tables });
const first = ({ findings: [finding] }: WhyReport) => [finding.place?.path, finding.place?.value, finding.damaged];

Deno.test("whyFailed() of good files: what the sentence speaks of", async () => {
  const said: [string, string, RegExp, unknown][] = [
    [
      "pc-seabios-booted",
      "qemu: Unknown savevm section or instance 'kvmclock' 0. Make sure",
      /^sections\[\d+\]\.idstr$/,
      "kvmclock",
    ],
    ["pc-file-stopped", "Missing section footer for fw_cfg", /^sections\[\d+\]\.footer\.mark$/, 0x7e],
    ["pc-file-stopped", "savevm: unsupported version 3 for 'i8254' v2", /^sections\[\d+\]\.version$/, 3],
    [
      "pc-file-stopped",
      "fw_cfg/dma: incoming version_id 0 is too new for local version_id 7\nerror while loading state for instance 0x0 of device 'fw_cfg'",
      /^sections\[\d+\]\.fw_cfg\["fw_cfg\/dma"\]\.version$/,
      0,
    ],
    ["pc-file-stopped", 'Unknown ramblock "pc.bios", cannot accept migration', /\.blocks\[3\]\.idstr$/, "pc.bios"],
    [
      "pc-file-stopped",
      "Size too large: pc.rom: 0x20000 > 0x10000: Invalid argument",
      /\.blocks\[2\]\.usedLength$/,
      0x20000,
    ],
    ["pc-file-stopped", "Illegal RAM offset 400000", /^sections\[1\]\.ram\.records\[\d+\]$/, undefined],
    [
      "pc-mapped-many-blocks",
      "Error reading ramblock n1 pages, region has bad alignment",
      /\.blocks\[1\]\.mapped\.pagesOffset$/,
      0xa00000,
    ],
    ["pc-postcopy", "RAM postcopy is disabled but have 16 byte advise", /^commands\[2\]\.command$/, 3],
    ["pc-file-stopped", "invalid parameter value: prelaunch", /\.globalstate\.runstate$/, undefined],
    [
      "pc-file-stopped",
      "error while loading state for instance 0x0 of device 'fw_cfg'\nload of migration failed: No such file or directory",
      /^sections\[\d+\]\.fw_cfg\["fw_cfg\/(dma|acpi_mr)"\]\.name$/,
      "fw_cfg/dma",
    ],
    [
      "pc-file-stopped",
      "error while loading state for instance 0x0 of device 'i8254'\nload of migration failed: Operation not permitted",
      /^sections\[\d+\]\.type$/,
      4,
    ],
    [
      "pc-file-stopped",
      "Failed to load i8254:count_load_time\nerror while loading state for instance 0x0 of device 'i8254'",
      /\.i8254\.channels\[0\]\.count_load_time$/,
      undefined,
    ],
  ];
  for (const [name, error, path, value] of said) {
    const report = await why(name, error);
    const [at, found, damaged] = first(report);
    assert.match(String(at), path, error);
    if (value !== undefined) assert.equal(found, value, error);
    assert.equal(damaged, false, error);
    assert.deepEqual(report.damage, []);
  }
});

Deno.test("whyFailed() reads what programs put around QEMU's sentences", async () => {
  const forms = [
    "qemu-system-x86_64: Not a migration stream",
    "2026-01-02T03:04:05.678901Z qemu-system-x86_64: Not a migration stream\r",
    "kvm: Not a migration stream",
    "/usr/bin/qemu-system-x86_64: Not a migration stream",
    "error: Not a migration stream",
    "error: Failed to restore domain from a.save\nerror: operation failed: job 'start' failed: Not a migration stream",
    "error: Failed to restore domain from a.save: operation failed: Not a migration stream",
    "error: internal error: QEMU unexpectedly closed the monitor (vm='a b'): 2026-01-02T03:04:05.6Z qemu-kvm: Not a migration stream",
    "internal error: qemu unexpectedly closed the monitor: Not a migration stream",
    "error: Failed to start domain 'a'\nerror: internal error: process exited while connecting to monitor: 2026-01-02T03:04:05.6Z qemu-system-x86_64: -incoming fd:12: Not a migration stream",
    "Error restoring domain: internal error: qemu unexpectedly closed the monitor: 2026-01-02T03:04:05.6Z qemu-system-x86_64: Not a migration stream",
    "Error running snapshot 'one': internal error: qemu unexpectedly closed the monitor: Not a migration stream",
  ];
  for (const error of forms) {
    const { findings, unknown } = await why("pc-file-stopped", error);
    assert.deepEqual([findings[0].message, unknown], ["Not a migration stream", []], error);
  }
  const libvirt = await why(
    "pc-file-stopped",
    "error: Failed to restore domain from vm.sav\nerror: operation failed: job 'start' failed: load of migration failed: Invalid argument",
  );
  assert.deepEqual([libvirt.reason, libvirt.unknown], ["Invalid argument", []]);
  const closed = await why(
    "pc-file-stopped",
    "error: Failed to restore domain from vm.sav\n" +
      "error: internal error: QEMU unexpectedly closed the monitor (vm='x'): 2026-01-02T03:04:05.6Z qemu-kvm: " +
      'Unknown ramblock "pc.ram", cannot accept migration\n' +
      "2026-01-02T03:04:05.7Z qemu-kvm: error while loading state for instance 0x0 of device 'ram'\n" +
      "2026-01-02T03:04:05.8Z qemu-kvm: load of migration failed: Invalid argument",
  );
  assert.deepEqual(closed.findings.map(({ place, frame }) => [place?.path, frame]), [
    ["sections[0].ram.blocks[0].idstr", undefined],
    ["sections[0].type", true],
  ]);
  assert.deepEqual([closed.unknown, closed.reason], [[], "Invalid argument"]);
  const log =
    "2026-01-02 03:04:05.678+0000: 123: info : libvirt version: 11.3.0\n2026-01-02 03:04:05.679+0000: 123: warning : f:7 : x\n" +
    "2026-01-02 03:04:06.1+0000: 123: error : qemuProcessReportLogError:2087 : internal error: QEMU unexpectedly closed the monitor " +
    "(vm='x'): 2026-01-02T03:04:05.6Z qemu-kvm: Not a migration stream";
  const logged = await why("pc-file-stopped", log);
  assert.deepEqual([logged.findings.map(({ message }) => message), logged.unknown], [["Not a migration stream"], []]);
  const bare = await why("pc-file-stopped", "error: internal error: QEMU unexpectedly closed the monitor (vm='x')");
  assert.deepEqual([bare.unknown, bare.findings.length, bare.findings[0].frame], [[], 1, true]);
  assert.match(bare.findings[0].advice, /\/var\/log\/libvirt\/qemu\//);
  const warned = await why(
    "pc-file-stopped",
    "qemu-kvm: warning: nic e1000.0 has no peer\nqemu-kvm: Not a migration stream\nqemu-kvm: something else",
  );
  assert.deepEqual([warned.findings.length, warned.unknown], [1, ["something else"]]);
  const unknown = await why("pc-file-stopped", "the moon is full");
  assert.deepEqual([unknown.findings, unknown.unknown], [[], ["the moon is full"]]);
});

/** What a libvirt 11.3 said of images whose XML was changed for it, what stands there, and a word of the cause. */
const REFUSED: readonly (readonly [said: string, path: string | undefined, cause: RegExp])[] = [
  [
    "operation failed: guest CPU doesn't match specification: extra features: x2apic, missing features: pni,svm",
    "libvirt.xml",
    /says: extra features: x2apic, missing features: pni,svm\./,
  ],
  [
    "unsupported configuration: Emulator '/usr/bin/qemu-system-x86_64' does not support machine type 'pc-i440fx-99.0'",
    "libvirt.xml",
    /no machine type pc-i440fx-99\.0$/,
  ],
  ["Cannot check QEMU binary /nonexistent/qemu: No such file or directory", "libvirt.xml", /No such file/],
  ["Cannot access storage file '/nonexistent/disk.img': No such file or directory", "libvirt.xml", /disk\.img, is not/],
  [
    "Failed to connect socket to '/var/run/libvirt/virtnetworkd-sock': No such file or directory",
    undefined,
    /virtnetworkd/,
  ],
  ["Cannot get interface MTU on 'br99': No such device", "libvirt.xml", /br99$/],
  [
    "internal error: hugetlbfs filesystem is not mounted or disabled by administrator config",
    "libvirt.xml",
    /huge pages/,
  ],
  [
    "internal error: process exited while connecting to monitor: 2026-11-21T09:17:34.281813Z qemu-system-x86_64: cannot set up " +
    "guest memory 'pc.ram': Cannot allocate memory",
    "sections[0].ram.blocks[0].usedLength",
    /Cannot allocate memory$/,
  ],
  [
    "unsupported configuration: Target domain max memory 65536 does not match source 32768",
    "libvirt.xml",
    /domain max memory/,
  ],
  [
    "operation failed: domain 'fx-pc' already exists with uuid 6a1f0c52-3d0e-4a53-9f5d-0a7b6c5d4e31",
    "libvirt.xml",
    /6a1f0c52-3d0e-4a53-9f5d-0a7b6c5d4e31, is called fx-pc/,
  ],
  ["Requested operation is not valid: domain 'fx-pc' is already active", undefined, /^fx-pc runs already$/],
  ["internal error: unable to execute QEMU command 'cont': Failed to get \"write\" lock", undefined, /"write" lock/],
  [
    "internal error: process exited while connecting to monitor: 2026-11-21T09:17:42.350012Z qemu-system-x86_64: -blockdev " +
    '{"node-name":"libvirt-1-format","driver":"qcow2","file":"libvirt-1-storage"}: Image is not in qcow2 format',
    undefined,
    /was qcow2 when/,
  ],
  ["Failed to create file '/nonexistent/x': No such file or directory", "libvirt.xml", /cannot be made/],
  [
    "internal error: process exited while connecting to monitor: 2026-11-21T09:17:44.718375Z qemu-system-x86_64: -vnc " +
    "192.0.2.9:0,audiodev=audio1: Failed to bind socket: Cannot assign requested address",
    undefined,
    /Cannot assign requested address$/,
  ],
  [
    "operation failed: unable to find any master var store for loader: /nonexistent/OVMF.fd",
    "libvirt.xml",
    /OVMF\.fd, has no template/,
  ],
  ["unsupported configuration: Security driver model 'selinux' is not available", "libvirt.xml", /selinux/],
  ["invalid argument: Parallel save is only supported with the 'sparse' save image format", "libvirt.format", /sparse/],
  ["Failed to open file '/x/nofile.save': No such file or directory", undefined, /cannot be opened/],
];

Deno.test("whyFailed() of what libvirt says about what is around the file: its XML where that asks for it", async () => {
  const image = await loadLibvirt("raw");
  for (const [said, path, cause] of REFUSED) {
    const report = await whyFailed(image, `error: Failed to restore domain from a.save\nerror: ${said}`, { tables });
    assert.deepEqual([report.unknown, report.findings.length, report.damage], [[], 1, []], said);
    const [{ place, damaged, cause: text }] = report.findings;
    assert.deepEqual([place?.path, damaged], [path, false], said);
    assert.match(text, cause);
  }
  const machine = await whyFailed(image, "Emulator '/q' does not support machine type 'pc-i440fx-10.0'", { tables });
  assert.deepEqual(first(machine), ["configuration.machine", "pc-i440fx-10.0", false]);
});

/** Sentences of the reference, with values put in, that the variants above did not make a QEMU say. */
const SENTENCES = `
Configuration section missing
Failed to load configuration:len
Received TARGET_PAGE_BITS is 12 but local is 10
UUID received is 00112233-4455-6677-8899-aabbccddeeff and local is 10112233-4455-6677-8899-aabbccddeeff
UUID is received 00112233-4455-6677-8899-aabbccddeeff, but local uuid isn't set
Unable to read ID string for section 7
check_section_footer: Read section footer failed: -5
Invalid value 9 expecting positive value <= 4
vmstate: get_nullptr expected VMS_NULLPTR_MARKER
Input validation failed: cpu/validate
iommu/tree inconsistent stream when loading the gtree
irq state 7: must be 0 or 1.
block shm0 should not be migrated !
Mismatched RAM page size m (local) 4096 != 2097152
Mismatched GPAs for block pc.ram 0!= 4096
Getting RAM address failed -5
Unknown combination of migration flags: 0x40 (postcopy mode)
Bitmap with the same name ('b0') already exists on destination
Bitmap migration stream buffer allocation request is too large
CMD_OPEN_RETURN_PATH called when RP already open
CMD_POSTCOPY_ADVISE invalid length (3)
RAM postcopy is enabled but have 0 byte advise
Postcopy needs matching target page sizes (s=4096 d=16384)
CMD_POSTCOPY_ADVISE in wrong postcopy state (1)
CMD_POSTCOPY_RAM_DISCARD missing nil (7)
CMD_POSTCOPY_RAM_DISCARD Failed to read RAMBlock ID
ram_block_discard_range: Overrun block 'pc.ram' (1/2/3)
ram_block_discard_range: Unaligned start address: 0x7f0000001000
ENABLE_COLO command come in migration stream, but x-colo capability is not set
loadvm_postcopy_handle_resume: illegal resume received
loadvm_handle_recv_bitmap: failed to read block name
loadvm_handle_recv_bitmap: block 'x' not found
migrate_send_rp_recv_bitmap: MSG_RP_RECV_BITMAP only used for recovery
postcopy_ram_listen_thread: loadvm failed: -22
uffd_copy_page() failed for page=0x1000 errno=17
Non-same host page detected on channel 0: Target host page 0x1, received host page 0x2
multifd: received packet magic deadbeef expected 11223344
multifd: received packet with 129 pages, expected 128
multifd: received packet with 1000 non-zero pages, which exceeds maximum expected pages 128
multifd: unknown ram block pc.rum
multifd: offset too long 2147479552 (max 7fffff)
multifd 0: flags received 4 flags expected 2
multifd 1: inflate returned -3 instead of Z_OK
multifd: unexpected EOF after packet header
Unexpected end-of-file before all data were read
Extra incoming migration connection; ignoring
Multifd is not compatible with xbzrle
Mapped-ram migration is incompatible with xbzrle
Mapped-ram migration is incompatible with postcopy
Postcopy is not compatible with ignore-shared
Postcopy is not yet compatible with multifd
Postcopy preempt requires postcopy-ram
Postcopy preempt must be set before incoming starts
Multifd must be set before incoming starts
Background-snapshot is not compatible with return-path
Background-snapshot is not supported by host kernel
Background-snapshot is not compatible with guest memory configuration
Postcopy is not supported: no userfaultfd
Zero copy only available for non-compressed non-TLS multifd migration
Mapped-ram only available for non-compressed non-TLS multifd migration
Cannot use TLS with mapped-ram
Cannot use compression with mapped-ram
Capability 'switchover-ack' requires capability 'return-path'
dirty-limit conflicts with auto-converge either of then available currently
dirty-limit requires KVM with accelerator property 'dirty-ring-size' set
There's a migration process in progress
Migration requires seekable transport (e.g. file)
Migration requires multi-channel URIs (e.g. tcp)
Could not open '/tmp/x': No such file or directory
file URI has bad offset abc: Invalid argument
Unable to read from file: Bad file descriptor
Sibling indicated error 1
GLib: ../glib/gmem.c:106: failed to allocate 18446744073709551615 bytes
failed to read qemu header
save image is incomplete
image magic is incorrect
image version is not supported (50331648 > 2)
unsupported save image format: 9
invalid header data length: 0
failed to read domain XML
failed to read cookie
Unable to write to command: Broken pipe
The incoming migration has already been started
'-incoming' was not specified on the command line
guest CPU doesn't match specification
guest CPU doesn't match specification: missing features: vmx,avx512f
the CPU is incompatible with host CPU: Host CPU does not provide required features: vmx
host CPU vendor does not match required CPU vendor AMD
Target device PCI address 0000:00:03.0 does not match source 0000:00:04.0
Target memoryBacking source 'file' doesn't match source memoryBacking source'memfd'
Target domain timers do not match source
Emulator '/usr/bin/qemu-system-x86_64' does not support virt type 'kvm'
could not find capabilities for domaintype=kvm
No emulator found for arch 'ppc64'
Cannot access backing file '/a' of storage file '/b' (as uid:64055, gid:64055): Permission denied
network 'default' is not active
Network not found: no network with matching name 'default'
XML error: unknown element
(domain_definition):4: Opening and ending tag mismatch: name line 2 and domain
Unable to find any usable hugetlbfs mount for 1048576 KiB
domain 'a' is already being started
domain 'a' is already defined with uuid 00112233-4455-6677-8899-aabbccddeeff
cannot restore domain 'a' uuid 00112233-4455-6677-8899-aabbccddeeff from a file which belongs to domain 'b' uuid 10112233-4455-6677-8899-aabbccddeeff
cannot acquire state change lock (held by monitor=remoteDispatchDomainRestore)
job 'domain save' canceled by client
Compression program for save image format in configuration file isn't available
save image format sparse is not supported by this QEMU binary
domain is no longer running
job 'start' unexpectedly failed
An error occurred, but the cause is unknown
End of file while reading data: Input/output error
Unable to read from monitor: Connection reset by peer
Is another process using the image [/a]?
unable to map backing store for guest RAM: Cannot allocate memory
Could not access KVM kernel module: No such file or directory
failed to initialize kvm: Permission denied
unsupported machine type: "pc-i440fx-99.0"
host doesn't support requested feature: CPUID.07H:EBX.avx512f [bit 16]
TCG doesn't support requested features
`.trim().split("\n");

Deno.test("every sentence of QEMU's loader and of libvirt's has a row", async () => {
  const bytes = await loadFixture("microvm-file");
  for (let at = 0; at < SENTENCES.length; at += 50) {
    const said = SENTENCES.slice(at, at + 50);
    const { findings, unknown } = await whyFailed(bytes, said.join("\n"), { tables });
    assert.deepEqual(unknown, []);
    assert.equal(findings.length, said.length);
    for (const { message, cause, advice } of findings) {
      assert.doesNotMatch(cause + advice, /\$\d|undefined/, message);
      assert.doesNotMatch(cause, /[:,] *$/, message);
    }
  }
});

Deno.test("a good file and a bare reason: the file is not to blame", async () => {
  const cut = await why("pc-file-stopped", "load of migration failed: Input/output error");
  assert.deepEqual(first(cut), [undefined, undefined, false]);
  assert.match(cut.findings[0].cause, /^the file is good and complete/);
  assert.match(cut.reasonMeaning!, /ended inside a record/);
});

Deno.test("whyText() is a few lines a sentence, and shows other damage", async () => {
  const variant = badManifest().find(({ name }) => name === "legacy-equal-field-differs")!;
  const report = await why("bad/legacy-equal-field-differs", variant.qemu.stderr);
  assert.match(
    whyText(report),
    /^Failed to load PCIBUS:nirq\n {2}where {3}sections\[10\]\.PCIBUS\.nirq = 12345 at 0x5ce5e \(PCIBUS\)\n {2}cause .*\n {2}do .*\n\n4 != 3039\n/,
  );
  const other = await why("bad/legacy-trailing-garbage", "Machine type received is 'isapc' and local is 'pc'");
  assert.match(
    whyText(other),
    /configuration\.machine = isapc at 0xd\n[^]*Wrong in the file besides:\n {2}0x43631 opaque /,
  );
  assert.equal(whyText({ findings: [], unknown: [], damage: [] }), "Nothing is known about this.\n");
});
