import assert from "node:assert/strict";
import { fixturePath } from "../fixtures.ts";
import { loadLibvirt } from "../libvirt_fixtures.ts";
import { run, TempDir } from "../repl/capture.ts";

const MAIN = new URL("../../main.ts", import.meta.url).pathname;

/** The program in a process of its own: for bytes on stdout, stdin and signals. */
function program(...args: string[]): Deno.Command {
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", MAIN, ...args],
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    env: { NO_COLOR: "1" },
  });
}

const names = (dir: TempDir) => [...Deno.readDirSync(dir.path)].map(({ name }) => name).sort();

Deno.test("convert writes a file that diff finds equal, and says so by its status", async () => {
  using dir = new TempDir();
  const from = await fixturePath("q35-file-2cpu"), to = dir.file("out");
  const converted = await run("convert", from, to, "--to", "mapped-ram");
  assert.deepEqual([converted.status, converted.stderr], [0, ""]);
  assert.match(converted.stdout, /^.*out: mapped-ram, 30\.1 MiB, 111 pages of data, 6115 zero\n$/);
  assert.deepEqual(await run("diff", from, to), { stdout: "", stderr: "", both: "", status: 0 });
  const json = await run("diff", "--json", from, to);
  assert.deepEqual(JSON.parse(json.stdout), { equal: true, configuration: [], devices: [], ram: [] });
  const quiet = await run("convert", from, to, "--to", "legacy", "--quiet");
  assert.deepEqual([quiet.status, quiet.both], [0, ""]);
  const report = JSON.parse((await run("convert", from, to, "--to", "elf", "--json")).stdout);
  assert.deepEqual([report.format, report.left.length], ["elf", 1]);
  assert.deepEqual(names(dir), ["out"]);
});

Deno.test("convert --offset is where the stream begins: in IN, where one is there, else in OUT", async () => {
  using dir = new TempDir();
  const from = await fixturePath("q35-file-2cpu"), moved = dir.file("moved"), back = dir.file("back");
  assert.equal((await run("convert", from, moved, "--to", "mapped-ram", "--offset", "0x3000")).status, 0);
  assert.equal((await run("convert", moved, back, "--to", "legacy", "--offset", "12k")).status, 0);
  assert.deepEqual(Deno.readFileSync(back), Deno.readFileSync(from));
  assert.equal((await run("diff", moved, from, "--offset-a", "0x3000")).status, 0);
});

Deno.test("diff names the one of two files that something is wrong with", async () => {
  using dir = new TempDir();
  const good = await fixturePath("pc-mapped-multifd-1"), nothing = dir.file("nothing", "root:x:0:0:root:/root\n");
  const cut = dir.file("cut");
  await Deno.writeFile(cut, (await Deno.readFile(good)).subarray(0, 0x180000));
  for (const bad of [nothing, cut]) {
    for (const pair of [[good, bad], [bad, good]]) {
      const { status, stdout, stderr } = await run("diff", ...pair);
      assert.deepEqual([status, stdout], [1, ""]);
      assert(stderr.startsWith(`miglab: ${bad}: Cannot read `), stderr);
      assert(!stderr.includes(good) && stderr.split("\n").length === 2, stderr);
    }
  }
});

Deno.test("diff takes further channels, offsets and snapshots of each of its two files", async () => {
  using dir = new TempDir();
  const name = "pc-multifd-2",
    pieces = await Promise.all(["main", "ch0", "ch1"].map((each) => fixturePath(`${name}.${each}`)));
  const [main, ch0, ch1] = pieces, joined = dir.file("joined"), far = dir.file("far");
  assert.equal((await run("convert", main, joined, "--to", "legacy", "--channel", ch0, "--channel", ch1)).status, 0);
  assert.equal((await run("convert", joined, far, "--to", "mapped-ram", "--offset", "0x2000")).status, 0);
  const channels = (side: string, ...files: string[]) => files.flatMap((file) => [`--channel-${side}`, file]);
  const equal = [
    [joined, main, ...channels("b", ch0, ch1)],
    [main, joined, ...channels("a", ch1, ch0)],
    [main, main, ...channels("a", ch0, ch1), ...channels("b", ch1, ch0)],
    [far, joined, "--offset-a", "8k"],
    [main, far, ...channels("a", ch0, ch1), "--offset-b", "0x2000"],
  ];
  for (const args of equal) {
    assert.deepEqual(await run("diff", ...args), { stdout: "", stderr: "", both: "", status: 0 });
  }

  const refused: [string[], string, RegExp][] = [
    [[main, joined], main, /multifd channels; give the file of each with --channel-a$/],
    [[joined, main], main, /multifd channels; give the file of each with --channel-b$/],
    [[main, main, ...channels("a", ch0, ch1)], main, /--channel-b$/],
    [
      [joined, main, ...channels("b", ch0)],
      main,
      /36 packets of pages are on multifd channels that were not given; .* --channel-b$/,
    ],
    [[far, joined], far, /; a stream begins at 0x2000, try --offset-a 0x2000$/],
    [[joined, far], far, /; a stream begins at 0x2000, try --offset-b 0x2000$/],
    [[joined, joined, "--snapshot-b", "x"], joined, /Cannot open snapshot x /],
  ];
  for (const [args, about, what] of refused) {
    const { status, stdout, stderr } = await run("diff", ...args);
    assert.deepEqual([status, stdout], [1, ""], args.join(" "));
    assert(stderr.startsWith(`miglab: ${about}: `), stderr);
    assert.match(stderr.trimEnd(), what);
  }
});

Deno.test("what wants all pages refuses a multifd migration with channels missing, and says how to name them", async () => {
  using dir = new TempDir();
  const main = await fixturePath("pc-multifd-2.main"),
    ch0 = await fixturePath("pc-multifd-2.ch0"),
    out = dir.file("out");
  const jobs = [["convert", main, out, "--to", "raw"], ["extract", main, "--block", "pc.ram", "-o", out]];
  for (const given of [[], ["--channel", ch0]]) {
    for (const job of jobs) {
      const { status, stderr } = await run(...job, ...given);
      assert.equal(status, 1);
      assert.match(stderr, /^miglab: [^\n]* multifd channels[^\n]*; give the file of each with --channel\n$/);
    }
  }
  assert.deepEqual(names(dir), []);
});

Deno.test("convert names the XML file it cannot read", async () => {
  using dir = new TempDir();
  const from = await fixturePath("isapc-file"), absent = dir.file("absent"), to = dir.file("out");
  const { status, stderr } = await run("convert", from, to, "--to", "libvirt-raw", "--xml", absent);
  assert.deepEqual([status, stderr], [1, `miglab: Could not open '${absent}': No such file or directory\n`]);
  assert.deepEqual(names(dir), []);
});

Deno.test("names with line feeds and escapes stay on one line", async () => {
  using dir = new TempDir();
  const odd = dir.file("two\nlines\x1b[31m"), shown = `${dir.path}/two lines\\x1b[31m`;
  Deno.copyFileSync(await fixturePath("isapc-file"), odd);
  const none = await run("extract", odd, "--block", "no.ram", "-o", dir.file("out"));
  assert.equal(
    none.stderr,
    `miglab: ${shown}: No RAM block is named "no.ram": the blocks are pc.ram, pc.rom, pc.bios\n`,
  );
  const made = await run("extract", odd, "--block", "pc.bios", "-o", dir.file("new\none"));
  assert.match(made.stdout, /\/new one: [\d.]+ KiB, [^\n]+\n$/);
  const converted = await run("convert", odd, dir.file("new\none"), "--to", "legacy");
  assert.match(converted.stdout, /\/new one: legacy, [^\n]+\n$/);
  const missing = await run("inspect", dir.file("no\nfile"));
  assert.equal(missing.stderr, `miglab: Could not open '${dir.path}/no file': No such file or directory\n`);
});

Deno.test("a result goes to a file: - is none", async () => {
  const from = await fixturePath("isapc-file");
  for (const args of [["convert", from, "-", "--to", "legacy"], ["salvage", from, "-o", "-"], ["save", "-"]]) {
    const { status, stdout, stderr } = await run(...args);
    assert.deepEqual([status, stdout], [2, ""]);
    assert.match(stderr, /^miglab: [^\n]*'-' is invalid[^\n]* Expected a file; it is made under another name[^\n]*\n$/);
  }
});

Deno.test("a size no number holds is wrong usage", async () => {
  const path = await fixturePath("isapc-file");
  for (const size of ["99999999999999999999", "8P", "0x20000000000000"]) {
    const { status, stderr } = await run("inspect", path, "--offset", size);
    const complaint =
      `option '--offset <bytes>' argument '${size}' is invalid. Expected a size such as 256M or 0x11000.`;
    assert.deepEqual([status, stderr], [2, `miglab: ${complaint}\n`]);
  }
  assert.equal((await run("inspect", path, "--offset", "7.9P")).status, 1);
});

Deno.test("convert refuses in one line with every reason, and writes nothing", async () => {
  using dir = new TempDir();
  const from = await fixturePath("pc-ignore-shared");
  const { status, stdout, stderr } = await run("convert", from, dir.file("out"), "--to", "libvirt-sparse");
  assert.deepEqual([status, stdout], [1, ""]);
  assert.match(
    stderr,
    /^miglab: .*ignore-shared.*: Cannot convert to libvirt-sparse: [^\n]*shm0[^\n]*; [^\n]*XML[^\n]*\n$/,
  );
  const wrong = await run("convert", from, dir.file("out"), "--to", "zip");
  assert.equal(wrong.status, 2);
  assert.match(
    wrong.stderr,
    /^miglab: option '--to <format>' argument 'zip' is invalid\. Allowed choices are legacy, /,
  );
  assert.equal((await run("convert", from, dir.file("out"))).status, 2);
  const both = await run("convert", from, dir.file("out"), "--to", "legacy", "--running", "--paused");
  assert.equal(both.status, 2);
  assert.deepEqual(names(dir), []);
});

Deno.test("convert takes the domain's XML from a file, extract --xml gives it back", async () => {
  using dir = new TempDir();
  const xml = dir.file("vm.xml", "<domain><name>x</name></domain>\n");
  const out = dir.file("saved");
  const made = await run(
    "convert",
    await fixturePath("pc-file-stopped"),
    out,
    "--to",
    "libvirt-raw",
    "--xml",
    xml,
    "--running",
  );
  assert.equal(made.status, 0);
  assert.equal(JSON.parse((await run("inspect", "--json", out)).stdout).libvirt.wasRunning, true);
  const { status } = await run("extract", out, "--xml", "-o", dir.file("again.xml"));
  assert.equal(status, 0);
  assert.equal(Deno.readTextFileSync(dir.file("again.xml")), Deno.readTextFileSync(xml));
  const none = await run("extract", await fixturePath("pc-file-stopped"), "--xml", "-o", dir.file("none"));
  assert.match(none.stderr, /Cannot extract the domain's XML: this is no libvirt save image\n$/);
});

Deno.test("diff prints what differs and ends with status 1", async () => {
  using dir = new TempDir();
  const a = await fixturePath("q35-file-2cpu"), b = await fixturePath("pc-seabios-booted");
  const { status, stdout } = await run("diff", a, b);
  assert.equal(status, 1);
  assert.match(stdout, /^machine {2}pc-q35-10\.0 \| pc-i440fx-10\.0\n/);
  assert.match(stdout, /\n0000:00:00\.0\/mch 0 {2}only in the first\n/);
  assert.match(stdout, /\nRAM block pc\.ram {2}25165824 \| \d+ bytes, \d+ pages differ /);
  const ignored = await run("diff", a, b, "--ignore", "*", "--ignore", "ram:*");
  assert.deepEqual([ignored.status, ignored.both], [0, ""]);
  const absent = await run("diff", a, dir.file("none"));
  assert.deepEqual([absent.status, absent.stdout], [1, ""]);
  assert.match(absent.stderr, /^miglab: [^\n]*none'?: No such file or directory\n$/);
});

Deno.test("extract writes blocks, pages and ranges", async () => {
  using dir = new TempDir();
  const from = await fixturePath("q35-file-2cpu");
  assert.equal((await run("extract", from, "--block", "pc.bios", "-o", dir.file("bios"))).status, 0);
  const bios = Deno.readFileSync(dir.file("bios"));
  assert.equal(bios.length, 65536);
  assert.equal((await run("extract", from, "--range", "pc.bios:60k+0x1000", "-o", dir.file("part"))).status, 0);
  assert.deepEqual(Deno.readFileSync(dir.file("part")), bios.slice(0xf000));
  const page = await program("extract", from, "--page", "pc.bios:0xffff").output();
  assert.deepEqual([page.code, page.stdout], [0, bios.slice(0xf000)]);
  const piped = await program("extract", from, "--block", "pc.bios", "-o", "-").output();
  assert.deepEqual(piped.stdout, bios);
  const beyond = await run("extract", from, "--page", "pc.bios:64k", "-o", dir.file("beyond"));
  assert.match(beyond.stderr, /: No page at 0x10000 of pc\.bios: it has 0x10000\n$/);
  for (const args of [[], ["--block", "pc.ram", "--format", "elf"], ["--format", "elf"], ["--page", "pc.ram"]]) {
    assert.equal((await run("extract", from, ...args)).status, 2, args.join(" "));
  }
  assert.deepEqual(names(dir), ["bios", "part"]);
});

Deno.test("extract reads a packed stream, and one on standard input", async () => {
  using dir = new TempDir();
  const image = dir.file("packed");
  Deno.writeFileSync(image, loadLibvirt("gzip"));
  assert.equal((await run("extract", image, "--block", "pc.bios", "-o", dir.file("one"))).status, 0);
  const child = new Deno.Command("/bin/sh", {
    args: [
      "-c",
      `cat "$1" | "$0" run -A ${MAIN} extract - --block pc.bios -o "$2"`,
      Deno.execPath(),
      image,
      dir.file("two"),
    ],
  });
  const { code, stderr } = await child.output();
  assert.equal(code, 0, new TextDecoder().decode(stderr));
  assert.deepEqual(Deno.readFileSync(dir.file("two")), Deno.readFileSync(dir.file("one")));
});

Deno.test("inspect --hash reads standard input, packed too", async () => {
  for (const path of [await fixturePath("pc-multipass"), await fixturePath("pc-mapped-many-blocks")]) {
    for (const pack of ["cat", "gzip -c"]) {
      const { code, stdout, stderr } = await new Deno.Command("/bin/sh", {
        args: ["-c", `${pack} < "$1" | "$0" run -A ${MAIN} inspect --hash --json -`, Deno.execPath(), path],
      }).output();
      assert.equal(code, 0, new TextDecoder().decode(stderr));
      const { path: name, ram } = JSON.parse(new TextDecoder().decode(stdout));
      const file = JSON.parse((await run("inspect", "--hash", "--json", path)).stdout);
      assert.equal(name, "-");
      assert.deepEqual(ram, file.ram);
      assert(ram.blocks.every(({ sha256 }: { sha256: string }) => sha256.length === 64));
    }
  }
});

Deno.test("a guest on a pipe is read as often as it takes", async () => {
  using dir = new TempDir();
  const file = await fixturePath("isapc-file"), junk = dir.file("junk", "no stream at all, and long enough");
  const dump = dir.file("dump.json", JSON.stringify({ vmschkmachine: { Name: "isapc" } }));
  const piped = async (from: string, ...args: string[]) => {
    const script = `cat "$1" | { shift; timeout 60 "$0" run -A ${MAIN} "$@"; }`;
    const { code, stdout, stderr } = await new Deno.Command("/bin/sh", {
      args: ["-c", script, Deno.execPath(), from, ...args],
    }).output();
    const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes).replaceAll("standard input", "/dev/stdin");
    return { code, stdout: text(stdout), stderr: text(stderr) };
  };
  const commands = [
    ["inspect", "--hash", "PIPE"],
    ["explain", "PIPE", "--address", "0x3000"],
    ["verify", "PIPE", "--against", dump],
    ["diff", "PIPE", file],
    ["diff", file, "PIPE"],
    ["extract", "PIPE", "--block", "pc.bios", "-o", dir.file("bios")],
  ];
  for (const words of commands) {
    const as = (name: string) => words.map((word) => word === "PIPE" ? name : word);
    const alone = await run(...as(file));
    for (const name of ["-", "/dev/stdin"]) {
      const { code, stdout, stderr } = await piped(file, ...as(name));
      assert.deepEqual([code, stderr], [alone.status, alone.stderr], `${words} ${name}`);
      assert.equal(stdout.replaceAll("/dev/stdin", file), alone.stdout, `${words} ${name}`);
    }
  }
  const why = await piped(file, "why", "/dev/stdin", "--error", "Machine type received is 'isapc' and local is 'pc'");
  assert.deepEqual([why.code, why.stdout.includes("configuration.machine = isapc at 0xd")], [0, true]);
  for (const command of ["inspect", "verify", "explain"]) {
    const { code, stderr } = await piped(junk, command, "/dev/stdin");
    assert.equal(code, 1, command);
    if (command !== "verify") assert.match(stderr, /^miglab: \/dev\/stdin: Cannot read stream header [^\n]+\n$/);
  }
});

Deno.test("a qcow2 image has to be a file", async () => {
  const { code, stdout, stderr } = await new Deno.Command("/bin/sh", {
    args: ["-c", `printf 'QFI\\373' | "$0" run -A ${MAIN} inspect -`, Deno.execPath()],
  }).output();
  assert.deepEqual([code, stdout.length], [1, 0]);
  assert.match(new TextDecoder().decode(stderr), /: a qcow2 image on a pipe, expected a file\n$/);
});

Deno.test("salvage recovers into a directory and tells what is lost; nothing at all is status 1", async () => {
  using dir = new TempDir();
  const bytes = Deno.readFileSync(await fixturePath("q35-file-2cpu"));
  Deno.writeFileSync(dir.file("cut"), bytes.subarray(0, bytes.length / 2));
  const { status, stdout } = await run("salvage", dir.file("cut"), "-o", dir.file("out"));
  assert.equal(status, 0);
  assert.match(stdout, /\npc\.ram +6144 pages: \d+ recovered \(\d+ with data\), \d+ lost: 0x/);
  assert.equal(Deno.readTextFileSync(dir.file("out/salvage.txt")), stdout);
  assert.equal(Deno.statSync(dir.file("out/ram/pc.ram.raw")).size, 0x1800000);
  const again = await run("salvage", dir.file("cut"), "-o", dir.file("out"));
  assert.deepEqual([again.status, again.stdout], [1, ""]);
  assert.match(again.stderr, /: Could not make '.*out': it is there and not empty\n$/);
  const nothing = await run("salvage", dir.file("words", "no stream at all"), "-o", dir.file("none"), "--json");
  assert.equal(nothing.status, 1);
  assert.deepEqual(JSON.parse(nothing.stdout).devices, []);
  assert.match(nothing.stderr, /^miglab: .*words: nothing could be recovered\n$/);
});

Deno.test("convert that is interrupted leaves nothing and says so", async () => {
  using dir = new TempDir();
  // a guest that takes long to write: much data, none of it on disk
  const from = dir.file("from");
  const { code } = await program(
    "--ram",
    "1G",
    "--content",
    "random:600M",
    "-e",
    "migrate_set_parameter max-bandwidth 0",
    "-e",
    `migrate file:${from}`,
  ).output();
  assert.equal(code, 0);
  const child = program("convert", from, dir.file("out"), "--to", "mapped-ram").spawn();
  for (let i = 0; i < 1000 && !names(dir).some((name) => name.endsWith(".part")); i++) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  child.kill("SIGINT");
  const { code: status, stderr } = await child.output();
  assert.deepEqual(names(dir), ["from"]);
  assert.equal(status, 1);
  assert.match(new TextDecoder().decode(stderr), /^miglab: .*from: interrupted\n$/);
});
