/**
 * Sessions as a person would type them, in tests/transcripts/*.txt, against what the program says now.
 *
 *     # a remark
 *     $ miglab --ram 1M -e 'info status'      the program is run; what it says follows
 *     VM status: running
 *     $ miglab --ram 1M                       without -e and without a command: lines of a console follow
 *     (miglab) foo
 *     unknown command: 'foo'
 *     [1]                                     exit status, where it is not 0
 *
 * Lines of stderr begin with `! `. DIR is a directory of the test's own; times and rates are written N, why a command's pipe broke REASON.
 * `MIGLAB_UPDATE=1 deno task test` writes the files anew: read the difference.
 */
import assert from "node:assert/strict";
import { runScript } from "../repl/script.ts";
import { TOOLS } from "../main.ts";
import { Captured, run, TempDir } from "./repl/capture.ts";

const FOLDER = new URL("./transcripts/", import.meta.url);
const PROMPT = "(miglab) ";

/** Words of a command line: blanks part them, single quotes hold them together. */
function words(line: string): string[] {
  return [...line.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain);
}

/** What differs from run to run and from machine to machine. */
function settle(text: string, dir: string): string {
  return text.replaceAll(dir, "DIR")
    .replace(/\b\d+ ms\b/g, "N ms")
    .replace(/^( {2}ram: start,) \d+ parts,/gm, "$1 part,") // one for every 50 ms that it takes
    .replace(/^(throughput|pages-per-second|dirty pages rate): [\d.]+/gm, "$1: N")
    .replace(/^(precopy|downtime) ram: \d+ kbytes$/gm, "$1 ram: N kbytes")
    .replace(/^(! miglab: .*migration failed): .*$/gm, "$1: REASON"); // who notices a broken pipe first is a race
}

/** Run a console's lines; each stands in front of what it says. */
async function converse(args: string[], lines: string[], output: Captured): Promise<number> {
  const options: Record<string, unknown> = {};
  for (let i = 0; i < args.length; i++) {
    if (args[i] === "-S") options.stopped = true;
    else if (["--ram", "--guest", "--incoming"].includes(args[i])) options[args[i].slice(2)] = args[++i];
    else throw new TypeError(`option ${args[i]} is not known to transcripts`);
  }
  await using bench = await TOOLS.openBench(options);
  const typed = function* () {
    for (const line of lines) {
      output.both += `${PROMPT}${line}\n`;
      yield line;
    }
  };
  return await runScript(typed(), bench, output, { name: "-", keepGoing: true }) ? 0 : 1;
}

/** Play a transcript again. @returns it, as it would be written now */
async function replay(text: string, dir: string): Promise<string> {
  const out: string[] = [];
  const lines = text.replaceAll("DIR", dir).split("\n");
  for (let i = 0; i < lines.length; i++) {
    if (lines[i].startsWith("#")) out.push(lines[i]);
    if (!lines[i].startsWith("$ miglab")) continue;
    if (out.length > 0 && !out.at(-1)!.startsWith("#")) out.push("");
    out.push(lines[i]);
    const args = words(lines[i].slice("$ miglab".length));
    const end = lines.findIndex((line, at) => at > i && line.startsWith("$ "));
    const typed = lines.slice(i + 1, end < 0 ? undefined : end).filter((line) => line.startsWith(PROMPT));
    const output = new Captured();
    let status: number;
    if (typed.length > 0) status = await converse(args, typed.map((line) => line.slice(PROMPT.length)), output);
    else {
      const ran = await run(...args);
      output.both = ran.both;
      status = ran.status;
    }
    if (output.both !== "") out.push(output.both.trimEnd());
    if (status !== 0) out.push(`[${status}]`);
  }
  return settle(out.join("\n") + "\n", dir);
}

for (const { name } of [...Deno.readDirSync(FOLDER)].sort((a, b) => a.name < b.name ? -1 : 1)) {
  if (!name.endsWith(".txt")) continue;
  Deno.test(`transcript ${name}`, async () => {
    using dir = new TempDir();
    const file = new URL(name, FOLDER);
    const expected = Deno.readTextFileSync(file);
    const now = await replay(expected, dir.path);
    if (Deno.env.get("MIGLAB_UPDATE") === "1") Deno.writeTextFileSync(file, now);
    else assert.equal(now, expected);
  });
}

Deno.test("a transcript that says something else is noticed", async () => {
  const text = "$ miglab --ram 1M\n(miglab) info status\nVM status: idle\n";
  assert.equal(await replay(text, "DIR"), "$ miglab --ram 1M\n(miglab) info status\nVM status: running\n");
});
