import assert from "node:assert/strict";
import { run, TempDir } from "./capture.ts";

/** A shell to try a script with; what is not installed is skipped, and the test's name says so. */
function shell(name: string): { name: string; ignore: boolean } {
  try {
    new Deno.Command(name, { args: ["-c", ":"], stdout: "null", stderr: "null" }).outputSync();
    return { name, ignore: false };
  } catch {
    return { name: `${name} (needs ${name}: apt-get install ${name})`, ignore: true };
  }
}

/** Run a script in a shell; stdout must come with status 0 and an empty stderr. */
async function script(name: string, text: string, cwd?: string): Promise<string> {
  const output = await new Deno.Command(name, { args: ["-c", text], cwd, stdin: "null" }).output();
  const decoder = new TextDecoder();
  assert.equal(decoder.decode(output.stderr), "");
  assert.equal(output.code, 0);
  return decoder.decode(output.stdout);
}

/** What Tab would offer in bash behind these words. */
async function inBash(words: string[], cwd?: string): Promise<string[]> {
  const { stdout } = await run("completions", "bash");
  const line = words.map((word) => `'${word}'`).join(" ");
  const text = `${stdout}\nCOMP_WORDS=(${line}); COMP_CWORD=${
    words.length - 1
  }; _miglab; printf '%s\\n' "\${COMPREPLY[@]}"`;
  return (await script("bash", text, cwd)).split("\n").filter((word) => word !== "").sort();
}

/** What the program's own help lists. */
async function commands(): Promise<string[]> {
  const { stdout } = await run("--help");
  const [, list] = /\nCommands:\n([^]*?)\n\n/.exec(stdout)!;
  const names = [...list.matchAll(/^ {2}([a-z]+)\b/gm)].map(([, name]) => name);
  assert(names.includes("inspect") && names.includes("run"));
  return [...new Set([...names, "help"])].sort();
}

const bash = shell("bash");

Deno.test({
  name: `completions ${bash.name}: commands, options, choices and files`,
  ignore: bash.ignore,
  async fn() {
    using dir = new TempDir();
    dir.file("vm one.sav", "");
    assert.deepEqual(await inBash(["miglab", ""]), await commands());
    assert.deepEqual(await inBash(["miglab", "ins"]), ["inspect"]);
    assert.deepEqual(await inBash(["miglab", "--ver"]), ["--verbose", "--version"]);
    assert.deepEqual(await inBash(["miglab", "--color", ""]), ["always", "auto", "never"]);
    assert.deepEqual(await inBash(["miglab", "--color", "=", "n"]), ["never"]);
    assert.deepEqual(await inBash(["miglab", "completions", ""]), ["bash", "fish", "zsh"]);
    assert.deepEqual(await inBash(["miglab", "inspect", "vm"], dir.path), ["vm one.sav"]);
    assert.deepEqual(await inBash(["miglab", "--guest", "vm"], dir.path), ["vm one.sav"]);
    assert.deepEqual(await inBash(["miglab", "--ram", ""], dir.path), []);
  },
});

Deno.test({
  name: `completions ${bash.name}: only options the command takes`,
  ignore: bash.ignore,
  async fn() {
    assert.deepEqual(await inBash(["miglab", "inspect", "--h"]), ["--hash", "--help"]);
    assert.deepEqual(await inBash(["miglab", "inspect", "--acc"]), []);
    assert.deepEqual(await inBash(["miglab", "run", "--acc"]), ["--accel"]);
    assert.deepEqual(await inBash(["miglab", "--guest", "disk", "--sn"]), ["--snapshot"]);
    assert.deepEqual(await inBash(["miglab", "--guest", "run", "--keep"]), []);
    assert.deepEqual(await inBash(["miglab", "--guest", "x", "run", "--keep"]), ["--keep-going"]);
  },
});

Deno.test({
  name: `completions ${bash.name}: few words that an option of a command takes, of that command only`,
  ignore: bash.ignore,
  async fn() {
    using dir = new TempDir();
    dir.file("raw.sav", "");
    const offered = (...words: string[]) => inBash(["miglab", ...words], dir.path);
    assert.deepEqual(await offered("convert", "a", "b", "--to", "l"), ["legacy", "libvirt-raw", "libvirt-sparse"]);
    assert.deepEqual(await offered("convert", "--to", "=", "m"), ["mapped-ram"]);
    assert.deepEqual(await offered("extract", "a", "--format", ""), ["elf", "raw"]);
    assert.deepEqual(await offered("save", "--format", ""), ["legacy", "libvirt-sparse", "mapped-ram"]);
    assert.deepEqual(await offered("pair", "--compression", "z"), ["zlib", "zstd"]);
    assert.deepEqual(await offered("inspect", "--color", "a"), ["always", "auto"]);
    assert.deepEqual(await offered("convert", "--xml", "r"), ["raw.sav"]);
    assert.deepEqual(await offered("explain", "--section", "r"), []);
  },
});

const zsh = shell("zsh");

Deno.test({
  name: `completions ${zsh.name}: the script is one the shell can read`,
  ignore: zsh.ignore,
  async fn() {
    const { stdout } = await run("completions", "zsh");
    const text = `autoload -U compinit; compinit -u -D\n${stdout}\nprint $_comps[miglab]`;
    assert.equal(await script("zsh", text), "_miglab\n");
  },
});

const fish = shell("fish");

Deno.test({
  name: `completions ${fish.name}: commands, options and choices`,
  ignore: fish.ignore,
  async fn() {
    const { stdout } = await run("completions", "fish");
    const offered = async (line: string) =>
      (await script("fish", `${stdout}\ncomplete -C '${line}'`)).trim().split("\n").map((one) => one.split("\t")[0]);
    assert.deepEqual(await offered("miglab "), await commands());
    assert.deepEqual(await offered("miglab completions "), ["bash", "fish", "zsh"]);
    assert.deepEqual(await offered("miglab --color "), ["always", "auto", "never"]);
    assert.deepEqual(await offered("miglab inspect --ha"), ["--hash"]);
    assert.deepEqual(await offered("miglab extract a --format "), ["elf", "raw"]);
  },
});

Deno.test("completions knows no other shell", async () => {
  const { status, stdout, stderr } = await run("completions", "tcsh");
  assert.deepEqual([status, stdout], [2, ""]);
  assert.match(stderr, /^miglab: .*tcsh.*bash, zsh, fish[^\n]*\n$/);
});
