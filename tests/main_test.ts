import assert from "node:assert/strict";
import config from "../deno.json" with { type: "json" };
import { run, TempDir } from "./repl/capture.ts";

const MAIN = new URL("../main.ts", import.meta.url).pathname;

/** The program as a process of its own. */
function program(args: string[], options: Partial<Deno.CommandOptions> = {}): Deno.Command {
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-prompt", MAIN, ...args],
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    ...options,
  });
}

/** Run it with a text on stdin. */
async function piped(text: string, args: string[] = []): Promise<{ status: number; stdout: string; stderr: string }> {
  const child = program(args, { stdin: "piped" }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(text));
  await writer.close();
  const { code, stdout, stderr } = await child.output();
  const decoder = new TextDecoder();
  return { status: code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

Deno.test("--version is one line on stdout", async () => {
  const { status, stdout, stderr } = await run("--version");
  assert.deepEqual([status, stdout, stderr], [0, `miglab ${config.version}\n`, ""]);
});

Deno.test("--help names every command and shows examples", async () => {
  const { status, stdout, stderr } = await run("--help");
  assert.deepEqual([status, stderr], [0, ""]);
  for (const word of ["run", "inspect", "completions", "Examples:", "Exit status:", "--guest"]) {
    assert.ok(stdout.includes(word), word);
  }
  for (const command of ["run", "inspect", "completions"]) {
    const help = await run("help", command);
    assert.equal(help.status, 0);
    assert.match(help.stdout, new RegExp(`^Usage: miglab ${command} [^]*Examples:\n`));
    assert.equal((await run(command, "--help")).stdout, help.stdout);
  }
});

Deno.test("wrong usage is one line on stderr and status 2", async () => {
  const cases: [string[], RegExp][] = [
    [["--jsno"], /unknown option '--jsno' \(did you mean --json\?\)/],
    [["inspet", "x"], /unknown command 'inspet' \(did you mean inspect\?\)/],
    [["help", "inspet"], /unknown command 'inspet' \(did you mean inspect\?\)/],
    [["help", "frobnicate"], /unknown command 'frobnicate'; try miglab --help/],
    [["frobnicate"], /unknown command 'frobnicate'; try miglab --help/],
    [["--ram", "12Q"], /'12Q' is invalid.*256M/],
    [["--color", "pink"], /'pink' is invalid.*auto, always, never/],
    [["--guest"], /argument missing/],
    [["run"], /missing required argument 'script'/],
    [["run", "-", "-"], /standard input can be read only once/],
    [["run", "x", "-e", "y"], /'--execute' does not go with 'run'/],
    [["inspect"], /missing required argument 'file'/],
    [["inspect", "a", "b"], /too many arguments/],
    [["inspect", "a", "--ram", "1M"], /'--ram' does not go with 'inspect'/],
    [["--events", "-e", "stop"], /'--events' needs a console/],
    [["--guest", "x", "--incoming", "defer", "-e", "stop"], /'--guest' cannot be used with option '--incoming'/],
  ];
  for (const [args, expected] of cases) {
    const { status, stdout, stderr } = await run(...args);
    assert.deepEqual([status, stdout], [2, ""], args.join(" "));
    assert.match(stderr, /^miglab: [^\n]+\n$/);
    assert.match(stderr, expected);
  }
});

Deno.test("what cannot be opened is one line on stderr and status 1", async () => {
  using dir = new TempDir();
  const text = dir.file("text", "no stream\n");
  const cases: [string[], RegExp][] = [
    [["--guest", dir.file("nix"), "-e", "stop"], /nix.*No such file or directory/],
    [["--guest", text, "-e", "stop"], /text: .* at offset 0x0/],
    [
      ["--incoming", `file:${text}`, "-e", "stop"],
      /--incoming file:.*text: load of migration failed: .* at offset 0x0/,
    ],
    [["--content", "nonsense", "-e", "stop"], /nonsense/],
    [["--plugin", dir.file("nix.ts"), "-e", "stop"], /nix\.ts/],
    [["--plugin", dir.file("empty.ts", "export {};\n"), "-e", "stop"], /exports no plugin/],
    [["--ram", "1024G", "-e", "stop"], /64 GiB/],
    [["--incoming", "nope:x", "-e", "stop"], /unknown migration protocol: nope:x/],
    [["run", dir.file("nix.hmp")], /nix\.hmp: No such file or directory/],
    [["inspect", dir.file("nix")], /nix.*No such file or directory/],
    [["inspect", text], /text: .* at offset 0x0/],
  ];
  for (const [args, expected] of cases) {
    const { status, stdout, stderr } = await run(...args);
    assert.deepEqual([status, stdout], [1, ""], args.join(" "));
    assert.match(stderr, /^miglab: [^\n]+\n$/);
    assert.match(stderr, expected);
  }
});

Deno.test("--verbose adds the stack to an error", async () => {
  const { status, stderr } = await run("-v", "--content", "nonsense", "-e", "stop");
  assert.equal(status, 1);
  assert.match(stderr, /nonsense[^]*\n\s+at /);
});

Deno.test("options stand before and behind the command", async () => {
  using dir = new TempDir();
  const script = dir.file("t.hmp", "info status\n");
  for (const args of [["--ram", "1M", "-S", "run", script], ["run", script, "--stopped", "--ram=1M"]]) {
    const { status, stdout } = await run(...args);
    assert.deepEqual([status, stdout], [0, "VM status: paused (prelaunch)\n"]);
  }
});

Deno.test("several -e share a workbench, several scripts do not", async () => {
  using dir = new TempDir();
  const capability = "migrate_set_capability mapped-ram";
  const set = dir.file("set.hmp", `${capability} on\n`);
  const ask = dir.file("ask.hmp", "info migrate_capabilities\n");
  assert.match(
    (await run("--ram", "1M", "-e", `${capability} on`, "-e", "info migrate_capabilities")).stdout,
    /mapped-ram: on/,
  );
  assert.match((await run("--ram", "1M", "run", set, ask)).stdout, /mapped-ram: off/);
});

Deno.test("a script that fails keeps the next from running, unless told to go on", async () => {
  using dir = new TempDir();
  const [bad, good] = [dir.file("bad.hmp", "foo\n"), dir.file("good.hmp", "info status\n")];
  const stopped = await run("--ram", "1M", "run", bad, good);
  assert.deepEqual([stopped.status, stopped.stdout], [1, "unknown command: 'foo'\n"]);
  assert.equal(stopped.stderr, `miglab: ${bad}:1: unknown command: 'foo'\n`);
  const wentOn = await run("--ram", "1M", "run", "--keep-going", bad, dir.file("nix"), good);
  assert.deepEqual([wentOn.status, wentOn.stdout], [1, "unknown command: 'foo'\nVM status: running\n"]);
});

Deno.test("a plugin is loaded by a path relative to the working directory", async () => {
  using dir = new TempDir();
  dir.file(
    "mine.ts",
    `export default {
      name: "mine", help: "greets",
      commands: [{ hmp: { name: "greet", params: "", help: "greets", format: (text) => text + "\\n" }, run: () => "hello" }],
    };`,
  );
  const { code, stdout } = await program(["--plugin", "./mine.ts", "-e", "greet"], { cwd: dir.path }).output();
  assert.deepEqual([code, new TextDecoder().decode(stdout)], [0, "hello\n"]);
});

Deno.test("a guest saved here is inspected, as text, as JSON, by the console's command and from a pipe", async () => {
  using dir = new TempDir();
  const file = dir.file("vm.sav");
  assert.equal((await run("--ram", "1M", "-e", `migrate file:${file}`)).status, 0);
  const text = await run("inspect", file);
  assert.deepEqual([text.status, text.stderr], [0, ""]);
  assert.ok(text.stdout.startsWith(`${file}: QEMU stream of pc-i440fx-10.0, complete`));
  const json = JSON.parse((await run("inspect", "--json", "--hash", file)).stdout);
  assert.deepEqual([json.path, json.bytes, json.stream.complete], [file, Deno.statSync(file).size, true]);
  assert.match(json.ram.blocks[0].sha256, /^[0-9a-f]{64}$/);
  assert.equal((await run("-e", `inspect ${file}`)).stdout, text.stdout);
  const child = program(["inspect", "-"], { stdin: "piped" }).spawn();
  await new Blob([Deno.readFileSync(file)]).stream().pipeTo(child.stdin);
  const { code, stdout } = await child.output();
  assert.deepEqual([code, new TextDecoder().decode(stdout).replace("standard input", file)], [0, text.stdout]);
});

Deno.test("inspect: sections and a device's fields on request", async () => {
  using dir = new TempDir();
  const file = dir.file("vm.sav");
  await run("--ram", "1M", "-e", `migrate file:${file}`);
  const sections = await run("inspect", "--sections", file);
  assert.match(sections.stdout, /\n +offset +bytes +section\n[^]* start 1 ram instance 0 version 4\n/);
  const device = await run("inspect", "--device", "timer", file);
  assert.match(device.stdout, /^timer instance 0 version 2, 24 bytes at 0x[0-9a-f]+\n {2}cpu_ticks_offset +\d+ ticks /);
  const none = await run("inspect", "--device", "nix", file);
  assert.deepEqual([none.status, none.stdout], [1, ""]);
});

Deno.test("inspect reports a damaged file as far as it goes, then what is wrong, with status 1", async () => {
  using dir = new TempDir();
  const file = dir.file("vm.sav");
  await run("--ram", "1M", "-e", `migrate file:${file}`);
  Deno.truncateSync(file, 100_000);
  const { status, stdout, stderr } = await run("inspect", "--json", file);
  assert.equal(status, 1);
  const report = JSON.parse(stdout);
  assert.equal(report.stream.complete, false);
  assert.ok(report.ram.blocks.some(({ id }: { id: string }) => id === "pc.ram"));
  assert.match(stderr, /^miglab: [^\n]*vm\.sav: [^\n]* at offset 0x[0-9a-f]+[^\n]*\n$/);
});

Deno.test("lines from a pipe: outputs only, on behind an error, status 1 in the end", async () => {
  const { status, stdout, stderr } = await piped("info status\n\n# no echo\nfoo\ninfo status\n", ["--ram", "1M"]);
  assert.equal(status, 1);
  assert.equal(stdout, "VM status: running\nunknown command: 'foo'\nVM status: running\n");
  assert.equal(stderr, "miglab: -:4: unknown command: 'foo'\n");
  assert.equal((await piped("info status\n", ["--ram", "1M"])).status, 0);
  assert.deepEqual(await piped("info status", ["--ram", "1M", "run", "-"]), {
    status: 0,
    stdout: "VM status: running\n",
    stderr: "",
  });
});

Deno.test("lines of a pipe are answered as they come", async () => {
  const child = program(["--ram", "1M"], { stdin: "piped" }).spawn();
  const writer = child.stdin.getWriter();
  const reader = child.stdout.getReader();
  for (let i = 0; i < 3; i++) {
    await writer.write(new TextEncoder().encode("info status\n"));
    assert.equal(new TextDecoder().decode((await reader.read()).value), "VM status: running\n");
  }
  await writer.close();
  reader.releaseLock();
  assert.equal((await child.output()).code, 0);
});

Deno.test("a reader that goes away ends the program quietly", async () => {
  const child = program(["--ram", "1M", "run", "/dev/fd/0"], { stdin: "piped" }).spawn();
  const lines = new TextEncoder().encode("info migrate_parameters\n".repeat(2000));
  const reader = child.stdout.getReader();
  const writer = child.stdin.getWriter();
  const writing = writer.write(lines).then(() => writer.close()).catch(() => {});
  await reader.read();
  await reader.cancel();
  const { code } = await child.status;
  await writing;
  let said = "";
  for await (const piece of child.stderr.pipeThrough(new TextDecoderStream())) said += piece;
  assert.deepEqual([code, said], [0, ""]);
});

Deno.test("the version, the help and a model guest need no permission", async () => {
  for (const args of [["--version"], ["--help"], ["-e", "info status"]]) {
    const { code, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-prompt", MAIN, ...args],
      stdin: "null",
    }).output();
    assert.deepEqual([code, new TextDecoder().decode(stderr)], [0, ""], args.join(" "));
  }
});

Deno.test("a migration that nothing can end any more is told, and status 1", async () => {
  const { code, stdout, stderr } = await program(["--incoming", "exec:true", "-e", "info status"]).output();
  const decoder = new TextDecoder();
  assert.deepEqual([code, decoder.decode(stdout)], [1, "VM status: paused (inmigrate)\n"]);
  assert.match(decoder.decode(stderr), /^(miglab: [^\n]+\n){1,2}$/);
});

/** A command line that runs a program where FULL is a file system of 2 MiB; needs leave to make one. */
const full = (command: string) => ["-rm", "sh", "-c", `mount -t tmpfs -o size=2m tmpfs /mnt && ${command}`];
const cannotMount = (() => {
  try {
    return !new Deno.Command("unshare", { args: full("true"), stdout: "null", stderr: "null" }).outputSync().success;
  } catch {
    return true;
  }
})();

Deno.test({
  name: `a full disk is told with the system's reason${cannotMount ? " (needs unshare and leave to mount)" : ""}`,
  ignore: cannotMount,
  async fn() {
    for (const settings of ["", "-e 'migrate_set_capability mapped-ram on'"]) {
      const line =
        `'${Deno.execPath()}' run -A '${MAIN}' --ram 16M --content random ${settings} -e 'migrate file:/mnt/vm.sav'`;
      const { code, stdout, stderr } = await new Deno.Command("unshare", { args: full(line) }).output();
      const decoder = new TextDecoder();
      assert.deepEqual([code, decoder.decode(stdout)], [1, ""]);
      assert.match(decoder.decode(stderr), /^miglab: -e:\d: migration failed: [^\n]*No space left on device\n$/m);
    }
  },
});
