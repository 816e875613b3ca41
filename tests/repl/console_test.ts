import assert from "node:assert/strict";
import { run, TempDir } from "./capture.ts";
import { Pty, whyNoPty } from "./pty.ts";

const MAIN = new URL("../../main.ts", import.meta.url).pathname;
const PROMPT = "(miglab) ";

const obstacle = whyNoPty();

/** A test at a terminal; skipped where there is none, and its name says so. */
function atTerminal(name: string, fn: (dir: TempDir) => Promise<void>): void {
  Deno.test({
    name: obstacle ? `${name} (${obstacle})` : name,
    ignore: obstacle !== undefined,
    async fn() {
      using dir = new TempDir();
      await fn(dir);
    },
  });
}

/** A console whose history is in the directory; waits for its prompt. */
async function console(dir: TempDir, options = "--ram 1M"): Promise<Pty> {
  const pty = new Pty(`'${Deno.execPath()}' run -A '${MAIN}' ${options}`, { MIGLAB_HISTORY: dir.file("history") });
  await pty.expect(PROMPT);
  return pty;
}

atTerminal("the console greets, prompts, answers, and leaves on Ctrl-D with status 0", async (dir) => {
  await using pty = new Pty(`'${Deno.execPath()}' run -A '${MAIN}' --ram 1M`, { MIGLAB_HISTORY: dir.file("history") });
  const banner = await pty.expect(PROMPT);
  assert.match(banner, /^miglab \d+\.\d+\.\d+: model guest, pc-i440fx-10\.0, 1\.00 MiB, running\n[^\n]*help[^\n]*\n/);
  await pty.press("info status\r");
  assert.equal(await pty.expect(PROMPT), `info status\nVM status: running\n${PROMPT}`);
  await pty.press("foo\r");
  assert.equal(await pty.expect(PROMPT), `foo\nunknown command: 'foo'\n${PROMPT}`);
  await pty.press("\x04");
  assert.deepEqual(await pty.end(), { status: 0, rest: "\n" });
});

atTerminal("Tab completes, lists what could follow, and says what a command takes", async (dir) => {
  await using pty = await console(dir);
  await pty.type("info stat");
  await pty.press("\t");
  await pty.expect("us ");
  await pty.press("\r");
  await pty.expect(PROMPT);
  await pty.type("migrate_set_parameter multifd-compression ");
  await pty.pressUntil("\t", /none +zlib +zstd/); // the first completes, the second lists
  await pty.expect("multifd-compression ");
  await pty.press("\x03");
  await pty.expect(PROMPT);
  await pty.type("balloon ");
  await pty.press("\t");
  await pty.expect("balloon target -- ");
  await pty.expect(`${PROMPT}balloon `);
  await pty.press("\x03", "\x04");
  assert.equal((await pty.end()).status, 0);
});

atTerminal("Ctrl-C drops the line, and a second one on an empty line says how to leave", async (dir) => {
  await using pty = await console(dir);
  await pty.type("quit");
  await pty.press("\x03");
  assert.equal(await pty.expect(PROMPT), `^C\n${PROMPT}`);
  await pty.press("\x03");
  await pty.expect(PROMPT);
  await pty.press("\x03");
  assert.match(await pty.expect(PROMPT), /Ctrl-D/);
  await pty.press("info status\r");
  await pty.expect("VM status: running");
});

atTerminal("Ctrl-C cancels the migration that is waited for, after progress was shown", async (dir) => {
  await using pty = await console(dir, "--ram 64M --content random");
  await pty.press("migrate_set_parameter max-bandwidth 4M\r");
  await pty.expect(PROMPT);
  await pty.press(`migrate file:${dir.file("vm.sav")}\r`);
  await pty.expect(/ram \[#* *\] +\d+% [\d.]+ MiB of 64\.5 MiB, [\d.]+ MiB\/s, \d:\d\d left/);
  await pty.press("\x03");
  await pty.expect("migration cancelled");
  await pty.press("info migrate\r");
  await pty.expect("Migration status: cancelled");
  await pty.press("info status\r");
  await pty.expect("VM status: running");
});

atTerminal(
  "a migration that fails is told in a line of its own, in the foreground and in the background",
  async (dir) => {
    await using pty = await console(dir);
    await pty.press("migrate exec:false\r");
    assert.match(await pty.expect(PROMPT), /\nmiglab: migration failed: [^\n]+\n/);
    await pty.press("migrate -d exec:false\r");
    await pty.expect(/miglab: migration failed: [^\n]+\n/);
    await pty.press(`migrate -d file:${dir.file("vm.sav")}\r`);
    await pty.expect(/migration completed in \d+ ms\n/);
  },
);

atTerminal("behind a migration in the background the prompt is drawn again, with what is being typed", async (dir) => {
  await using pty = await console(dir, "--ram 64M --content random");
  await pty.press("migrate_set_parameter max-bandwidth 1M\r");
  await pty.expect(PROMPT);
  await pty.press(`migrate -d file:${dir.file("vm.sav")}\r`);
  await pty.expect(`vm.sav\n${PROMPT}`);
  await pty.type("info sta");
  await pty.expect(`${PROMPT}info sta`); // though no key was pressed
  await pty.press("tus\r");
  await pty.expect("VM status: running\n");
  await pty.expect(PROMPT);
  await pty.press("\x04");
  assert.match((await pty.end()).rest, /miglab: the migration under way is cancelled/);
});

atTerminal("earlier lines come back with Up, in the next session too", async (dir) => {
  {
    await using pty = await console(dir);
    await pty.press("info uuid\r");
    await pty.expect(PROMPT);
    await pty.press("info status\r");
    await pty.expect(PROMPT);
    await pty.press("\x04");
    assert.equal((await pty.end()).status, 0);
  }
  assert.equal(Deno.readTextFileSync(dir.file("history")), "info uuid\ninfo status\n");
  await using pty = await console(dir);
  await pty.press("\x1b[A");
  await pty.expect("info status");
  await pty.press("\x1b[A");
  await pty.expect("info uuid");
  await pty.press("\r");
  await pty.expect("00000000-0000-0000-0000-000000000000");
});

atTerminal("a pasted block runs line by line", async (dir) => {
  await using pty = await console(dir);
  await pty.press("stop\r# a remark\rinfo status\rcont\rinfo status\r");
  await pty.expect(`${PROMPT}info status\nVM status: paused\n`);
  await pty.expect(`${PROMPT}info status\nVM status: running\n`);
});

atTerminal("quit leaves, and SIGTERM leaves a terminal that works", async (dir) => {
  {
    await using pty = await console(dir);
    await pty.press("quit\r");
    assert.deepEqual(await pty.end(), { status: 0, rest: "quit\n" });
  }
  const deno = `'${Deno.execPath()}' run -A '${MAIN}' -q --ram 1M`;
  await using pty = new Pty(`sh -c "${deno}; echo ended \\$?; stty -a"`, { MIGLAB_HISTORY: dir.file("history") });
  await pty.expect(PROMPT);
  terminate(pty.pid);
  await pty.expect("ended 143");
  await pty.expect(/[^-]icanon/);
});

/** Send SIGTERM to the deno below a process. */
function terminate(ancestor: number): void {
  const children = (pid: number): number[] =>
    Deno.readTextFileSync(`/proc/${pid}/task/${pid}/children`).trim().split(" ").filter(Boolean).map(Number);
  const family = (pid: number): number[] => [pid, ...children(pid).flatMap(family)];
  const deno = family(ancestor).find((pid) => Deno.readTextFileSync(`/proc/${pid}/comm`).startsWith("deno"));
  assert.ok(deno !== undefined, "no deno runs there");
  Deno.kill(deno, "SIGTERM");
}

atTerminal("Ctrl-Z stops the program, and it goes on with its prompt", async (dir) => {
  const deno = `'${Deno.execPath()}' run -A '${MAIN}' -q --ram 1M`;
  await using pty = new Pty(`bash --norc -ic "set -m; ${deno}; echo stopped; fg"`, {
    MIGLAB_HISTORY: dir.file("history"),
  });
  await pty.expect(PROMPT);
  await pty.press("\x1a");
  await pty.expect("stopped");
  await pty.expect(PROMPT);
  await pty.press("info status\r");
  await pty.expect("VM status: running");
  await pty.press("\x04");
});

atTerminal("a destination's banner says what it waits for", async (dir) => {
  const options = { MIGLAB_HISTORY: dir.file("history") };
  for (
    const [incoming, awaited] of [
      ["defer", "a destination that waits for migrate_incoming, inmigrate"],
      [`unix:${dir.file("in")}`, `a destination for unix:${dir.file("in")}, inmigrate`],
    ]
  ) {
    await using pty = new Pty(`'${Deno.execPath()}' run -A '${MAIN}' --incoming '${incoming}'`, options);
    const banner = (await pty.expect(/\nhelp/)).replace(/^miglab [\d.]+: /, "").split("\n")[0];
    assert.equal(banner, awaited);
  }
});

atTerminal("reports run at the prompt, Tab knows their options, help lists them", async (dir) => {
  await using pty = await console(dir);
  const file = dir.file("vm.sav");
  await pty.press(`migrate file:${file}\r`);
  await pty.expect(PROMPT);
  await pty.type("verify --ret");
  await pty.press("\t");
  await pty.expect("urn-path ");
  await pty.press("\x03");
  await pty.expect(PROMPT);
  await pty.press(`verify ${file}\r`);
  await pty.expect(`${file}: good, 0 errors`);
  await pty.expect(PROMPT);
  await pty.press("inspect nosuch\r");
  await pty.expect("miglab: Could not open 'nosuch': No such file or directory\n");
  await pty.expect(PROMPT);
  await pty.press("help\r");
  await pty.expect(/\ninfo [^\n]+\nloadvm [^\n]+\n/); // inspect is below
  await pty.expect(/\nxp [^\n]+\n\nReports on saved guests[^\n]+\ninspect [^\n]+ -- what a saved guest holds\n/);
  await pty.expect(PROMPT);
  await pty.press("\x04");
  assert.equal((await pty.end()).status, 0);
});

atTerminal("Ctrl-C ends a report, not the console", async (dir) => {
  const file = dir.file("vm.sav");
  const { status } = await run(
    "--ram",
    "16G",
    "-e",
    "migrate_set_capability mapped-ram on",
    "-e",
    `migrate file:${file}`,
  );
  assert.equal(status, 0);
  await using pty = await console(dir);
  await pty.type(`inspect --hash ${file}`);
  await pty.press("\r");
  await pty.expect("inspect ["); // the progress: it is under way
  await pty.press("\x03");
  await pty.expect("interrupted\n");
  await pty.expect(PROMPT);
  await pty.press("info status\r");
  await pty.expect("VM status: running\n");
  await pty.expect(PROMPT);
  await pty.press("\x04");
  assert.equal((await pty.end()).status, 0);
});

atTerminal("a pipe that nobody writes does not stop the console", async (dir) => {
  const pipe = dir.file("pipe");
  assert.ok((await new Deno.Command("mkfifo", { args: [pipe] }).output()).success);
  await using pty = await console(dir);
  await pty.press(`inspect ${pipe}\r`);
  await pty.expect(`miglab: ${pipe}: a pipe`);
  await pty.expect(PROMPT);
  await pty.press("\x04");
  assert.equal((await pty.end()).status, 0);
});
